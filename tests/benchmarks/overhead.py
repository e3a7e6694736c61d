"""Overhead of the harness per trial, including store writes, compared with a plain grid search of Ray Tune.

Both alternate on the same Ray cluster with trials that take no time: the harness with everything that it does for a real trial
(claims, measurements, checkpoints, outcomes, dependencies), and a `tune.Tuner` that reuses its processes and logs nothing.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, RunConfig, TuneConfig

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray import tuner
from bench.on_ray.cluster import cluster
from bench.on_ray.trainable import report
from bench.store import Store, open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.sweeps.spec import ResourcesConfig, SweepSpec
from bench.upkeep.repair import reopen
from bench.worker.trial import train

#: Seeds of a cell, and trials of a cell: scratch and two sources for each seed.
SEEDS = 8
CELL = 3 * SEEDS

#: Targets, and the greatest number of sizes per target.
TARGETS, SIZES = ("digits", "numerals", "textures", "letters", "shapes"), 900


def trivial_plan(trials: int, steps: int = 1, rule: str = "none") -> Plan:
    """Return a plan of about `trials` adapt trials of `steps` steps, in cells of `CELL`, and of two sources."""
    cells = -(-trials // CELL)
    targets = -(-cells // SIZES)
    spec = {
        "name": "overhead",
        "sources": ["letters", "shapes"],
        "targets": TARGETS[:targets],
        "sizes": list(range(1, 1 + -(-cells // targets))),
        "strategies": ["scratch", "finetune"],
        "seeds": list(range(SEEDS)),
        "gan": {"resolution": 8, "width": 4, "latent": 16},
        "training": {"steps": steps},
        "pretrain": {"steps": 1},
        "evaluation": {"first_rung": 1},
        "stopping": {"rule": rule},
    }
    return make_plan(SweepSpec.model_validate(spec))


def trivial_run(trial: Any, *, resume: Any = None, **others: Any) -> Iterator[Any]:
    """Replace `trainers.trial.run.run`: yield the same rungs immediately, with values derived from the trial's key."""
    import torch

    from trainers.evaluation.evaluator import Measurement
    from trainers.trial import checkpoints
    from trainers.trial.rung import Rung

    for step in (0, *trial.rungs):
        if resume is not None and step <= resume.step:
            continue
        value = 1 + int(hashlib.sha256(f"{trial.key} {step}".encode()).hexdigest()[:8], 16) / 2**32
        finished = step == trial.rungs[-1]
        rung = Rung(
            step=step, measurements=(Measurement("fid", value, None, 64),), view=trial.evaluation.view, checkpoint=None,
            samples=None, images_seen=step, seconds=0.0, evaluation_seconds=0.0, images_per_second=None, peak_memory_mib=0.0,
            finished=finished,
        )  # fmt: skip
        tensors = {"generator.weight": torch.zeros(1)} if finished else {"random": torch.zeros(1)}
        yield replace(rung, checkpoint=checkpoints.pack(tensors, trial, step, {}, rung.report))


def trivial_on_ray(config: Mapping[str, Any]) -> None:
    """Run a trivial trial in a Ray process; it uses the store as a real trial does."""
    report(train(config, run=trivial_run))


def plain_on_ray(config: Mapping[str, Any]) -> None:
    """Report once, like a trivial trial with one rung."""
    tune.report({"fid": 1.0, "steps": 1})


def per_trial(ends: list[float]) -> float:
    """Return the seconds per trial, from the end times without the first quarter, during which processes start."""
    counted = sorted(ends)[len(ends) // 4 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


class _Ends(Callback):
    """Records the end times of trials."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.times.append(time.perf_counter())


def plain(trials: int) -> float:
    """Return the seconds per trial of a plain grid search; requires a running Ray."""
    ends = _Ends()
    with tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(plain_on_ray, {"CPU": 1}),
            param_space={"key": tune.grid_search(list(range(trials)))},
            tune_config=TuneConfig(reuse_actors=True),
            run_config=RunConfig(storage_path=scratch, callbacks=[ends], verbose=0),
        ).fit()
    return per_trial(ends.times)


def run_timed(
    plan: Plan, store: Store, trainable: Callable[[Mapping[str, Any]], None]
) -> tuple[Ledger, list[tuple[float, str]]]:
    """Run the trials of a plan that a store lacks, as `run_sweep` does; requires a running Ray.

    Returns:
        the ledger, and for each rung or end, ascending, the seconds until the driver has processed it and the trial's key.
    """
    store.write_sweep(plan.spec.name, record(plan))
    ledger = Ledger.open(plan, store)
    for _ in reopen(plan, ledger, store):
        pass
    events: list[tuple[float, str]] = []
    began = time.perf_counter()
    driver = Driver(ledger, store, lambda key, result: events.append((time.perf_counter() - began, key)))
    driver.settle()
    if ledger.is_open():
        tuner.run_trials(driver, trainable)
    return ledger, events


def harness(trials: int) -> float:
    """Return the seconds per trial of a sweep of trivial trials with all outcomes stored; requires a running Ray."""
    plan = trivial_plan(trials)
    with tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        store = open_store(str(Path(scratch) / "store"), create=True)
        ledger, events = run_timed(plan, store, trivial_on_ray)
        assert ledger.ended == len(store.read("trials")) == len(plan.trials)
        assert ledger.count("done", "stopped") == ledger.ended
    return per_trial([at for at, _ in events])


def overhead(sizes: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per number of trials: the median milliseconds per trial of both, and their ratio."""
    smallest = None
    with cluster(ResourcesConfig()):
        for trials in sizes:
            turns = [(plain(trials), harness(trials)) for _ in range(rounds)]
            plain_ms, harness_ms = (1000 * statistics.median(seconds) for seconds in zip(*turns, strict=True))
            smallest = smallest or harness_ms
            yield {
                "trials": trials,
                "plain_ms": plain_ms,
                "harness_ms": harness_ms,
                "times_plain": harness_ms / plain_ms,
                "growth": harness_ms / smallest,
            }


def planning(trials: int, rounds: int) -> dict[str, Any]:
    """Return the number of trials in a plan of about `trials`, and the median seconds to make it."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        plan = trivial_plan(trials)
        assert len(plan.by_key) == sum(map(len, plan.cells.values())) + len(plan.of_kind("pretrain"))
        seconds.append(time.perf_counter() - began)
    return {"trials": len(plan.trials), "seconds": statistics.median(seconds)}
