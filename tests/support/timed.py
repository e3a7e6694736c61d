"""Stores whose trials take what a formula says, written without training."""

import json
from typing import Any

from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row, record
from trainers.config.trial import TrialConfig

#: Seconds of a set-up, a step, an evaluation, and more of the last one.
TRUTH = (3.0, 0.5, 2.0, 4.0)


def seconds(trial: TrialConfig, step: int, truth: tuple[float, ...] = TRUTH) -> float:
    """Return what a trial has taken by a step."""
    setup, each, evaluation, last = truth
    passed = sum(rung <= step for rung in trial.rungs)
    return setup + each * step + evaluation * passed + last * (step == trial.training.steps)


def write(
    store: Store, plan: Plan, *, device: str = "cpu", factor: Any = lambda trial: 1.0, ended: bool = True,
    memory: float | None = None, peak: Any = lambda trial: None,
) -> None:  # fmt: skip
    """Write a store's rows of trials that take what the truth says.

    Args:
        store: an empty one, or one with other trials.
        plan: all of its trials are written.
        device: where they ran: a GPU's name, or "cpu".
        factor: how many times as long a trial took.
        ended: whether they came to their ends, or to the rungs before.
        memory: of the device, MiB.
        peak: what a trial took of it at most, MiB.
    """
    details = json.dumps({"device": device, "processor": "a processor", **({"memory_mib": memory} if memory else {})})
    store.append("environments", "sweep", [{"environment": device, "details": details}])
    store.write_sweep(plan.spec.name, record(plan))
    for trial in plan.trials:
        rungs = (0, *trial.rungs) if ended else (0, *trial.rungs)[:-1]
        rows = [{"trial": trial.key, "step": step, "metric": metric, "embedding": "builtin:0", "value": 1.0,
                 "seconds": factor(trial) * seconds(trial, step)} for step in rungs for metric in ("fid", "kid")]  # fmt: skip
        store.append("measurements", plan.spec.name, rows)
        if ended:
            took = factor(trial) * seconds(trial, rungs[-1])
            row = outcome_row(trial, "done", device, {"steps": rungs[-1], "seconds": took, "peak_memory_mib": peak(trial)})
            store.append("trials", plan.spec.name, [row])
