"""Time and cost of a sweep on many GPUs, by a discrete-event simulation of its plan. A pure function without Ray and torch.

The driver of a real run decides which trials start, wait, stop, are retried or are blocked; only time is simulated. A trial
takes the estimated seconds: its set-up, then a leg up to each rung; it leaves a checkpoint there and at intervals between. Spot
machines are lost by a Poisson process on each GPU, and with them the work since the last checkpoint of all trials there. A loss
is no failure of a trial: no retry is counted.
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
from bench.driver.limit import Limit
from bench.driver.loop import Driver
from bench.driver.results import of_evaluation
from bench.driver.retries import Retries
from bench.store import Store
from bench.store.schema import FINISHED, by_step
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError

#: By how much drawn values fall from rung to rung: much more than their noise.
FALL = 10.0

#: Most attempts at one leg, on average, that are simulated; a sweep with more would hardly ever end.
ATTEMPTS = 1000

#: A value of the stopping metric by trial key and rung.
Values = Mapping[str, Mapping[int, float]]


class Schedule(StrEnum):
    """How the work of a sweep is reduced and ordered."""

    NAIVE = "naive"
    """Each grid point pre-trains its own source, duplicates run again, and no trial stops early."""
    BARRIER = "barrier"
    """Sources are pre-trained once and duplicates collapse; adaptations wait for all sources and run to their budgets."""
    OURS = "ours"
    """An adaptation waits only for its own source, and poor trials stop by the sweep's rules."""


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
        plan, estimates: the sweep, and the estimate of each of its trials.
        cluster: the GPUs.
        values: values of the stopping metric, see `stopping_values`; not needed without stopping. The diversity of samples is
            not simulated, so no trial collapses.
        schedule: how the work is ordered.
        seed: seed of the interruptions.
    """
    work: Work
    if schedule is Schedule.NAIVE:
        work = _Grid(plan, estimates)
    else:
        work = _Sweep(plan, estimates, values, barrier=schedule is Schedule.BARRIER)
    return Simulation(work, cluster, seed, _checkpoint_seconds(plan)).run()


def _checkpoint_seconds(plan: Plan) -> float:
    return 60 * plan.spec.resources.checkpoint_minutes


def stopping_values(plan: Plan, store: Store | None = None, seed: int = 0) -> Values:
    """Return the values of the stopping metric for every adaptation: as measured, else drawn at random.

    A drawn value is the sum of two standard normal merits, of the strategy and of the source in the cell, which are the same at
    every rung, and of normal noise with standard deviation 0.2. So a rule keeps its share of the methods, whichever these are.
    From rung to rung all drawn values fall by `FALL`, so that no trial ceases to improve. Measured values are used only of
    cells of which every trial has ended in the store.
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
            values[key] = {rung: merit + noise.gauss(0, 0.2) - FALL * i for i, rung in enumerate(trial.rungs)}
    return values


def _measured(plan: Plan, store: Store) -> dict[str, dict[int, float]]:
    """Return the stopping metric by trial and rung for the trials that have ended, up to their ends."""
    ended = {row["key"] for row in store.rows("trials").select(["key", "status"]).to_pylist() if row["status"] in FINISHED}
    measured = of_evaluation(store.rows("measurements"), plan.spec.evaluation)
    values = by_step(measured, plan.spec.stopping.metric, ())
    return {key: values.get(key, {}) for key in plan.by_key if key in ended}


def compare(
    plan: Plan,
    estimates: Mapping[str, Estimate],
    values: Values,
    gpus: Sequence[int],
    interruptions: float = 0.0,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Yield a row per number of GPUs and schedule, in this order; `interruptions` are per GPU-hour, the rest as in `simulate`.

    Raises:
        UserError: a trial takes more GPUs than the cluster has, or it would hardly ever get from one rung to the next.
    """
    share = plan.spec.resources.gpus or 1.0  # a CPU machine's slots stand for GPUs
    legs = (max(estimates[trial.key].rung_seconds) for trial in plan.trials if not trial.imported)
    longest = min(max(legs, default=0.0), _checkpoint_seconds(plan)) / 3600
    for number in gpus:
        if number < share:
            raise UserError(f"--gpus {number}: a trial takes {share:g} (resources.gpus); simulate at least that many")
        cluster = Cluster(number, share, interruptions)
        if (losses := longest * interruptions * cluster.gang) > math.log(ATTEMPTS):
            raise UserError(
                f"--interruptions {interruptions:g}: the longest way between two checkpoints takes {longest:,.1f} hours, in "
                f"which a machine is lost {losses:,.0f} times; simulate a lower rate, or lower resources.checkpoint_minutes"
            )
        outcomes = {schedule: simulate(plan, estimates, cluster, values, schedule, seed) for schedule in Schedule}
        ours = outcomes[Schedule.OURS]
        for schedule, outcome in outcomes.items():
            yield {
                "gpus": number,
                "schedule": schedule.value,
                "makespan_hours": outcome.makespan / 3600,
                "idle": outcome.idle,
                "hours": hours(outcome.busy, plan.spec.resources),
                "times_ours": outcome.busy / ours.busy,
                "makespan_times_ours": outcome.makespan / ours.makespan,
                "interruptions": outcome.interruptions,
                "lost_hours": hours(outcome.lost, plan.spec.resources),
                **{status: outcome.ends.get(status, 0) for status in ("done", "stopped", "failed", "blocked")},
            }


def savings(plan: Plan, estimates: Mapping[str, Estimate], values: Values) -> dict[str, float]:
    """Return the hours (see `bench.costs.budget.hours`) of a sweep as savings are added one after the other."""
    share = plan.spec.resources.gpus or 1.0
    one = Cluster(math.ceil(share), share)
    naive, barrier, ours = (simulate(plan, estimates, one, values, schedule).busy for schedule in Schedule)
    seconds = {key: estimate.seconds() for key, estimate in estimates.items()}
    shared = sum(seconds[trial.key] for trial in plan.of_kind("pretrain")) + sum(seconds[key] for key in plan.grid)
    busy = {"naive": naive, "sources_once": shared, "collapsed": barrier, "stopped": ours}
    return {name: hours(total, plan.spec.resources) for name, total in busy.items()}


class _Grid:
    """A naive grid: a job for every grid point, which pre-trains its own source first."""

    def __init__(self, plan: Plan, estimates: Mapping[str, Estimate]) -> None:
        chains: dict[str | None, tuple[float, ...]] = {None: ()}
        for key, trial in plan.by_key.items():  # sources come before what starts from them
            legs = () if trial.imported else (estimates[key].setup_seconds, *estimates[key].rung_seconds)
            chains[key] = chains[trial.parent] + legs
        self.legs = {f"{key} {number}": chains[key] for number, key in enumerate(plan.grid)}
        self._waiting = deque(self.legs)
        self._retries = Retries(plan.spec.resources.retries)
        self._ends: Counter[str] = Counter()

    def take(self) -> str | None:
        return self._waiting.popleft() if self._waiting else None

    def advance(self, job: str, leg: int) -> bool:
        if leg + 1 < len(self.legs[job]):
            return True
        self._ends["done"] += 1
        return False

    def lose(self, job: str, leg: int, seconds: float) -> None:
        if self._retries.lose(job, leg, seconds) is None:
            self._ends["failed"] += 1
        else:
            self._waiting.appendleft(job)

    def is_open(self) -> bool:
        return self._ends.total() < len(self.legs)

    def ends(self) -> Mapping[str, int]:
        return dict(self._ends)


class _Barrier(Limit):
    """Allows no adaptation before all sources have ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sources = {trial.key for trial in ledger.plan.of_kind("pretrain")}

    def allows(self, key: str) -> bool:
        """Return whether a trial is a source, or all sources have ended."""
        return key in self._sources or all(self._ledger.status[source] in ENDED for source in self._sources)


class _Sweep:
    """A plan's trials, as the driver releases, pauses, promotes, retries and stops them."""

    def __init__(self, plan: Plan, estimates: Mapping[str, Estimate], values: Values, *, barrier: bool) -> None:
        if barrier:
            spec = plan.spec
            plan = replace(plan, spec=spec.model_copy(update={"stopping": spec.stopping.model_copy(update={"rule": "none"})}))
        self._values, self._metric = values, plan.spec.stopping.metric
        self._rungs = {key: trial.rungs for key, trial in plan.by_key.items()}
        self.legs = {key: (estimate.setup_seconds, *estimate.rung_seconds) for key, estimate in estimates.items()}
        ledger = Ledger.fresh(plan)
        # A lost trial is retried as soon as there is room: a back-off of seconds is negligible compared with a leg.
        self._driver = Driver(ledger, limit=_Barrier(ledger) if barrier else None, back_off=0.0, clock=lambda: 0.0)

    def take(self) -> str | None:
        key = self._driver.take()
        if key is not None:
            self._driver.start(key)
        return key

    def advance(self, job: str, leg: int) -> bool:
        if leg == 0:
            return True
        rung = self._rungs[job][leg - 1]
        status = "running" if leg < len(self._rungs[job]) else "done"
        value = self._values[job][rung] if job in self._values else math.inf
        return self._driver.rung(job, {"status": status, "steps": rung, self._metric: value}) == "running"

    def lose(self, job: str, leg: int, seconds: float) -> None:
        self._driver.lose(job, "a spot machine was taken back", seconds)

    def is_open(self) -> bool:
        return self._driver.ledger.is_open()

    def ends(self) -> Mapping[str, int]:
        return Counter(self._driver.ledger.status.values())
