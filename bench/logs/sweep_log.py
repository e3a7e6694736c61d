"""The log of a sweep: what the store has of its trials, as points of another program.

Nothing depends on a log. An error ends the log and not the run, and what a log lacks then is written from the store when it is
opened again. So a log has each rung once, however often a run was interrupted, and whichever driver trained it.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from bench.driver.ledger import ENDED, Ledger
from bench.driver.loop import Listener
from bench.driver.results import after_start, of_evaluation, of_plan
from bench.logs.kinds import WRITERS, Log, folder_of
from bench.logs.writer import LoggedTrial, Writer
from bench.store import Store
from bench.store.trial_files import samples_path
from trainers.common.errors import first_line
from trainers.config.metrics import STATE, metrics, plain_name
from trainers.config.trial import TrialConfig


@contextmanager
def log_of(
    log: Log | None, ledger: Ledger, store: Store, tell: Callable[[str], None], name: Callable[[TrialConfig], str]
) -> Iterator[Listener]:
    """Yield a listener for the driver that writes a log of its rungs; what the log lacks is written before and after the block.

    Args:
        log: what it is for; None for no log.
        ledger: the sweep, and how its trials end.
        store: where its measurements and sample grids are.
        tell: prints where the log is, and the first error, after which nothing more is written.
        name: describes a trial in a few words.
    """
    if log is None:
        yield lambda key, report: None
        return
    sweep_log = SweepLog(log, ledger, store, tell, name)
    try:
        sweep_log.catch_up()
        yield sweep_log.update
        sweep_log.catch_up()
    finally:
        sweep_log.close()


class SweepLog:
    """Writes the log of a sweep; no method raises an error of the log."""

    def __init__(
        self, log: Log, ledger: Ledger, store: Store, tell: Callable[[str], None], name: Callable[[TrialConfig], str]
    ) -> None:
        """The arguments are those of `log_of`."""
        self._log, self._ledger, self._store, self._tell, self._name = log, ledger, store, tell, name
        self._view = ledger.plan.spec.evaluation.view
        self._written: dict[str, set[int]] = {}
        self._writer: Writer | None = None
        folder = folder_of(log, store)
        with self._guarded():
            _, module, writer = WRITERS[log]
            self._writer = getattr(import_module(f"bench.logs.{module}"), writer)(folder)
            tell(f"log: {folder}")

    def update(self, key: str, report: Mapping[str, Any] | None) -> None:
        """Write a trial's rung from its report (see `bench.driver.loop.Listener`), and whether the trial has ended."""
        with self._guarded():
            if report is not None and report.get("view") == self._view:
                values = {name: report[name] for name in report if _is_measured(name)}
                self._write(key, int(report["steps"]), {**values, "seconds": report["seconds"]})
            self._end(key)

    def catch_up(self) -> None:
        """Write the rungs of the sweep's trials that the store has and the log lacks."""
        with self._guarded():
            plan = self._ledger.plan
            measured = of_plan(of_evaluation(self._store.rows("measurements"), plan.spec.evaluation), "trial", plan)
            measured = after_start(measured).select(["trial", "step", "metric", "value", "seconds"])
            points: dict[tuple[str, int], dict[str, float | None]] = {}
            for row in sorted(measured.to_pylist(), key=lambda row: (row["trial"], row["step"])):
                values = points.setdefault((row["trial"], row["step"]), {"seconds": row["seconds"]})
                values[row["metric"]] = row["value"]
            for (key, step), values in points.items():
                self._write(key, step, values)
            for key in self._written:
                self._end(key)

    def close(self) -> None:
        """Close the log."""
        with self._guarded():
            if self._writer is not None:
                self._writer.close()

    def _write(self, key: str, step: int, values: Mapping[str, Any]) -> None:
        if self._writer is None:
            return
        trial = self._trial(key)
        if key not in self._written:
            self._written[key] = set(self._writer.steps(trial))
        if step in self._written[key]:
            return
        grid = samples_path(key, step)
        numbers = {name: float(value) for name, value in values.items() if value is not None and not math.isnan(value)}
        self._writer.write(trial, step, numbers, self._store.read_file(grid) if self._store.has_file(grid) else None)
        self._written[key].add(step)

    def _end(self, key: str) -> None:
        status = self._ledger.status[key]
        if self._writer is not None and status in ENDED:
            self._writer.end(self._trial(key), failed=status in ("failed", "diverged"))

    def _trial(self, key: str) -> LoggedTrial:
        trial = self._ledger.plan.by_key[key]
        run = f"{key}-{hashlib.sha256(self._view.encode()).hexdigest()[:6]}"
        return LoggedTrial(run, self._name(trial), self._ledger.plan.spec.name, json.loads(trial.canonical_json()))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """End the log at an error in the block, and say so once."""
        try:
            yield
        except Exception as error:
            self._writer = None
            self._tell(
                f"note: --log {self._log} failed ({first_line(error)}); the run goes on without it, and the same command "
                "writes what is missing"
            )


def _is_measured(name: str) -> bool:
    return name.startswith((STATE, "intra_fid")) or plain_name(name) in metrics()
