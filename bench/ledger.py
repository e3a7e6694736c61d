"""The ledger: what has become of every planned trial, and what may happen next.

Plain data, no Ray: it is built from the plan and the store, told of every rung and every end, and asked which trials may
start. Built anew from the store after a restart it gives the same answers, for nothing in it depends on time or order.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from bench.plan import Plan
from bench.stopping import GO, Action, Curve, Verdict, judge
from bench.store import Store

Status = Literal["pending", "running", "paused", "elsewhere", "done", "stopped", "diverged", "failed", "blocked"]

#: Nothing more will happen to a trial of these statuses in this run.
ENDED: frozenset[Status] = frozenset({"done", "stopped", "diverged", "failed", "blocked"})


@dataclass
class Ledger:
    """The state of a sweep; make one with :meth:`open`.

    Attributes:
        plan: the sweep's trials.
        status: of each trial, by key.
        values: the stopping metric by trial key and rung.
        diversity: of the samples, by trial key and rung.
        reasons: why a trial failed, diverged or is blocked.
    """

    plan: Plan
    status: dict[str, Status]
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    _recorded: dict[str, Status] = field(default_factory=dict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def open(cls, plan: Plan, store: Store, *, retry_failed: bool = False) -> "Ledger":
        """Return the ledger of a plan as the store has it; with `retry_failed`, failed trials are pending again."""
        trials = _rows(store.read("trials"), "key", plan.by_key)
        measured = store.read("measurements")
        measured = measured[measured["trial"].isin(plan.by_key.keys()) & (measured["step"] > 0)]
        values, diversity = (by_step(measured, name, plan.by_key) for name in (plan.spec.stopping.metric, "diversity"))
        ledger = cls(plan, dict.fromkeys(plan.by_key, "pending"), values, diversity)
        for key, row in trials.items():
            status = row["status"]
            if status in ("done", "diverged") or (status == "failed" and not retry_failed):
                ledger.status[key] = status
                if isinstance(row["error"], str):  # a missing string reads as NaN
                    ledger.reasons[key] = row["error"]
            elif status in ("stopped", "blocked"):
                # It stays so only if this sweep says so too: a larger cell may want more of a stopped trial.
                ledger._recorded[key] = status
        for cell in plan.cells:
            ledger._judge(cell)
        return ledger

    # -- questions --------------------------------------------------------------------------------------------------

    def verdict(self, key: str) -> Verdict:
        """Return what the stopping rule says of a trial; a pretrain trial always goes on."""
        return self._verdicts.get(key, GO)

    def ready(self) -> list[str]:
        """Return the pending trials that may start now: the source is there, and the cell does not hold them back."""
        return [key for key in self.pending() if self._has_parent(key) and self.verdict(key).action is Action.GO]

    def pending(self) -> list[str]:
        """Return the trials that have neither started in this run nor ended, in the plan's order."""
        return [key for key, status in self.status.items() if status == "pending"]

    def open_trials(self) -> list[str]:
        """Return the trials that have not ended, in the plan's order."""
        return [key for key, status in self.status.items() if status not in ENDED]

    def elsewhere(self) -> list[str]:
        """Return the trials that another driver works on."""
        return [key for key, status in self.status.items() if status == "elsewhere"]

    def stalled(self) -> bool:
        """Whether trials are open and none of them can move: a bug, to be told rather than waited on for ever."""
        promoted = (key for key, status in self.status.items() if status == "paused" and self.verdict(key).action is Action.GO)
        return bool(self.open_trials()) and not (self.count("running", "elsewhere") or self.ready() or any(promoted))

    def count(self, *statuses: Status) -> int:
        """Return how many trials have one of the statuses."""
        return sum(status in statuses for status in self.status.values())

    def last_rung(self, key: str) -> int:
        """Return the last rung that a trial has been measured at, 0 before the first."""
        return max(self.values[key], default=0)

    # -- events -----------------------------------------------------------------------------------------------------

    def start(self, key: str) -> None:
        """Note that a trial runs."""
        self.status[key] = "running"

    def pause(self, key: str) -> None:
        """Note that a trial waits at its checkpoint for its cell."""
        self.status[key] = "paused"

    def reach(self, key: str, rung: int, value: float, diversity: float | None = None) -> None:
        """Note a trial's value of the stopping metric at a rung, and how diverse its samples are."""
        self.values[key][rung] = value
        if diversity is not None:
            self.diversity.setdefault(key, {})[rung] = diversity
        self._judge(self.plan.by_key[key].cell)

    def end(self, key: str, status: Status, reason: str | None = None) -> None:
        """Note that a trial has ended."""
        self.status[key] = status
        if reason:
            self.reasons[key] = reason
        self._judge(self.plan.by_key[key].cell)

    def leave(self, key: str) -> None:
        """Note that another driver works on a trial."""
        self.status[key] = "elsewhere"

    def hear(self, store: Store, free: Iterable[str]) -> None:
        """Take in what the store knows by now of the trials elsewhere; those in `free`, which nobody has, are pending again."""
        now = Ledger.open(self.plan, store)
        freed = set(free)
        for key in self.elsewhere():
            self.values[key] |= now.values[key]
            self.diversity[key] = now.diversity[key]
            if key in freed:
                self.status[key] = "pending"
                if key in now._recorded:
                    self._recorded[key] = now._recorded[key]
            if now.status[key] in ("done", "diverged", "failed"):
                self.status[key] = now.status[key]
                if key in now.reasons:
                    self.reasons[key] = now.reasons[key]
            self._judge(self.plan.by_key[key].cell)

    def reopen(self, key: str, last: int) -> None:
        """Note that a trial must go on from step `last`, or begin anew from 0: what the store had of it later is lost."""
        self.status[key] = "pending"
        self.values[key] = {rung: value for rung, value in self.values[key].items() if rung <= last}
        self.reasons.pop(key, None)
        self._recorded.pop(key, None)
        self._judge(self.plan.by_key[key].cell)

    def settle(self) -> list[str]:
        """Mark the trials that the rule stops, or a failed source blocks; return those the store does not know so yet.

        To be called after every event, and once at the start.
        """
        before = {key for key, status in self.status.items() if status in ("stopped", "blocked")}
        self._block()
        for key, status in self.status.items():
            if status in ("pending", "paused") and self.verdict(key).action is Action.STOP:
                self.status[key] = "stopped"
                if why := self.verdict(key).why:
                    self.reasons[key] = why
        settled = [key for key, status in self.status.items() if status in ("stopped", "blocked") and key not in before]
        return [key for key in settled if self._recorded.get(key) != self.status[key]]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _has_parent(self, key: str) -> bool:
        parent = self.plan.by_key[key].parent
        return parent is None or self.status[parent] == "done"

    def _judge(self, cell: str | None) -> None:
        if cell is None:
            return
        keys = self.plan.cells[cell]
        curves = [
            Curve(
                key,
                self.plan.by_key[key].strategy or "",
                self.values[key],
                diverged=self.status[key] == "diverged",
                failed=self.status[key] in ("failed", "blocked"),
                diversity=self.diversity.get(key, {}),
            )
            for key in keys
        ]
        self._verdicts.update(judge(curves, self.plan.by_key[keys[0]].rungs, self.plan.spec.stopping, cell))

    def _block(self) -> None:
        for key, status in self.status.items():
            parent = self.plan.by_key[key].parent
            if status in ENDED or parent is None or self.status[parent] not in ("failed", "diverged"):
                continue
            source = self.plan.by_key[parent].domain.name
            self.status[key] = "blocked"
            self.reasons[key] = f"its source {source} {self.status[parent]} ({parent})"
            self._judge(self.plan.by_key[key].cell)


def by_step(measured: pd.DataFrame, metric: str, keys: Iterable[str]) -> dict[str, dict[int, float]]:
    """Return a metric's values by trial key and step, of rows of the table `measurements`; every key has a place."""
    found: dict[str, dict[int, float]] = {key: {} for key in keys}
    rows = measured[measured["metric"] == metric]
    for trial, step, value in zip(rows["trial"], rows["step"], rows["value"], strict=True):
        found.setdefault(trial, {})[int(step)] = float(value)
    return found


def _rows(frame: pd.DataFrame, key: str, wanted: Iterable[str]) -> dict[str, dict[Hashable, Any]]:
    chosen = frame[frame[key].isin(list(wanted))]
    return {row[key]: row for row in chosen.to_dict("records")}
