"""Stores whose trials take the seconds of a formula, written without training."""

import json
from typing import Any

from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row, record
from trainers.config.trial import TrialConfig

#: Seconds of a set-up, a step, an evaluation, and additional seconds of the last evaluation.
TRUTH = (3.0, 0.5, 2.0, 4.0)


def seconds(trial: TrialConfig, step: int, truth: tuple[float, ...] = TRUTH) -> float:
    """Return the seconds of a trial up to a step."""
    setup, per_step, evaluation, last = truth
    passed = sum(rung <= step for rung in trial.rungs)
    return setup + per_step * step + evaluation * passed + last * (step == trial.training.steps)


def evaluation_seconds(trial: TrialConfig, step: int) -> float:
    """Return those seconds of a trial up to a step that are no training."""
    return seconds(trial, step) - TRUTH[1] * step


def write(
    store: Store, plan: Plan, *, device: str = "cpu", factor: Any = lambda trial: 1.0, ended: bool = True,
    memory: float | None = None, peak: Any = lambda trial: None,
) -> None:  # fmt: skip
    """Write the rows of trials that take the seconds of `TRUTH`.

    Args:
        store: the store; it may contain other trials.
        plan: the trials.
        device: name of the GPU that they ran on, or "cpu".
        factor: function of a trial that its seconds are multiplied by.
        ended: whether the trials reached their last rungs, or the rungs before.
        memory: memory of the device in MiB.
        peak: function of a trial that returns its peak memory in MiB.
    """
    details = json.dumps({"device": device, "processor": "a processor", **({"memory_mib": memory} if memory else {})})
    store.append("environments", "sweep", [{"environment": device, "details": details}])
    store.write_sweep(plan.spec.name, record(plan))
    for trial in plan.trials:
        rungs = (0, *trial.rungs) if ended else (0, *trial.rungs)[:-1]
        rows = [{"trial": trial.key, "step": step, "metric": metric, "embedding": "builtin:0", "value": 1.0,
                 "view": trial.evaluation.view, "version": "1",
                 "seconds": factor(trial) * seconds(trial, step)} for step in rungs for metric in ("fid", "kid")]  # fmt: skip
        store.append("measurements", plan.spec.name, rows)
        if ended:
            took = factor(trial) * seconds(trial, rungs[-1])
            evaluation = factor(trial) * evaluation_seconds(trial, rungs[-1])
            report = {"steps": rungs[-1], "seconds": took, "evaluation_seconds": evaluation, "peak_memory_mib": peak(trial)}
            row = outcome_row(trial, "done", device, report)
            store.append("trials", plan.spec.name, [row])
