"""What a sweep takes on many GPUs: a discrete-event simulation of its plan. A pure function; no Ray, no torch.

Who starts, waits, stops or is blocked is decided by the ledger and the stopping rule that decide it in a real run; only time is
made up. A trial takes the seconds that it is given: its set-up, then a leg up to each rung, where it leaves a checkpoint. Spot
machines are lost by a Poisson process on each GPU, and with them the work since the last checkpoint of all trials there.
"""

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Protocol

from bench.estimate import Estimate
from bench.ledger import Ledger, by_step
from bench.plan import Plan
from bench.stopping import Action
from bench.store import Store
from bench.tables import FINISHED
from trainers.errors import UserError

#: A value of the stopping metric by trial key and rung.
Values = Mapping[str, Mapping[int, float]]


class Schedule(StrEnum):
    """How a sweep's work is cut down and ordered."""

    NAIVE = "naive"
    """Every grid point for itself: it pre-trains its own source, duplicates run again, and nothing stops early."""
    BARRIER = "barrier"
    """Sources are pre-trained once and duplicates collapse; adaptations wait for all sources, and run to their budgets."""
    OURS = "ours"
    """An adaptation waits for its own source only, and the poor stop by the sweep's rule."""


@dataclass(frozen=True)
class Overhead:
    """What the harness adds to a trial's own seconds."""

    startup_seconds: float = 0.0
    """Until a slot's process is up and has imported what trials need, once."""
    start_seconds: float = 0.0
    """Until a trial has been handed to a process, the first time, after a pause and after a loss."""
    leg_seconds: float = 0.0
    """Recording step 0, or a rung, in the store."""


@dataclass(frozen=True)
class Cluster:
    """What trials run on.

    Attributes:
        gpus: how many there are; or of whatever is lost as one.
        packing: trials that share one, each in a slot of its own.
        interruptions: losses per hour and GPU, on average.
        restart_seconds: until another GPU takes a lost one's place.
        overhead: what the harness adds.
    """

    gpus: int
    packing: int = 1
    interruptions: float = 0.0
    restart_seconds: float = 300.0
    overhead: Overhead = Overhead()

    @property
    def slots(self) -> int:
        """Trials that run at a time."""
        return self.gpus * self.packing


@dataclass(frozen=True)
class Outcome:
    """What came of a simulation.

    Attributes:
        cluster: what it ran on.
        makespan: seconds until the last trial ended.
        busy: seconds that slots had a trial, all slots together.
        lost: those of them whose work an interruption undid.
        interruptions: losses of a GPU that had a trial.
        ends: how many trials ended as what.
    """

    cluster: Cluster
    makespan: float
    busy: float
    lost: float
    interruptions: int
    ends: Mapping[str, int]

    @property
    def idle(self) -> float:
        """Share of the slots' time in which they had no trial."""
        return 1 - self.busy / (self.cluster.slots * self.makespan) if self.makespan else 0.0

    @property
    def gpu_hours(self) -> float:
        """Hours of GPUs that had trials; of a packed GPU by shares."""
        return self.busy / self.cluster.packing / 3600


def simulate(
    plan: Plan,
    estimates: Mapping[str, Estimate],
    cluster: Cluster,
    values: Values,
    schedule: Schedule = Schedule.OURS,
    seed: int = 0,
) -> Outcome:
    """Simulate a sweep from an empty store to its last trial.

    Args:
        plan: the sweep.
        estimates: what each trial takes, by key.
        cluster: what it runs on.
        values: of the stopping metric, see `stopping_values`; not needed without stopping.
        schedule: how.
        seed: of the interruptions.
    """
    work: _Work
    if schedule is Schedule.NAIVE:
        work = _Grid(plan, estimates)
    else:
        work = _Sweep(plan, estimates, values, barrier=schedule is Schedule.BARRIER)
    return _Simulation(work, cluster, plan.spec.resources.retries, seed).run()


class _Work(Protocol):
    """What a cluster works on: jobs, each of legs (seconds) with a checkpoint after each."""

    legs: Mapping[str, Sequence[float]]

    def take(self) -> str | None:
        """Return the next job that may run now, which then runs."""

    def advance(self, job: str, leg: int) -> bool:
        """Note that a job has come to the end of a leg, and say whether it goes on at once."""

    def lose(self, job: str, *, failed: bool) -> None:
        """Note that a job was interrupted: for good, or to be taken again."""

    def is_open(self) -> bool:
        """Whether any job has not ended."""

    def ends(self) -> Mapping[str, int]:
        """Return how many jobs ended as what."""


class _Grid:
    """A naive grid: a job for every grid point, which pre-trains its own source first."""

    def __init__(self, plan: Plan, estimates: Mapping[str, Estimate]) -> None:
        self.legs = {}
        chains: dict[str | None, tuple[float, ...]] = {None: ()}
        for key, trial in plan.by_key.items():  # sources come before what starts from them
            own = () if trial.imported else (estimates[key].setup_seconds, *estimates[key].rung_seconds)
            chains[key] = chains[trial.parent] + own
        self.legs = {f"{key} {number}": chains[key] for number, key in enumerate(plan.grid)}
        self._waiting = deque(self.legs)
        self._ends: Counter[str] = Counter()

    def take(self) -> str | None:
        return self._waiting.popleft() if self._waiting else None

    def advance(self, job: str, leg: int) -> bool:
        if leg + 1 < len(self.legs[job]):
            return True
        self._ends["done"] += 1
        return False

    def lose(self, job: str, *, failed: bool) -> None:
        if failed:
            self._ends["failed"] += 1
        else:
            self._waiting.appendleft(job)

    def is_open(self) -> bool:
        return self._ends.total() < len(self.legs)

    def ends(self) -> Mapping[str, int]:
        return dict(self._ends)


class _Sweep:
    """A plan's trials, as the ledger releases, pauses, promotes and stops them."""

    def __init__(self, plan: Plan, estimates: Mapping[str, Estimate], values: Values, *, barrier: bool) -> None:
        if barrier:
            spec = plan.spec
            plan = replace(plan, spec=spec.model_copy(update={"stopping": spec.stopping.model_copy(update={"rule": "none"})}))
        self._values = values
        self._rungs = {key: trial.rungs for key, trial in plan.by_key.items()}
        self._sources = {key for key, trial in plan.by_key.items() if trial.kind == "pretrain" and not trial.imported}
        self._barrier = barrier
        self.legs = {key: (each.setup_seconds, *each.rung_seconds) for key, each in estimates.items()}
        self._ledger = Ledger(
            plan, {key: "done" if trial.imported else "pending" for key, trial in plan.by_key.items()},
            {key: {} for key in plan.by_key},
        )  # fmt: skip

    def take(self) -> str | None:
        ledger = self._ledger
        key = ledger.next_promoted() or ledger.next_ready()
        if key is None or (self._barrier and self._sources and key not in self._sources):
            return None
        ledger.start(key)
        return key

    def advance(self, job: str, leg: int) -> bool:
        if leg == 0:
            return True
        ledger, rung = self._ledger, self._rungs[job][leg - 1]
        ledger.reach(job, rung, self._values[job][rung] if job in self._values else math.inf)
        if leg < len(self._rungs[job]):
            ledger.pause(job)  # as `bench.scheduler` does
        else:
            ledger.end(job, "done")
            self._sources.discard(job)
        ledger.settle()
        if ledger.status[job] == "paused" and ledger.verdict(job).action is Action.GO:
            ledger.start(job)
        return ledger.status[job] == "running"

    def lose(self, job: str, *, failed: bool) -> None:
        if failed:
            self._ledger.end(job, "failed", "interrupted too often")
            self._sources.discard(job)
            self._ledger.settle()
        else:
            self._ledger.reopen(job, self._ledger.last_rung(job))

    def is_open(self) -> bool:
        return self._ledger.is_open()

    def ends(self) -> Mapping[str, int]:
        return Counter(self._ledger.status.values())


@dataclass
class _Run:
    """A job in a slot, since its last checkpoint or its start."""

    job: str
    since: float


@dataclass
class _Simulation:
    work: _Work
    cluster: Cluster
    retries: int
    seed: int
    busy: float = 0.0
    lost: float = 0.0
    interruptions: int = 0
    _done: Counter[str] = field(default_factory=Counter)  # legs of each job
    _failures: Counter[str] = field(default_factory=Counter)
    _runs: dict[int, _Run] = field(default_factory=dict)  # by slot
    _warm: set[int] = field(default_factory=set)  # slots whose process is up

    def __post_init__(self) -> None:
        self._free = dict.fromkeys(reversed(range(self.cluster.slots)))  # the last one freed is taken first: it is warm
        self._events: list[tuple[float, int, str, int, _Run | None]] = []
        self._number = count()  # events of the same time come in the order in which they were foreseen
        self._random = random.Random(self.seed)  # noqa: S311 - no secret

    def run(self) -> Outcome:
        now = 0.0
        for gpu in range(self.cluster.gpus):
            self._foresee_loss(now, gpu)
        self._fill(now)
        while self.work.is_open():
            now, _, what, where, run = heapq.heappop(self._events)
            if what == "leg":
                if self._runs.get(where) is not run:  # lost meanwhile
                    continue
                self._end_leg(now, where)
            elif what == "loss":
                self._lose(now, where)
            else:
                self._free |= dict.fromkeys(self._slots(where))
                self._foresee_loss(now, where)
            self._fill(now)
        return Outcome(self.cluster, now, self.busy, self.lost, self.interruptions, self.work.ends())

    def _fill(self, now: float) -> None:
        while self._free and (job := self.work.take()) is not None:
            slot, _ = self._free.popitem()
            overhead = self.cluster.overhead
            begins = now + overhead.start_seconds + (0 if slot in self._warm else overhead.startup_seconds)
            self._warm.add(slot)
            self._runs[slot] = _Run(job, now)
            self._begin_leg(begins, slot)

    def _begin_leg(self, at: float, slot: int) -> None:
        run = self._runs[slot]
        seconds = self.work.legs[run.job][self._done[run.job]] + self.cluster.overhead.leg_seconds
        self._foresee(at + seconds, "leg", slot, run)

    def _end_leg(self, now: float, slot: int) -> None:
        run = self._runs[slot]
        self.busy += now - run.since
        run.since = now
        leg = self._done[run.job]
        self._done[run.job] += 1
        if self.work.advance(run.job, leg):
            self._begin_leg(now, slot)
        else:
            del self._runs[slot]
            self._free[slot] = None

    def _lose(self, now: float, gpu: int) -> None:
        slots = self._slots(gpu)
        struck = [(slot, self._runs.pop(slot)) for slot in slots if slot in self._runs]
        self.interruptions += bool(struck)
        for slot in slots:
            self._free.pop(slot, None)
            self._warm.discard(slot)
        for _, run in struck:
            self.busy += now - run.since
            self.lost += now - run.since
            self._failures[run.job] += 1
            self.work.lose(run.job, failed=self._failures[run.job] > self.retries)
        self._foresee(now + self.cluster.restart_seconds, "back", gpu)

    def _slots(self, gpu: int) -> range:
        return range(gpu * self.cluster.packing, (gpu + 1) * self.cluster.packing)

    def _foresee(self, at: float, what: str, where: int, run: _Run | None = None) -> None:
        heapq.heappush(self._events, (at, next(self._number), what, where, run))

    def _foresee_loss(self, now: float, gpu: int) -> None:
        if self.cluster.interruptions:
            self._foresee(now + self._random.expovariate(self.cluster.interruptions / 3600), "loss", gpu)
