"""The ledger: the state of every planned trial, and which trials may start or go on.

Plain data without Ray, built from the plan and the store and updated at every event. Nothing in it depends on time or order, so
a ledger rebuilt from the store after a restart gives the same answers. The cost per trial does not grow with the sweep: an
event costs time proportional to the trials of its cell, or to the children of its source.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import get_args

from bench.driver.ordered import Ordered
from bench.driver.results import Results, Status, outcome, standing, went_on
from bench.driver.stopping import Action, Verdict
from bench.driver.verdicts import Verdicts
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.config.sources import renamed

#: Final statuses in this run.
ENDED: frozenset[Status] = frozenset({"done", "stopped", "diverged", "failed", "blocked"})

#: Ends that change the verdicts on the rest of the cell; those of a source block its children.
_LOST: frozenset[Status] = frozenset({"failed", "diverged", "blocked"})


@dataclass
class Ledger:
    """The state of a sweep; make one with :meth:`open`.

    Attributes:
        status: status of each trial by key; only events change it.
        values, diversity: the stopping metric, and the diversity of the samples, by trial key and rung.
        reasons: why a trial failed, diverged, stopped or is blocked, by key.
        ends: keys of the trials that have ended since the ledger was opened, in the order of their ends.
        steps_left: generator steps up to the budgets of the trials that have not ended.
        deferred: pending trials that others have taken to rungs that are to be measured before they go on (see `defer`).
        verdicts: the verdicts of the stopping rules on the trials, and the curves of each cell.
    """

    plan: Plan
    status: dict[str, Status]
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    steps_left: int = 0
    deferred: set[str] = field(default_factory=set)
    _recorded: dict[str, Status] = field(default_factory=dict)
    _retried: set[tuple[str, datetime]] = field(default_factory=set)  # failures that do not count, by the time of their record
    _reopened: set[str] = field(default_factory=set)
    _stopped_before: set[str] = field(default_factory=set)  # by the same rule, on values of another evaluation

    def __post_init__(self) -> None:
        self.verdicts = Verdicts(self.plan, self.status, self.values, self.diversity, self._stopped_before)
        self._order = order = {key: i for i, key in enumerate(self.plan.by_key)}
        self._having: dict[Status, set[str]] = {status: set() for status in get_args(Status)}
        self._ready, self._promoted, self._due = Ordered(order), Ordered(order), Ordered(order)
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
        """Return the ledger of a plan of which nothing has run; imported sources are done."""
        status: dict[str, Status] = {key: "done" if trial.imported else "pending" for key, trial in plan.by_key.items()}
        return cls(plan, status, {key: {} for key in plan.by_key})

    @classmethod
    def open(cls, plan: Plan, store: Store, *, retry_failed: bool = False, but: Container[str] = ()) -> "Ledger":
        """Return the ledger of a plan as recorded in the store; with `retry_failed`, failed ones but some are pending again."""
        found = standing(plan, store, retry_failed=retry_failed, but=but)
        return cls(
            plan, found.status, found.values, found.diversity, found.reasons, _recorded=found.recorded, _retried=found.retried,
            _stopped_before=found.stopped_before,
        )  # fmt: skip

    # -- questions --------------------------------------------------------------------------------------------------

    def verdict(self, key: str) -> Verdict:
        """Return the verdict of the stopping rules on a trial; a pretrain trial always goes on."""
        return self.verdicts.of(key)

    def ready(self) -> list[str]:
        """Return the pending trials that may start now, in plan order: their source is done and their cell does not wait."""
        return sorted(self._ready.members, key=self._order.__getitem__)

    def is_ready(self, key: str) -> bool:
        """Return whether a trial may start now."""
        return key in self._ready.members

    def lacks_rungs(self, key: str, until: int) -> bool:
        """Return whether a trial has a rung before a step without a value here."""
        return any(rung < until and rung not in self.values[key] for rung in self.plan.by_key[key].rungs)

    def next_ready(self) -> str | None:
        """Return the first trial of `ready`, or None."""
        return self._ready.first()

    def next_promoted(self) -> str | None:
        """Return the first paused trial, in plan order, that may go on, or None."""
        return self._promoted.first()

    def having(self, *statuses: Status) -> list[str]:
        """Return the trials that have one of the statuses, in plan order."""
        return sorted((key for status in statuses for key in self._having[status]), key=self._order.__getitem__)

    def open_trials(self) -> list[str]:
        """Return the trials that have not ended, in plan order."""
        return [key for key, status in self.status.items() if status not in ENDED]

    def is_open(self) -> bool:
        """Return whether any trial has not ended."""
        return self.ended < len(self.status)

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return self.count(*ENDED)

    def is_idle(self) -> bool:
        """Return whether trials are open but none of them runs here, or can start or go on here."""
        moving = self.count("queued", "running", "measuring") or self.next_ready() or self.next_promoted()
        return self.is_open() and not moving

    def stalled(self) -> bool:
        """Return whether trials are open but none of them can move."""
        return self.is_idle() and not self.count("elsewhere")

    def waits(self) -> bool:
        """Return whether an open trial waits for the values of others of its cell."""
        return any(self.status[key] not in ENDED for key in self.verdicts.waiting())

    def count(self, *statuses: Status) -> int:
        """Return the number of trials that have one of the statuses."""
        return sum(len(self._having[status]) for status in statuses)

    def last_rung(self, key: str) -> int:
        """Return the last rung at which a trial was measured, 0 before the first."""
        return max(self.values[key], default=0)

    # -- events -----------------------------------------------------------------------------------------------------

    def queue(self, key: str) -> None:
        """Note that a trial will run as soon as there are resources for it."""
        self._set(key, "queued")

    def start(self, key: str) -> None:
        """Note that a trial runs."""
        self._set(key, "running")

    def measure(self, key: str) -> None:
        """Note that a trial is measured at a rung, in another process than its own."""
        self._set(key, "measuring")

    def pause(self, key: str) -> None:
        """Note that a trial waits at its checkpoint."""
        self._set(key, "paused")

    def reach(self, key: str, rung: int, value: float, diversity: float | None = None) -> None:
        """Note a trial's value of the stopping metric at a rung, and the diversity of its samples."""
        if rung not in self.values[key]:
            self._recorded.pop(key, None)  # it went on after that end
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
        if status in _LOST:
            self._judge(self.plan.by_key[key].cell)

    def hand_over(self, key: str) -> None:
        """Note that another driver runs a trial."""
        self._set(key, "elsewhere")

    def defer(self, key: str) -> None:
        """Note that a pending trial may not start before it is measured at the rungs that another driver took it to."""
        self.deferred.add(key)
        self._refresh(key)

    def take_in(
        self, results: Results, keys: Iterable[str], freed: Iterable[str], last_checkpoint: Callable[[str], int],
        is_behind: Callable[[str], bool],
    ) -> set[str]:  # fmt: skip
        """Take in the recorded results of trials that this driver does not run; return those of `keys` that it runs.

        Args:
            results: what the store has.
            keys: the trials with new results.
            freed: trials that ran elsewhere and are claimed by no driver any more; they are pending, if they have not ended.
            last_checkpoint: returns the step of a trial's last checkpoint; later results of a reopened trial do not count.
            is_behind: returns whether only other evaluations have measured a trial at a rung, and this one can measure it.
        """
        for key in freed:
            self._set(key, "pending")
        running, cells = set(), set()
        for key in keys:
            if self.status[key] in ("pending", "elsewhere"):
                self._take_in_one(key, results, last_checkpoint(key) if key in self._reopened else None, is_behind)
                self._refresh(key)
                cells.add(self.plan.by_key[key].cell)
            elif self.status[key] not in ENDED:
                running.add(key)
            elif self.status[key] == "done" and results.values.get(key, {}).keys() - self.values[key].keys():
                self.fill(key, results)  # measured after it was done in another evaluation
                cells.add(self.plan.by_key[key].cell)
        for cell in cells:
            self._judge(cell)
        return running

    def _take_in_one(self, key: str, results: Results, until: int | None, is_behind: Callable[[str], bool]) -> None:
        end = results.ends.get(key)
        if until is None:
            self.fill(key, results)
        else:
            self.values[key] |= {step: value for step, value in results.values.get(key, {}).items() if step <= until}
            if end is not None and (end.steps > until or until == 0):  # 0: no checkpoint; an import ended at step 0
                return
        if end is None or (key, end.recorded_at) in self._retried:
            return
        ended = outcome(self.plan.by_key[key], end.status, end.steps, end.budget, self.values[key])
        if ended in ("stopped", "blocked"):
            if not went_on(end.steps, self.values[key]):
                self._recorded[key] = ended
        elif ended in _LOST and is_behind(key):  # its cell is judged by what it was before it was lost, too
            self._set(key, "pending")
            self.defer(key)
        elif ended is not None:
            if end.error is not None:
                self.reasons[key] = end.error
            self.deferred.discard(key)
            self._set(key, ended)

    def fill(self, key: str, results: Results) -> None:
        """Take in the recorded values of one trial, without its outcome."""
        self.values[key] |= results.values.get(key, {})
        self.diversity.setdefault(key, {}).update(results.diversity.get(key, {}))

    def reopen(self, key: str, last: int) -> None:
        """Note that a trial must resume from step `last`, or start again from 0: later results are lost from the store."""
        self.values[key] = {rung: value for rung, value in self.values[key].items() if rung <= last}
        self.reasons.pop(key, None)
        self._recorded.pop(key, None)
        self._reopened.add(key)
        self._set(key, "pending")
        self._judge(self.plan.by_key[key].cell)
        self._refresh(key)

    def settle(self) -> list[str]:
        """End the trials that the rules stop or that a lost source blocks; return those not yet recorded so in the store."""
        settled = []
        while (key := self._due.first()) is not None:
            parent = self.plan.by_key[key].parent
            if parent is not None and self.status[parent] in _LOST:
                lost = "is blocked" if self.status[parent] == "blocked" else self.status[parent]
                source = renamed(self.plan.by_key[parent].as_source.name, self.plan.spec.labels)
                self.end(key, "blocked", f"its source {source} {lost} ({parent})")
            else:
                self.end(key, "stopped", self.verdict(key).why)
            settled.append(key)
        return [key for key in sorted(settled, key=self._order.__getitem__) if self._recorded.get(key) != self.status[key]]

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
        """Update what depends on a trial's status, its parent's status, its verdict and its values."""
        status, action = self.status[key], self.verdict(key).action
        parent = self.plan.by_key[key].parent
        of_parent = "done" if parent is None else self.status[parent]
        startable = status == "pending" and key not in self.deferred
        self._ready.keep(key, startable and of_parent == "done" and action is Action.GO)
        self._promoted.keep(key, status == "paused" and action is Action.GO)
        stops = status in ("pending", "paused") and action is Action.STOP
        self._due.keep(key, stops or (status not in ENDED and of_parent in _LOST))
        left = 0 if status in ENDED else self.plan.by_key[key].training.steps - self.last_rung(key)
        self.steps_left += left - self._steps_left[key]
        self._steps_left[key] = left

    def _judge(self, cell: str | None) -> None:
        for key in () if cell is None else self.verdicts.judge(cell):
            self._refresh(key)
