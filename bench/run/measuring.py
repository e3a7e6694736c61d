"""What a sweep's evaluation has not measured yet of trials that are already trained, and measuring it. Trains nothing."""

from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from bench.driver.results import of_evaluation, of_plan
from bench.store import Store, columns
from bench.store.store import READERS
from bench.store.trial_files import generators
from bench.sweeps.plan import Plan
from bench.worker import measuring
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.embeddings import check_embedding
from trainers.config.metrics import RAW, SELECTION, STATE, metrics
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import TrialConfig

#: Calls a function with each of several arguments; yields the position of each that has ended, and why it failed or None.
MapCalls = Callable[[Callable[..., None], list[tuple[Any, ...]]], Iterator[tuple[int, str | None]]]


@dataclass(frozen=True)
class Work:
    """What is lacking of one trial.

    Attributes:
        steps: those to measure, whose generators are stored.
        lost: those that cannot be measured, because their generators are not stored.
        last: whether the metrics of the last rung are wanted at the greatest of `steps`.
    """

    trial: TrialConfig
    steps: tuple[int, ...]
    lost: tuple[int, ...]
    last: bool


def lacking(plan: Plan, store: Store, names: Collection[str] = ()) -> list[Work]:
    """Return what the store lacks of the plan's evaluation at the rungs that its trials have reached, in plan order.

    `names` are the metrics wanted; empty for all that the evaluation measures.
    """
    rows = of_plan(store.rows("measurements"), "trial", plan)
    ended = {
        row["key"]: row for row in of_plan(store.rows("trials"), "key", plan).select(["key", "status", "steps"]).to_pylist()
    }
    measured_at: dict[str, int] = {}
    for key, step in zip(rows["trial"].to_pylist(), rows["step"].to_pylist(), strict=True):
        measured_at[key] = max(step, measured_at.get(key, 0))
    present: dict[tuple[str, int], set[str]] = {}
    current = of_evaluation(rows, plan.spec.evaluation)
    for key, step, metric in zip(*(current[name].to_pylist() for name in ("trial", "step", "metric")), strict=True):
        present.setdefault((key, step), set()).add(metric)
    wanted: dict[str, tuple[list[int], int | None]] = {}
    for key, trial in plan.by_key.items():
        row = ended.get(key)
        if key not in measured_at and row is None:
            continue
        # A row without steps is that of a trial that never ran.
        steps = 0 if row is None else row["steps"] or 0
        reached = max(measured_at.get(key, 0), steps if row is not None and row["status"] == "done" else 0)
        last = _last_rung(trial, steps if row is not None and row["status"] == "done" else None)
        lacks = [
            step
            for step in (0, *trial.rungs)
            if step <= reached and not _wanted(trial.evaluation, names, at_end=step == last) <= present.get((key, step), set())
        ]
        if lacks:
            wanted[key] = lacks, last
    with ThreadPoolExecutor(READERS) as pool:
        stored = dict(zip(wanted, pool.map(lambda key: set(generators(store, key)), wanted), strict=True))
    return [
        Work(
            plan.by_key[key],
            tuple(step for step in steps if step in stored[key]),
            tuple(step for step in steps if step not in stored[key]),
            last in steps and last in stored[key],
        )
        for key, (steps, last) in wanted.items()
    ]


def _last_rung(trial: TrialConfig, done_at: int | None) -> int | None:
    """Return the step at which a trial has the metrics of the last rung; None while a training may end at several."""
    if trial.imported:
        return 0
    return done_at if trial.until is not None else trial.training.steps


def _wanted(evaluation: EvaluationConfig, names: Collection[str], *, at_end: bool) -> set[str]:
    """Return the metrics that every trial has at a rung, and at its last one."""
    records = [
        record
        for name, record in metrics().items()
        if not record.training_images and (not names or name in names) and (at_end or not record.last_rung_only)
    ]
    variants = [suffix for suffix, on in ((RAW, evaluation.raw), (SELECTION, evaluation.selection)) if on]
    wanted = {record.name + suffix for record in records for suffix in ("", *(variants if record.variants else ()))}
    return wanted - (set() if evaluation.iw_steps else {"iw"})


def measure(
    plan: Plan, store: Store, console: Console, work: list[Work], map_calls: MapCalls, names: Collection[str] = ()
) -> list[str]:
    """Measure what can be measured of `work`; return which trials could not be measured, and why."""
    tasks = [each for each in work if each.steps]
    console.print(f"measuring {extent(plan, tasks)}", soft_wrap=True)
    _copy_states(plan, store, tasks)
    resources = plan.spec.resources
    arguments = [
        (
            store.address, plan.spec.name, each.trial.key, each.trial.canonical_json(), each.steps,
            max(each.steps) if each.last else None, tuple(names), resources.cpus, bool(resources.gpus),
        )
        for each in tasks
    ]  # fmt: skip
    failures = []
    for ended, (i, error) in enumerate(map_calls(measuring.measure, arguments), 1):
        if error:
            failures.append(f"measuring trial {tasks[i].trial.key} failed: {error}")
        if ended % max(1, len(tasks) // 20) == 0 or ended == len(tasks):
            console.print(f"[{ended}/{len(tasks)}] trials measured")
    return failures


def evaluation_of(evaluation: EvaluationConfig, embedding: str | None, samples: int | None) -> EvaluationConfig:
    """Return an evaluation with another embedding or number of generated images; None leaves them. Raises UserError."""
    changes: dict[str, Any] = {"embedding": check_embedding(embedding or evaluation.embedding)}
    if samples is not None:
        changes["samples"] = samples
    try:
        return EvaluationConfig.model_validate({**evaluation.model_dump(), **changes})
    except ValidationError as error:
        raise UserError(f"--samples {samples}: {error.errors()[0]['msg']}") from error


def extent(plan: Plan, work: Sequence[Work]) -> str:
    """Return how many trials can be measured at how many steps, and how."""
    steps = [len(each.steps) for each in work if each.steps]
    return f"{_trials(steps)} at {counted(sum(steps), 'step')} in {plan.spec.evaluation.view}"


def _trials(of: Sized) -> str:
    return f"{len(of):,} {'trial' if len(of) == 1 else 'trials'}"


def lost_line(plan: Plan, work: list[Work]) -> str | None:
    """Return a line on what cannot be measured, or None."""
    lost = [each for each in work if each.lost]
    if not lost:
        return None
    steps = sorted({step for each in lost for step in each.lost})
    some = ", ".join(map(str, steps[:5])) + (", ..." if len(steps) > 5 else "")
    return (
        f"not measured in {plan.spec.evaluation.view}: {_trials(lost)} at step {some}, of which the store does not have the "
        "generators"
    )


def check_budgets(work: list[Work]) -> None:
    """Raise UserError if trials have gone beyond their budget and cannot be measured at it."""
    beyond = [each.trial for each in work if each.trial.training.steps in each.lost and not each.trial.has_fixed_budget]
    if beyond:
        raise UserError(
            f"training.steps: {_trials(beyond)}, e.g. {beyond[0].key}, went beyond step {beyond[0].training.steps:,}, and the "
            "store does not have the generators of that step; set a step at which they were evaluated, or use another store"
        )


def _copy_states(plan: Plan, store: Store, tasks: list[Work]) -> None:
    """Record the values that describe the state of the training at these steps in the plan's evaluation too."""
    evaluation = plan.spec.evaluation
    recorded = store.rows("measurements").drop_columns(["recorded_at", "sweep"])
    steps = {(each.trial.key, step) for each in tasks for step in each.steps}
    states = columns.kept(recorded, columns.where(recorded["metric"], lambda name: name.startswith(STATE))).to_pylist()
    last = {(row["trial"], row["step"], row["metric"]): row for row in states if (row["trial"], row["step"]) in steps}
    if last:
        seen = {"view": evaluation.view, "embedding": evaluation.view.partition("/")[0]}
        store.append("measurements", plan.spec.name, [{**row, **seen} for row in last.values()])
