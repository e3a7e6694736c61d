"""The ledger: what has become of every planned trial, and what may happen next.

Plain data, no Ray: it is built from the plan and the store, told of every rung and every end, and asked which trials may
start. Built anew from the store after a restart it gives the same answers, for nothing in it depends on time or order.

What is asked at every step of a sweep is kept up to date at every event, so that a sweep of many trials is no slower for each;
an event costs what the cell has of trials, or a source of children.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.driver.ordered import InOrder
from bench.driver.stopping import GO, Action, Curve, Verdict, judge
from bench.store import Store
from bench.store.schema import by_step
from bench.sweeps.plan import Plan
from trainers.config.trial import TrialConfig

Status = Literal["pending", "queued", "running", "paused", "elsewhere", "done", "stopped", "diverged", "failed", "blocked"]

#: Nothing more will happen to a trial of these statuses in this run.
ENDED: frozenset[Status] = frozenset({"done", "stopped", "diverged", "failed", "blocked"})

#: Ends that the stopping rule is told of; others change nothing for the rest of the cell.
_TELLING: frozenset[Status] = frozenset({"diverged", "failed", "blocked"})

#: Ends of a source that leave its children without one.
_LOST: frozenset[Status] = frozenset({"failed", "diverged", "blocked"})


@dataclass
class Ledger:
    """The state of a sweep; make one with :meth:`open`.

    Attributes:
        plan: the sweep's trials.
        status: of each trial, by key; to be read, and changed by events only.
        values: the stopping metric by trial key and rung.
        diversity: of the samples, by trial key and rung.
        reasons: why a trial failed, diverged or is blocked.
        ends: the trials that have ended since the ledger was opened, in that order.
        steps_left: generator steps up to the budgets of the trials that have not ended.
    """

    plan: Plan
    status: dict[str, Status]
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    steps_left: int = 0
    _recorded: dict[str, Status] = field(default_factory=dict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._order = order = {key: i for i, key in enumerate(self.plan.by_key)}
        self._having: dict[Status, set[str]] = {status: set() for status in get_args(Status)}
        self._ready, self._promoted, self._due = InOrder(order), InOrder(order), InOrder(order)
        self._steps_left = dict.fromkeys(order, 0)
        self._children: dict[str, list[str]] = {}
        for key, trial in self.plan.by_key.items():
            self._having[self.status[key]].add(key)
            if trial.parent is not None:
                self._children.setdefault(trial.parent, []).append(key)
        for cell in self.plan.cells:
            self._judge(cell)
        for key in order:
            self._refresh(key)

    @classmethod
    def fresh(cls, plan: Plan) -> "Ledger":
        """Return the ledger of a plan of which nothing has run, but for imported sources."""
        return cls(
            plan, {key: "done" if t.imported else "pending" for key, t in plan.by_key.items()}, {k: {} for k in plan.by_key}
        )

    @classmethod
    def open(cls, plan: Plan, store: Store, *, retry_failed: bool = False) -> "Ledger":
        """Return the ledger of a plan as the store has it; with `retry_failed`, failed trials are pending again."""
        trials = store.read("trials")
        measured = store.read("measurements")
        measured = measured[measured["trial"].isin(plan.by_key.keys()) & (measured["step"] > 0)]
        values, diversity = (by_step(measured, name, plan.by_key) for name in (plan.spec.stopping.metric, "diversity"))
        status: dict[str, Status] = dict.fromkeys(plan.by_key, "pending")
        recorded: dict[str, Status] = {}
        reasons = {}
        for row in trials[trials["key"].isin(plan.by_key.keys())].to_dict("records"):
            key, ended = row["key"], row["status"]
            if ended in ("done", "diverged") or (ended == "failed" and not retry_failed):
                status[key] = ended
                if isinstance(row["error"], str):  # a missing string reads as NaN
                    reasons[key] = row["error"]
            elif ended in ("stopped", "blocked"):
                # It stays so only if this sweep says so too: a larger cell may want more of a stopped trial.
                recorded[key] = ended
        return cls(plan, status, values, diversity, reasons, _recorded=recorded)

    # -- questions --------------------------------------------------------------------------------------------------

    def verdict(self, key: str) -> Verdict:
        """Return what the stopping rule says of a trial; a pretrain trial always goes on."""
        return self._verdicts.get(key, GO)

    def ready(self) -> list[str]:
        """Return the pending trials that may start now: the source is there, and the cell does not hold them back."""
        return list(self._ready)

    def next_ready(self) -> str | None:
        """Return the first of them in the plan's order."""
        return self._ready.first()

    def next_promoted(self) -> str | None:
        """Return the first paused trial, in the plan's order, that its cell lets go on."""
        return self._promoted.first()

    def having(self, *statuses: Status) -> list[str]:
        """Return the trials that have one of the statuses, in the plan's order."""
        return sorted((key for status in statuses for key in self._having[status]), key=self._order.__getitem__)

    def open_trials(self) -> list[str]:
        """Return the trials that have not ended, in the plan's order."""
        return [key for key, status in self.status.items() if status not in ENDED]

    def is_open(self) -> bool:
        """Whether any trial has not ended."""
        return self.ended < len(self.status)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return self.count(*ENDED)

    def stalled(self) -> bool:
        """Whether trials are open and none of them can move: a bug, to be told rather than waited on for ever."""
        moving = self.count("queued", "running", "elsewhere") or self._ready or self._promoted
        return self.is_open() and not moving

    def count(self, *statuses: Status) -> int:
        """Return how many trials have one of the statuses."""
        return sum(len(self._having[status]) for status in statuses)

    def last_rung(self, key: str) -> int:
        """Return the last rung that a trial has been measured at, 0 before the first."""
        return max(self.values[key], default=0)

    def rungs(self, cell: str) -> tuple[int, ...]:
        """Return the rungs of a cell: of those of its trials that have the largest budget."""
        return max((self.plan.by_key[key].rungs for key in self.plan.cells[cell]), key=lambda rungs: rungs[-1])

    def curves(self, cell: str) -> list[Curve]:
        """Return what the stopping rule is told of a cell's trials, in the plan's order."""
        rungs, trials = self.rungs(cell), map(self.plan.by_key.__getitem__, self.plan.cells[cell])
        return [
            Curve(
                trial.key,
                trial.strategy or "",
                held(self.values[trial.key], trial.training.steps, rungs),
                diverged=self.status[trial.key] == "diverged",
                failed=self.status[trial.key] in ("failed", "blocked"),
                diversity=self.diversity.get(trial.key, {}),
                method=_method(trial),
            )
            for trial in trials
        ]

    # -- events -----------------------------------------------------------------------------------------------------

    def queue(self, key: str) -> None:
        """Note that a trial will run as soon as there is room for it."""
        self._set(key, "queued")

    def start(self, key: str) -> None:
        """Note that a trial runs."""
        self._set(key, "running")

    def pause(self, key: str) -> None:
        """Note that a trial waits at its checkpoint for its cell."""
        self._set(key, "paused")

    def reach(self, key: str, rung: int, value: float, diversity: float | None = None) -> None:
        """Note a trial's value of the stopping metric at a rung, and how diverse its samples are."""
        self.values[key][rung] = value
        if diversity is not None:
            self.diversity.setdefault(key, {})[rung] = diversity
        self._judge(self.plan.by_key[key].cell)
        self._refresh(key)

    def end(self, key: str, status: Status, reason: str | None = None) -> None:
        """Note that a trial has ended."""
        if reason:
            self.reasons[key] = reason
        self._set(key, status)
        if status in _TELLING:
            self._judge(self.plan.by_key[key].cell)

    def leave(self, key: str) -> None:
        """Note that another driver works on a trial."""
        self._set(key, "elsewhere")

    def hear(self, store: Store, free: Iterable[str]) -> None:
        """Take in what the store knows by now of the trials elsewhere; those in `free`, which nobody has, are pending again."""
        now = Ledger.open(self.plan, store)
        freed = set(free)
        for key in self.having("elsewhere"):
            self.values[key] |= now.values[key]
            self.diversity[key] = now.diversity[key]
            if key in freed:
                self._set(key, "pending")
                if key in now._recorded:
                    self._recorded[key] = now._recorded[key]
            if now.status[key] in ("done", "diverged", "failed"):
                if key in now.reasons:
                    self.reasons[key] = now.reasons[key]
                self._set(key, now.status[key])
            self._judge(self.plan.by_key[key].cell)
            self._refresh(key)

    def reopen(self, key: str, last: int) -> None:
        """Note that a trial must go on from step `last`, or begin anew from 0: what the store had of it later is lost."""
        self.values[key] = {rung: value for rung, value in self.values[key].items() if rung <= last}
        self.reasons.pop(key, None)
        self._recorded.pop(key, None)
        self._set(key, "pending")
        self._judge(self.plan.by_key[key].cell)
        self._refresh(key)

    def settle(self) -> list[str]:
        """Mark the trials that the rule stops, or a failed source blocks; return those the store does not know so yet.

        To be called after every event, and once at the start.
        """
        settled = []
        while (key := self._due.first()) is not None:
            parent = self.plan.by_key[key].parent
            if parent is not None and self.status[parent] in _LOST:
                lost = "is blocked" if self.status[parent] == "blocked" else self.status[parent]
                self.end(key, "blocked", f"its source {self.plan.by_key[parent].as_source.name} {lost} ({parent})")
            else:
                self.end(key, "stopped", self.verdict(key).why)
            settled.append(key)
        return [key for key in sorted(settled, key=self._order.__getitem__) if self._recorded.get(key) != self.status[key]]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _set(self, key: str, status: Status) -> None:
        former = self.status[key]
        if status == former:
            return
        self.status[key] = status
        self._having[former].remove(key)
        self._having[status].add(key)
        if status in ENDED:
            self.ends.append(key)
        self._refresh(key)
        for child in self._children.get(key, ()):
            self._refresh(child)

    def _refresh(self, key: str) -> None:
        """Bring up to date what a trial's status, its parent's, its verdict and its values decide."""
        status, action = self.status[key], self.verdict(key).action
        parent = self.plan.by_key[key].parent
        of_parent = "done" if parent is None else self.status[parent]
        self._ready.keep(key, status == "pending" and of_parent == "done" and action is Action.GO)
        self._promoted.keep(key, status == "paused" and action is Action.GO)
        stops = status in ("pending", "paused") and action is Action.STOP
        self._due.keep(key, stops or (status not in ENDED and of_parent in _LOST))
        left = 0 if status in ENDED else self.plan.by_key[key].training.steps - self.last_rung(key)
        self.steps_left += left - self._steps_left[key]
        self._steps_left[key] = left

    def _judge(self, cell: str | None) -> None:
        if cell is None or self.plan.spec.stopping.rule == "none":
            return
        for key, verdict in judge(self.curves(cell), self.rungs(cell), self.plan.spec.stopping, cell).items():
            if verdict != self.verdict(key):
                self._verdicts[key] = verdict
                self._refresh(key)


def held(values: dict[int, float], budget: int, rungs: Iterable[int]) -> dict[int, float]:
    """Return a trial's values by rung; one that has ended at its budget, before others of its cell, keeps its last value."""
    if budget not in values:
        return values
    return values | {rung: values[budget] for rung in rungs if rung > budget}


def _method(trial: TrialConfig) -> str:
    """Return what a trial is, but for its seed, among those of its cell."""
    name = f"{trial.strategy} {trial.source and trial.source.name}"
    return name if trial.kind == "adapt" else f"{name} {trial.training.generator_lr} {trial.training.steps}"
