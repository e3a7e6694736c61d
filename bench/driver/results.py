"""What the store has recorded of a plan's trials: at a start, and kept up to date at the cost of the parts that are new."""

import math
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.store import Store, columns, parts
from bench.store.schema import SCHEMAS, Table, by_step
from bench.store.store import READERS
from bench.sweeps.plan import Plan
from bench.sweeps.rows import same_evaluation
from trainers.common.errors import DamagedError
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import TrialConfig

#: Every status of a trial in a run.
Status = Literal[
    "pending", "queued", "running", "measuring", "paused", "elsewhere", "done", "stopped", "diverged", "failed", "blocked"
]

#: Columns of table `trials` that decide where a trial stands.
_OUTCOME = ["key", "status", "steps", "budget", "error", "rule", "config", "view"]

_COLUMNS: dict[Table, tuple[str, ...]] = {
    "trials": ("key", "status", "steps", "budget", "error", "recorded_at"),
    "measurements": ("trial", "step", "metric", "view", "version", "value", "recorded_at"),
}


@dataclass(frozen=True)
class Standing:
    """Where the trials of a plan stand by what a store has recorded.

    Attributes:
        status: status of each trial by key.
        values, diversity: the stopping metric, and the diversity of the samples, by trial key and rung.
        reasons: why a trial failed or diverged, by key.
        recorded: ends by key that count only if this sweep decides the same: a larger cell may continue a stopped trial.
        retried: failures that do not count, by the time of their record.
        stopped_before: trials that the same rule stopped on values of another evaluation.
    """

    status: dict[str, Status]
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]]
    reasons: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, Status] = field(default_factory=dict)
    retried: set[tuple[str, datetime]] = field(default_factory=set)
    stopped_before: set[str] = field(default_factory=set)


def standing(plan: Plan, store: Store, *, retry_failed: bool = False, but: Container[str] = ()) -> Standing:
    """Return where a plan's trials stand in a store; with `retry_failed`, failed ones but some are pending again."""
    measured = of_plan(of_evaluation(after_start(store.rows("measurements")), plan.spec.evaluation), "trial", plan)
    values, diversity = (by_step(measured, name, plan.by_key) for name in (plan.spec.stopping.metric, "diversity"))
    found = Standing(dict.fromkeys(plan.by_key, "pending"), values, diversity)
    rows = of_plan(store.rows("trials"), "key", plan)
    for row, recorded_at in zip(rows.select(_OUTCOME).to_pylist(), columns.times(rows["recorded_at"]), strict=True):
        key, trial = row["key"], plan.by_key[row["key"]]
        steps, budget = (math.nan if row[name] is None else row[name] for name in ("steps", "budget"))
        ended = outcome(trial, row["status"], steps, budget, values[key])
        if ended in ("done", "diverged") or (ended == "failed" and (not retry_failed or key in but)):
            found.status[key] = ended
            if row["error"] is not None:
                found.reasons[key] = row["error"]
        elif ended == "stopped" and row["rule"] == plan.spec.stopping.canonical_json() and not same_evaluation(row, trial):
            found.status[key] = ended
            found.stopped_before.add(key)
        elif ended in ("stopped", "blocked"):
            if not went_on(steps, values[key]):
                found.recorded[key] = ended
        elif ended == "failed":
            found.retried.add((key, recorded_at))
    return found


@dataclass(frozen=True)
class End:
    """A recorded outcome of a trial; of several, `newest` decides as `bench.store.schema.newest` does."""

    status: str
    steps: int
    budget: int
    recorded_at: datetime
    error: str | None

    def order(self) -> tuple[int, int, bool, datetime]:
        """Return what orders the outcomes of a trial; the greatest counts."""
        return self.steps, self.budget, self.status == "done", self.recorded_at


class Results:
    """The outcomes and values of a plan's trials in a store.

    Attributes:
        ends: the outcome that counts, by trial key.
        values, diversity: the stopping metric, and the diversity of the samples, by trial key and rung.
        otherwise: the steps at which other evaluations than the plan's have measured, by trial key.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._keys = pa.array(list(plan.by_key), pa.string())
        self._listed: dict[Table, set[str]] = {table: set() for table in _COLUMNS}
        self._changed: set[str] = set()
        self.ends: dict[str, End] = {}
        self.values: dict[str, dict[int, float]] = {}
        self.diversity: dict[str, dict[int, float]] = {}
        self.otherwise: dict[str, set[int]] = {}

    def update(self) -> set[str]:
        """Read the parts that were published since the last call; return the trials that have rows in them."""
        # Outcomes first: what is measured in a trial is published before its outcome.
        self._changed |= self._read_outcomes()
        self._changed |= self._read_values()
        changed, self._changed = self._changed, set()
        return changed

    def _read_outcomes(self) -> set[str]:
        rows = self._new_rows("trials", "key").to_pylist()
        for row in rows:
            key, end = row["key"], End(row["status"], row["steps"] or 0, row["budget"] or 0, row["recorded_at"], row["error"])
            if key not in self.ends or end.order() >= self.ends[key].order():
                self.ends[key] = end
        return {row["key"] for row in rows}

    def _read_values(self) -> set[str]:
        rows = self._new_rows("measurements", "trial")
        evaluation = self._plan.spec.evaluation
        metrics = ((self._plan.spec.stopping.metric, self.values), ("diversity", self.diversity))
        wanted = pc.and_(pc.is_in(rows["metric"], pa.array([name for name, _ in metrics])), pc.greater(rows["step"], 0))
        ours = pc.equal(rows["view"], evaluation.view)
        others = pc.and_(pc.and_(pc.equal(rows["metric"], "fid"), pc.greater(rows["step"], 0)), pc.invert(ours))
        for row in rows.filter(others).select(["trial", "step"]).to_pylist():
            self.otherwise.setdefault(row["trial"], set()).add(row["step"])
        wanted = pc.and_(wanted, ours)
        kept = rows.filter(wanted).sort_by("recorded_at").to_pylist()
        for row in kept:
            value = math.nan if row["value"] is None else row["value"]
            for name, of_metric in metrics:
                if row["metric"] == name and row["version"] == evaluation.version(name):
                    of_metric.setdefault(row["trial"], {})[row["step"]] = value
        return {row["trial"] for row in kept}

    def _new_rows(self, table: Table, column: str) -> pa.Table:
        """Return the rows of the plan's trials, by a column, in the parts of a table that were not read before.

        Some of the rows may have been read before in other parts.
        """
        schema = pa.schema([SCHEMAS[table].field(name) for name in _COLUMNS[table]])
        tables = [columns.empty(schema)]
        before, again = self._listed[table], True
        while again:
            listed = self._store.present_parts(table)
            new = sorted(listed - before)
            if len(new) > READERS:
                with ThreadPoolExecutor(READERS) as pool:
                    read = list(pool.map(lambda name: self._read_part(name, schema), new))
            else:
                read = [self._read_part(name, schema) for name in new]
            tables += [rows for rows in read if rows is not None]
            # A compaction may have published a merged part and deleted others while the parts were listed or read.
            gone = not before <= listed or any(rows is None for rows in read)
            again = gone or any(parts.is_merged(Path(name).name) for name in new)
            before = listed
        self._listed[table] = before  # only now: if the store cannot be reached, all of them are read again
        rows = pa.concat_tables(tables)
        return rows.filter(pc.is_in(rows[column], self._keys))

    def _read_part(self, name: str, schema: pa.Schema) -> pa.Table | None:
        """Return the rows of a part; None if it has been deleted or is damaged, and is then set aside."""
        try:
            return parts.unpack(Path(name).name, self._store.read_file(name), schema)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self._store.set_aside(name, str(error))
            return None


def of_evaluation(measured: pa.Table, evaluation: EvaluationConfig) -> pa.Table:
    """Return the rows of table `measurements` that were measured as an evaluation measures now."""
    rows = columns.kept(measured, columns.where(measured["view"], evaluation.view.__eq__))
    (metric, metrics), (version, versions) = columns.coded(rows["metric"]), columns.coded(rows["version"])
    current = np.array([[evaluation.version(name) == text for text in versions] for name in metrics], bool)
    return columns.kept(rows, current[metric, version]) if len(rows) else rows


def after_start(rows: pa.Table) -> pa.Table:
    """Return the rows of table `measurements` that are not of step 0."""
    return columns.kept(rows, columns.numbers(rows["step"]) > 0)


def of_plan(rows: pa.Table, column: str, plan: Plan) -> pa.Table:
    """Return the rows of which a column has the key of a plan's trial."""
    return columns.kept(rows, columns.where(rows[column], plan.by_key.__contains__))


def outcome(trial: TrialConfig, status: str, steps: float, recorded_for: float, values: Container[int]) -> Status | None:
    """Return what a recorded outcome is for a plan that asks for the budget of `trial`; None if the trial has to go on.

    `steps` are those that it reached, `recorded_for` the budget of that run (NaN: unknown); `values` has the rungs at which it
    is measured. A trial that is done with fewer steps than this budget goes on, and one that ended beyond it has reached it.
    """
    budget = trial.training.steps
    if status == "done":
        return None if not trial.has_fixed_budget and steps < budget else "done"
    beyond = steps > budget or (steps == budget and recorded_for > budget)
    if not trial.has_fixed_budget and beyond and budget in values:
        return "done"
    return cast(Status, status)


def went_on(steps: float, values: Iterable[int]) -> bool:
    """Return whether a trial has values at a later step than that of a recorded end; NaN stands for an unknown step."""
    return max(values, default=0) > steps
