"""Jobs on machines that may be lost: a discrete-event simulation. Pure; knows of seconds and checkpoints, not of trials.

A job is a row of legs, each some seconds long, with a checkpoint after each. A GPU is lost by a Poisson process of its own, and
with it the work since their last checkpoints of all jobs there, which are taken up again as soon as there is room.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol


@dataclass(frozen=True)
class Overhead:
    """What the harness adds to a job's own seconds."""

    startup_seconds: float = 0.0
    """Until a slot's process is up and has imported what jobs need. Of slots that have nothing to do one keeps its process."""
    start_seconds: float = 0.0
    """Until a job has been handed to a process, the first time, after a pause and after a loss."""
    leg_seconds: float = 0.0
    """Recording what a leg came to."""


@dataclass(frozen=True)
class Cluster:
    """What jobs run on.

    Attributes:
        gpus: how many there are.
        share: of a GPU that a job takes, or how many; as jobs are packed on it, so many are lost together.
        interruptions: losses per hour and GPU, on average.
        restart_seconds: until another GPU takes a lost one's place.
        overhead: what the harness adds.
    """

    gpus: int
    share: float = 1.0
    interruptions: float = 0.0
    restart_seconds: float = 300.0
    overhead: Overhead = Overhead()

    @property
    def packing(self) -> int:
        """Jobs on one GPU."""
        return max(1, int(1 / self.share))

    @property
    def gang(self) -> int:
        """GPUs of one job, where it takes several."""
        return math.ceil(self.share)

    @property
    def machines(self) -> int:
        """What is lost as one: GPUs, or gangs of them."""
        return self.gpus // self.gang

    @property
    def slots(self) -> int:
        """Jobs that run at a time."""
        return self.machines * self.packing


@dataclass(frozen=True)
class Outcome:
    """What came of a simulation.

    Attributes:
        cluster: what it ran on.
        makespan: seconds until the last job ended.
        busy: seconds that slots had a job, all slots together.
        lost: those of them whose work an interruption undid.
        interruptions: losses of a machine that had a job.
        ends: how many jobs ended as what.
    """

    cluster: Cluster
    makespan: float
    busy: float
    lost: float
    interruptions: int
    ends: Mapping[str, int]

    @property
    def idle(self) -> float:
        """Share of the slots' time in which they had no job."""
        return max(0.0, 1 - self.busy / (self.cluster.slots * self.makespan)) if self.makespan else 0.0


class Work(Protocol):
    """What a cluster works on: jobs, and what may happen next."""

    @property
    def legs(self) -> Mapping[str, Sequence[float]]:
        """Seconds of each job's legs."""

    def take(self) -> str | None:
        """Return the next job that may run now, which then runs."""

    def advance(self, job: str, leg: int) -> bool:
        """Note that a job has come to the end of a leg, and say whether it goes on at once."""

    def lose(self, job: str, leg: int) -> None:
        """Note that a job was interrupted in a leg; it may be taken again, or has failed."""

    def is_open(self) -> bool:
        """Whether any job has not ended."""

    def ends(self) -> Mapping[str, int]:
        """Return how many jobs ended as what."""


@dataclass
class _Run:
    """A job in a slot, since its last checkpoint or its start."""

    job: str
    since: float


class Simulation:
    """Work on a cluster; made for one run."""

    def __init__(self, work: Work, cluster: Cluster, seed: int) -> None:
        """`seed`: of the interruptions."""
        self._work, self._cluster = work, cluster
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._busy = self._lost = 0.0
        self._interruptions = 0
        self._done: Counter[str] = Counter()  # legs of each job
        self._runs: dict[int, _Run] = {}  # by slot
        self._free = dict.fromkeys(reversed(range(cluster.slots)))  # the last one is taken first: it may be warm
        self._warm: set[int] = set()  # slots whose process is up
        self._events: list[tuple[float, int, str, int, _Run | None]] = []
        self._number = count()  # events of the same time come in the order in which they were foreseen

    def run(self) -> Outcome:
        """Run to the last job's end."""
        now = 0.0
        for machine in range(self._cluster.machines):
            self._foresee_loss(now, machine)
        self._fill(now)
        while self._work.is_open():
            now, _, what, where, run = heapq.heappop(self._events)
            if what == "leg":
                if self._runs.get(where) is not run:  # lost meanwhile
                    continue
                self._end_leg(now, where)
            elif what == "loss":
                self._lose(now, where)
            else:
                self._free = dict.fromkeys(self._slots(where)) | self._free
                self._foresee_loss(now, where)
            self._fill(now)
        return Outcome(self._cluster, now, self._busy, self._lost, self._interruptions, self._work.ends())

    def _fill(self, now: float) -> None:
        while self._free and (job := self._work.take()) is not None:
            slot, _ = self._free.popitem()
            overhead = self._cluster.overhead
            begins = now + overhead.start_seconds + (0 if slot in self._warm else overhead.startup_seconds)
            self._warm.add(slot)
            self._runs[slot] = _Run(job, now)
            self._begin_leg(begins, slot)

    def _begin_leg(self, at: float, slot: int) -> None:
        run = self._runs[slot]
        seconds = self._work.legs[run.job][self._done[run.job]] + self._cluster.overhead.leg_seconds
        self._foresee(at + seconds, "leg", slot, run)

    def _end_leg(self, now: float, slot: int) -> None:
        run = self._runs[slot]
        self._busy += now - run.since
        run.since = now
        leg = self._done[run.job]
        self._done[run.job] += 1
        if self._work.advance(run.job, leg):
            self._begin_leg(now, slot)
        else:
            del self._runs[slot]
            if self._free:  # Ray ends the processes of all but one slot that have nothing to do
                self._warm.discard(next(reversed(self._free)))
            self._free[slot] = None

    def _lose(self, now: float, machine: int) -> None:
        slots = self._slots(machine)
        struck = [(slot, self._runs.pop(slot)) for slot in slots if slot in self._runs]
        self._interruptions += bool(struck)
        for slot in slots:
            self._free.pop(slot, None)
            self._warm.discard(slot)
        for _, run in struck:
            self._busy += now - run.since
            self._lost += now - run.since
            self._work.lose(run.job, self._done[run.job])
        self._foresee(now + self._cluster.restart_seconds, "back", machine)

    def _slots(self, machine: int) -> range:
        return range(machine * self._cluster.packing, (machine + 1) * self._cluster.packing)

    def _foresee(self, at: float, what: str, where: int, run: _Run | None = None) -> None:
        heapq.heappush(self._events, (at, next(self._number), what, where, run))

    def _foresee_loss(self, now: float, machine: int) -> None:
        if rate := self._cluster.interruptions * self._cluster.gang:
            self._foresee(now + self._random.expovariate(rate / 3600), "loss", machine)
