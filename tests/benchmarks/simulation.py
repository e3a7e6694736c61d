"""Accuracy of the simulated makespan: small sweeps are run on this machine, and simulated from the durations of their trials.

The sweep provides the seconds of each trial and the start-up time of its first process. The overhead of the harness per trial
and rung is measured before, on trials that take no time.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.costs.estimate import Estimate
from bench.costs.machines import Cluster, Overhead
from bench.costs.measured import measured
from bench.costs.simulation import simulate, stopping_values
from bench.on_ray.cluster import cluster
from bench.on_ray.trainable import train_on_ray
from bench.run.sweep import prepare_domains
from bench.store import Store, open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.spec import ResourcesConfig, SweepSpec
from tests.benchmarks.overhead.trivial import per_trial, run_timed, trivial_on_ray, trivial_plan

#: Trivial trials that measure the overhead of the harness, and the steps of those with many rungs.
TRIALS, STEPS = 24, 32

#: Settings that the sweeps share; a trial takes some seconds.
_COMMON: dict[str, Any] = {
    "sources": ["numerals", "shapes"],
    "targets": ["digits"],
    "sizes": [50, 500],
    "strategies": ["scratch", "finetune", "freeze-d"],
    "gan": {"resolution": 16, "width": 16},
    "training": {"steps": 48, "batch": 32, "critic_steps": 2},
    "pretrain": {"steps": 96},
    "evaluation": {"samples": 1000, "first_rung": 12},
    "stopping": {"protect_strategies": False},
}


@dataclass(frozen=True)
class Sweep:
    """A sweep, and the number of slots to run it on."""

    name: str
    slots: int
    changes: Mapping[str, Any]

    def plan(self) -> Plan:
        """Return the plan of the sweep."""
        return make_plan(SweepSpec.model_validate({**_COMMON, **self.changes, "name": self.name}))


#: Sweeps whose trials wait for a slot, for a source, for their cell, and for the links of a chain.
SWEEPS = (
    Sweep("grid", 1, {"stopping": {"rule": "none"}, "sizes": [50]}),
    Sweep("two-at-a-time", 2, {"stopping": {"rule": "none"}}),
    Sweep("halving", 2, {"seeds": [0, 1]}),
    Sweep("chain", 2, {"sources": ["letters -> numerals"], "stopping": {"rule": "none"}, "seeds": [0, 1]}),
)


def validate(sweeps: tuple[Sweep, ...] = SWEEPS) -> Iterator[dict[str, Any]]:
    """Run and simulate each sweep; yield one row for each, with both makespans in seconds and their ratio."""
    for sweep in sweeps:
        plan = sweep.plan()
        prepare_domains(plan, Console(quiet=True))
        with cluster(ResourcesConfig(), cpus=sweep.slots), tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
            overhead = harness(sweep.slots, Path(folder))
            store = open_store(str(Path(folder) / "store"), create=True)
            ledger, events = run_timed(plan, store, train_on_ray)
            takes = as_measured(plan, store)
            overhead = replace(overhead, startup_seconds=_startup(events[0], takes, overhead))
            simulated = simulate(plan, takes, Cluster(sweep.slots, overhead=overhead), stopping_values(plan, store))
            real = events[-1][0]
            ends = {status: ledger.count(status) for status in ("done", "stopped", "diverged", "failed", "blocked")}
            yield {
                "sweep": sweep.name,
                "slots": sweep.slots,
                "trials": len(plan.trials),
                "stopped": ends["stopped"],
                "real": real,
                "simulated": simulated.makespan,
                "ratio": simulated.makespan / real,
                "same_ends": all(simulated.ends[status] == number for status, number in ends.items()),
                "startup": overhead.startup_seconds,
                "start": overhead.start_seconds,
                "leg": overhead.leg_seconds,
            }


def harness(slots: int, folder: Path) -> Overhead:
    """Return the overhead per trial and leg, from trivial trials with one and with several rungs; requires a running Ray."""
    seconds, legs = [], []
    for name, steps in (("short", 1), ("long", STEPS)):
        plan = trivial_plan(TRIALS, steps)
        _, events = run_timed(plan, open_store(str(folder / name), create=True), trivial_on_ray)
        rungs = len(plan.trials[-1].rungs)
        seconds.append(slots * rungs * per_trial([at for at, _ in events]))  # one event per rung
        legs.append(1 + rungs)
    leg = max(0.0, (seconds[1] - seconds[0]) / (legs[1] - legs[0]))
    return Overhead(0.0, max(0.0, seconds[0] - legs[0] * leg), leg)


def _startup(first: tuple[float, str], takes: Mapping[str, Estimate], overhead: Overhead) -> float:
    """Return the seconds that the first process took to start, from the time of the first rung."""
    at, key = first
    return max(0.0, at - takes[key].seconds(rungs=1) - overhead.start_seconds - 2 * overhead.leg_seconds)


def as_measured(plan: Plan, store: Store) -> dict[str, Estimate]:
    """Return the measured durations of each trial of a sweep; a leg that it did not reach takes as long as its last."""
    estimates: dict[str, Estimate] = {}
    for timing in measured(store):
        legs = [seconds for *_, seconds in timing.legs]
        missing = len(timing.trial.rungs) - len(legs)
        estimates[timing.trial.key] = Estimate(timing.setup_seconds or 0.0, (*legs, *legs[-1:] * missing))
    return {key: estimates[key] for key in plan.by_key}
