"""Discrete-event simulation of jobs on machines that may be lost. Pure; independent of trials and stores.

A job is a sequence of legs with given seconds, and a checkpoint after each and at intervals within. Each GPU is lost by an
independent Poisson process, and with it the work of its jobs since their last checkpoints. These jobs resume when a slot is
free.
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
    """Seconds that the harness adds to those of a job."""

    startup_seconds: float = 0.0
    """Until a slot's process has started and imported its modules. One idle slot keeps its process."""
    start_seconds: float = 0.0
    """Until a process has received a job: at its start, after a pause and after a loss."""
    leg_seconds: float = 0.0
    """For recording the result of a leg."""


@dataclass(frozen=True)
class Cluster:
    """The machines that jobs run on.

    Attributes:
        share: GPUs per job, or the share of one; jobs that share a GPU are lost together.
        interruptions: mean losses per hour and GPU.
        restart_seconds: until a lost GPU is replaced.
    """

    gpus: int
    share: float = 1.0
    interruptions: float = 0.0
    restart_seconds: float = 300.0
    overhead: Overhead = Overhead()

    @property
    def packing(self) -> int:
        """Jobs per GPU."""
        return max(1, int(1 / self.share))

    @property
    def gang(self) -> int:
        """GPUs per job, at least 1."""
        return math.ceil(self.share)

    @property
    def machines(self) -> int:
        """Number of units that are lost as one: GPUs, or groups of `gang` GPUs."""
        return self.gpus // self.gang

    @property
    def slots(self) -> int:
        """Jobs that run concurrently."""
        return self.machines * self.packing


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation.

    Attributes:
        makespan: seconds until the last job ended.
        busy: seconds with a job, summed over the slots.
        lost: the part of them whose work was lost by interruptions.
        interruptions: losses of machines that had a job.
        ends: the number of jobs by final status.
    """

    cluster: Cluster
    makespan: float
    busy: float
    lost: float
    interruptions: int
    ends: Mapping[str, int]

    @property
    def idle(self) -> float:
        """Share of the slots' time without a job."""
        return max(0.0, 1 - self.busy / (self.cluster.slots * self.makespan)) if self.makespan else 0.0


class Work(Protocol):
    """The jobs of a simulation, and their order."""

    @property
    def legs(self) -> Mapping[str, Sequence[float]]:
        """Seconds of each job's legs."""

    def take(self) -> str | None:
        """Return the next job to start, or None if none may start now; it counts as running."""

    def advance(self, job: str, leg: int) -> bool:
        """Note that a job has ended a leg; return whether it continues immediately."""

    def lose(self, job: str, leg: int, seconds: float) -> None:
        """Note that a job lost its machine in a leg, `seconds` after it began there; it may be taken again, or has failed."""

    def is_open(self) -> bool:
        """Return whether any job has not ended."""

    def ends(self) -> Mapping[str, int]:
        """Return the number of jobs by final status."""


@dataclass
class _Run:
    """A job in a slot; `since` is the time of its last leg's end or its start, `began` that of its present leg."""

    job: str
    since: float
    began: float = 0.0


class Simulation:
    """The simulation of work on a cluster; usable for one run."""

    def __init__(self, work: Work, cluster: Cluster, seed: int, checkpoint_seconds: float = math.inf) -> None:
        """Create a simulation of jobs on machines.

        `seed` is that of the interruptions; within a leg after its first, a job leaves a checkpoint every `checkpoint_seconds`.
        """
        self._work, self._cluster, self._every = work, cluster, checkpoint_seconds
        self._kept: dict[str, float] = {}  # seconds of the present leg that are in a checkpoint, by job
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._busy = self._lost = 0.0
        self._interruptions = 0
        self._done: Counter[str] = Counter()  # completed legs by job
        self._runs: dict[int, _Run] = {}  # by slot
        self._free = dict.fromkeys(reversed(range(cluster.slots)))  # the last one is used first, as its process may be running
        self._warm: set[int] = set()  # slots with a running process
        self._events: list[tuple[float, int, str, int, _Run | None]] = []
        self._number = count()  # orders simultaneous events by their creation

    def run(self) -> Outcome:
        """Simulate until the last job has ended."""
        now = 0.0
        for machine in range(self._cluster.machines):
            self._schedule_loss(now, machine)
        self._fill(now)
        while self._work.is_open():
            now, _, event, where, run = heapq.heappop(self._events)
            if event == "leg":
                if self._runs.get(where) is not run:  # lost in the meantime
                    continue
                self._end_leg(now, where)
            elif event == "loss":
                self._lose(now, where)
            else:
                self._free = dict.fromkeys(self._slots(where)) | self._free
                self._schedule_loss(now, where)
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
        run.began = at
        seconds = self._work.legs[run.job][self._done[run.job]] - self._kept.get(run.job, 0.0)
        self._schedule(at + seconds + self._cluster.overhead.leg_seconds, "leg", slot, run)

    def _end_leg(self, now: float, slot: int) -> None:
        run = self._runs[slot]
        self._busy += now - run.since
        run.since = now
        leg = self._done[run.job]
        self._done[run.job] += 1
        self._kept.pop(run.job, None)
        if self._work.advance(run.job, leg):
            self._begin_leg(now, slot)
        else:
            del self._runs[slot]
            if self._free:  # Ray ends the processes of all idle slots but one
                self._warm.discard(next(reversed(self._free)))
            self._free[slot] = None

    def _lose(self, now: float, machine: int) -> None:
        slots = self._slots(machine)
        interrupted = [self._runs.pop(slot) for slot in slots if slot in self._runs]
        self._interruptions += bool(interrupted)
        for slot in slots:
            self._free.pop(slot, None)
            self._warm.discard(slot)
        for run in interrupted:
            kept = (
                self._every * math.floor(max(0.0, now - run.began) / self._every)
                if self._done[run.job] and self._every < math.inf
                else 0.0
            )
            if kept:
                self._kept[run.job] = self._kept.get(run.job, 0.0) + kept
            self._busy += now - run.since
            self._lost += now - run.since - kept
            self._work.lose(run.job, self._done[run.job], now - run.since)
        self._schedule(now + self._cluster.restart_seconds, "replacement", machine)

    def _slots(self, machine: int) -> range:
        return range(machine * self._cluster.packing, (machine + 1) * self._cluster.packing)

    def _schedule(self, at: float, event: str, where: int, run: _Run | None = None) -> None:
        heapq.heappush(self._events, (at, next(self._number), event, where, run))

    def _schedule_loss(self, now: float, machine: int) -> None:
        if rate := self._cluster.interruptions * self._cluster.gang:
            self._schedule(now + self._random.expovariate(rate / 3600), "loss", machine)
