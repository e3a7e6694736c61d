"""Progress of a sweep: a live table of trials by status and of the best value in each cell, with the time left."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.driver.ledger import Ledger
from bench.driver.results import Status
from trainers.common.counts import counted
from trainers.config import sources
from trainers.config.settings import TrainingConfig
from trainers.config.trial import TrialConfig

#: What a sweep file calls domains, by domain.
Labels = Mapping[str, str]

#: Statuses in the order of the table's columns.
COUNTED: tuple[Status, ...] = (
    "done",
    "running",
    "measuring",
    "queued",
    "paused",
    "elsewhere",
    "pending",
    "stopped",
    "diverged",
    "failed",
    "blocked",
)


def short(source: str | None, labels: Labels = MappingProxyType({})) -> str:
    """Return the name of a domain or source for a table: its label, or a folder's path shortened to its last part."""

    def last(domain: str) -> str:
        return domain.rstrip("/").rpartition("/")[2]

    named = sources.renamed(source or "-", labels)
    return sources.ARROW.join("+".join(map(last, sources.parts(link))) for link in sources.links(named))


def describe(trial: TrialConfig, labels: Labels) -> str:
    """Return a trial in a few words, e.g. "finetune letters -> digits, 50 images, seed 0"."""
    conditional = ", conditional" if trial.conditional else ""
    if trial.kind == "pretrain":
        seed = "" if trial.imported else f", seed {trial.seed}"
        return f"pretrain {short(trial.as_source.name, labels)}{conditional}{seed}"
    source = f" {short(trial.source.name, labels)} ->" if trial.source else ""
    tried = f", learning rate {learning_rate(trial.training)}" if trial.kind == "tune" or trial.tuned else ""
    return f"{trial.with_options or trial.strategy}{source} {_conditions(trial, labels)}{tried}, seed {trial.seed}"


def learning_rate(training: TrainingConfig) -> str:
    """Return the learning rates of a training, that of the critic if it differs."""
    generator, critic = training.generator_lr, training.critic_lr
    return f"{generator:g}" if generator == critic else f"{generator:g} (critic {critic:g})"


def describe_cell(trial: TrialConfig, labels: Labels) -> str:
    """Return a trial's cell in a few words, e.g. "digits, 50 images"."""
    conditions = _conditions(trial, labels)
    return f"{trial.strategy}: {conditions}" if trial.kind == "tune" else conditions


def _conditions(trial: TrialConfig, labels: Labels) -> str:
    conditional = ", conditional" if trial.conditional else ""
    augmentation = "" if trial.augmentation == "none" else f", {trial.augmentation}"
    return f"{short(trial.domain.name, labels)}, {counted(trial.size, 'image')}{conditional}{augmentation}"


class Progress:
    """Shows a running sweep: a live table on a terminal, a line per event elsewhere."""

    def __init__(self, ledger: Ledger, console: Console, *, live: bool = True) -> None:
        """`live`: whether a terminal shows the live table."""
        self._ledger = ledger
        self._console = console
        self._has_table = live and console.is_terminal
        self._started = time.monotonic()
        self._work_at_start = ledger.steps_left
        self._live = Live(console=console, refresh_per_second=2, get_renderable=self._render, transient=True)

    def __enter__(self) -> "Progress":
        if self._has_table:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._has_table:
            self._live.stop()

    def update(self, key: str, result: Mapping[str, Any] | None) -> None:
        """Print a trial's status; `result` is its report of a rung, or None if it ended otherwise."""
        if self._has_table:
            return  # the live table refreshes itself
        trial, status = self._ledger.plan.by_key[key], self._ledger.status[key]
        what = f"{status:8} {describe(trial, self._ledger.plan.spec.labels)}"
        if result is not None and "fid" in result:
            what += f", step {result['steps']}: FID {result['fid']:.1f}"
        elif key in self._ledger.reasons:
            what += f": {self._ledger.reasons[key].splitlines()[-1]}"
        print(f"[{self._ledger.ended}/{len(self._ledger.status)}{self._eta()}] {what}", file=self._console.file, flush=True)

    def note(self, key: str | None, text: str) -> None:
        """Print what happened to a trial, or to the run if `key` is None, above the table if there is one."""
        plan = self._ledger.plan
        line = text if key is None else f"{describe(plan.by_key[key], plan.spec.labels)}: {text}"
        self._console.print(f"note: {line}", soft_wrap=True, markup=False, highlight=False)

    def _render(self) -> Group:
        ledger = self._ledger
        counts = Text("  ".join(f"{name} {ledger.count(name)}" for name in COUNTED if ledger.count(name)))
        title = Text(
            f"{ledger.plan.spec.name}: {ledger.ended} of {counted(len(ledger.status), 'trial')} ended{self._eta()}",
            style="bold",
        )
        # Only active cells: the others would fill the screen, and take long to count in a large sweep.
        active = dict.fromkeys(ledger.plan.by_key[key].cell or "" for key in ledger.having("running", "measuring", "paused"))
        room = max(1, self._console.height - 5)
        return Group(title, counts, cell_table(ledger, list(active)[:room]))

    def _eta(self) -> str:
        left = self._ledger.steps_left
        finished = self._work_at_start - left
        if not finished or not left:
            return ""
        seconds = (time.monotonic() - self._started) / finished * left
        return f", at most {seconds / 60:.0f} min left" if seconds >= 60 else f", at most {seconds:.0f} s left"


@dataclass(frozen=True)
class CellProgress:
    """The progress of a cell, or of the sources.

    Attributes:
        cell: its key; "" for the sources.
        label: in a few words.
        counts: number of its trials by status.
        best: the lowest value so far up to the budget of the plan, its step and its trial's key; None before the first, and for
            the sources. Another plan may have taken the trial further.
    """

    cell: str
    label: str
    counts: Mapping[Status, int]
    best: tuple[float, int, str] | None


def cells_of(ledger: Ledger, only: Collection[str] | None = None) -> Iterator[CellProgress]:
    """Yield the progress of the sources and of each cell; `only` has the keys of those to yield, None for all."""
    plan = ledger.plan
    groups = {"": tuple(trial.key for trial in plan.of_kind("pretrain")), **plan.cells}
    for cell in groups if only is None else only:
        keys = groups[cell]
        if not keys:
            continue
        label = describe_cell(plan.by_key[keys[0]], plan.spec.labels) if cell else "sources"
        counts = Counter(ledger.status[key] for key in keys)
        measured = [
            (value, step, key)
            for key in keys
            for step, value in ledger.values[key].items()
            if cell and step <= plan.by_key[key].training.steps
        ]
        yield CellProgress(cell, label, counts, min(measured, default=None))


def cell_table(ledger: Ledger, only: Collection[str] | None = None) -> Table:
    """Return a table with a row per cell: its trials by status, and the best value so far; `only` as in `cells_of`."""
    plan, labels = ledger.plan, ledger.plan.spec.labels
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("cell")
    shown = [name for name in COUNTED if ledger.count(name)]
    for name in shown:
        table.add_column(name, justify="right")
    table.add_column(f"best {plan.spec.stopping.metric.upper()} so far")
    for each in cells_of(ledger, only):
        best = ""
        if each.best:
            value, step, key = each.best
            trial = plan.by_key[key]
            source = f" from {short(trial.source.name, labels)}" if trial.source else ""
            best = f"{value:.3g} at step {step}: {trial.strategy}{source}"
        table.add_row(each.label, *(str(each.counts.get(name) or "") for name in shown), best)
    return table
