"""What a sweep takes on many GPUs: a discrete-event simulation of its plan. A pure function; no Ray, no torch.

Who starts, waits, stops or is blocked is decided by the ledger and the stopping rule that decide it in a real run; only time is
made up. A trial takes the seconds that it is given: its set-up, then a leg up to each rung, where it leaves a checkpoint. Spot
machines are lost by a Poisson process on each GPU, and with them the work since the last checkpoint of all trials there.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from bench.costs.bill import drawn_merit
from bench.costs.budget import hours
from bench.costs.estimate import Estimate
from bench.costs.machines import Cluster, Outcome, Simulation, Work
from bench.driver.ledger import ENDED, Ledger
from bench.driver.stopping import Action
from bench.store import Store
from bench.store.schema import FINISHED, by_step
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError

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
    work: Work
    if schedule is Schedule.NAIVE:
        work = _Grid(plan, estimates)
    else:
        work = _Sweep(plan, estimates, values, barrier=schedule is Schedule.BARRIER)
    return Simulation(work, cluster, plan.spec.resources.retries, seed).run()


def stopping_values(plan: Plan, store: Store | None = None, seed: int = 0) -> Values:
    """Return what the stopping rule will see of every adaptation: as measured, else made up.

    Made up is an order of merit: a method's is its strategy's and its source's, both normally distributed and equally wide, and
    stays as it is from rung to rung, but for noise a fifth as wide; so a rule keeps its share, of whichever methods.

    Args:
        plan: the sweep.
        store: what has been measured; only cells of which every trial has ended there count.
        seed: of what is made up.
    """
    measured = {} if store is None else _measured(plan, store)
    values: dict[str, dict[int, float]] = {}
    for cell, keys in plan.cells.items():
        whole = all(key in measured for key in keys)
        for key in keys:
            trial = plan.by_key[key]
            if whole:
                values[key] = {rung: measured[key].get(rung, math.inf) for rung in trial.rungs}
                continue
            merit = drawn_merit((trial.strategy, trial.parent), f"{seed} {cell}")
            noise = random.Random(f"{seed} {key}")  # noqa: S311 - no secret
            values[key] = {rung: merit + noise.gauss(0, 0.2) for rung in trial.rungs}
    return values


def _measured(plan: Plan, store: Store) -> dict[str, dict[int, float]]:
    """Return the stopping metric by trial and rung, of trials that have ended; what lies beyond their ends is not there."""
    trials = store.read("trials")
    ended = set(trials["key"][trials["status"].isin(FINISHED)])
    values = by_step(store.read("measurements"), plan.spec.stopping.metric, ())
    return {key: values.get(key, {}) for key in plan.by_key if key in ended}


def compare(
    plan: Plan,
    estimates: Mapping[str, Estimate],
    values: Values,
    gpus: Sequence[int],
    interruptions: float = 0.0,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Yield a row per number of GPUs and schedule, in this order.

    Args:
        plan, estimates, values, seed: as in `simulate`.
        gpus: how many there are.
        interruptions: per GPU-hour.

    Raises:
        UserError: a trial takes more GPUs than there are.
    """
    share = plan.spec.resources.gpus or 1.0  # a CPU machine's slots stand for GPUs
    for number in gpus:
        if number < share:
            raise UserError(f"--gpus {number}: a trial takes {share:g} (resources.gpus); simulate as many or more")
        cluster = Cluster(number, share, interruptions)
        found = {each: simulate(plan, estimates, cluster, values, each, seed) for each in Schedule}
        for schedule, outcome in found.items():
            yield {
                "gpus": number,
                "schedule": schedule.value,
                "makespan_hours": outcome.makespan / 3600,
                "idle": outcome.idle,
                "hours": hours(outcome.busy, plan.spec.resources),
                "times_ours": outcome.busy / found[Schedule.OURS].busy,
                "makespan_times_ours": outcome.makespan / found[Schedule.OURS].makespan,
                "interruptions": outcome.interruptions,
                "lost_hours": hours(outcome.lost, plan.spec.resources),
                **{status: outcome.ends.get(status, 0) for status in ("done", "stopped", "failed", "blocked")},
            }


def savings(plan: Plan, estimates: Mapping[str, Estimate], values: Values) -> dict[str, float]:
    """Return the hours (see `bench.budget.hours`) that a sweep takes with each saving, one after the other."""
    share = plan.spec.resources.gpus or 1.0
    one = Cluster(math.ceil(share), share)
    naive, barrier, ours = (simulate(plan, estimates, one, values, each).busy for each in Schedule)
    seconds = {key: each.seconds() for key, each in estimates.items()}
    shared = sum(seconds[trial.key] for trial in plan.of_kind("pretrain")) + sum(seconds[key] for key in plan.grid)
    found = {"naive": naive, "sources_once": shared, "collapsed": barrier, "stopped": ours}
    return {name: hours(each, plan.spec.resources) for name, each in found.items()}


class _Grid:
    """A naive grid: a job for every grid point, which pre-trains its own source first."""

    def __init__(self, plan: Plan, estimates: Mapping[str, Estimate]) -> None:
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
        self._first = {trial.key for trial in plan.of_kind("pretrain")} if barrier else set()
        self.legs = {key: (each.setup_seconds, *each.rung_seconds) for key, each in estimates.items()}
        self._ledger = Ledger.fresh(plan)

    def take(self) -> str | None:
        ledger = self._ledger
        key = ledger.next_promoted() or ledger.next_ready()
        if key is None or (key not in self._first and any(ledger.status[each] not in ENDED for each in self._first)):
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
        ledger.settle()
        if ledger.status[job] == "paused" and ledger.verdict(job).action is Action.GO:
            ledger.start(job)
        return ledger.status[job] == "running"

    def lose(self, job: str, *, failed: bool) -> None:
        if failed:
            self._ledger.end(job, "failed", "interrupted too often")
            self._ledger.settle()
        else:
            self._ledger.reopen(job, self._ledger.last_rung(job))

    def is_open(self) -> bool:
        return self._ledger.is_open()

    def ends(self) -> Mapping[str, int]:
        return Counter(self._ledger.status.values())
