"""Sweeps of trials that take no time, and do everything else that a trial does: claims, measurements, checkpoints, outcomes."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray import tuner
from bench.on_ray.trainable import report
from bench.store import Store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.sweeps.spec import SweepSpec
from bench.upkeep import small_parts
from bench.upkeep.repair import reopen
from bench.worker.trial import train

#: Seeds of a cell, and trials of a cell: scratch and two sources for each seed.
SEEDS = 8
CELL = 3 * SEEDS

#: Targets, and the greatest number of sizes per target.
TARGETS, SIZES = ("digits", "numerals", "textures", "letters", "shapes"), 900


def trivial_plan(trials: int, steps: int = 1, rule: str = "none") -> Plan:
    """Return a plan of about `trials` adapt trials of `steps` steps, in cells of `CELL`, and of two sources."""
    return make_plan(SweepSpec.model_validate(trivial_spec(trials, steps, rule)))


def trivial_spec(trials: int, steps: int = 1, rule: str = "none") -> dict[str, Any]:
    """Return the sweep file of `trivial_plan`."""
    cells = -(-trials // CELL)
    targets = -(-cells // SIZES)
    return {
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


def per_trial(ends: list[float]) -> float:
    """Return the seconds per trial, from the end times without the first quarter, during which processes start."""
    counted = sorted(ends)[len(ends) // 4 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


def run_timed(
    plan: Plan, store: Store, trainable: Callable[[Mapping[str, Any]], None], note: Callable[[], None] = lambda: None
) -> tuple[Ledger, list[tuple[float, str]]]:
    """Run the trials of a plan that a store lacks, as `run_sweep` does; requires a running Ray.

    `note` is called at each rung or end that the driver has processed.

    Returns:
        the ledger, and for each rung or end, ascending, the seconds until the driver has processed it and the trial's key.
    """
    store.write_sweep(plan.spec.name, record(plan))
    ledger = Ledger.open(plan, store)
    for _ in reopen(plan, ledger, store):
        pass
    events: list[tuple[float, str]] = []
    began = time.perf_counter()

    def listen(key: str, result: Mapping[str, Any] | None) -> None:
        events.append((time.perf_counter() - began, key))
        note()

    driver = Driver(ledger, store, listen)
    driver.settle()
    if ledger.is_open():
        with small_parts.merging(store, plan.spec.name):
            tuner.run_trials(driver, trainable)
    return ledger, events
