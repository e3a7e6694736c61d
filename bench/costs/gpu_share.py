"""How much of a GPU one trial needs (`resources.gpus: auto`): by the memory that like trials in a store have taken.

What a trial takes beside its training images is that of like trials (see `bench.estimate`); the images lie in the GPU's memory
too. GPUs of several kinds may be in one cluster: the share is enough on each that has been measured.
"""

import json
import math
from dataclasses import replace

from bench.costs.estimate import alike
from bench.costs.measured import trial_of
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.config.trial import TrialConfig

#: Of the memory: what the allocator may waste on top of what is used, and what a process takes for itself, MiB.
MARGIN, PROCESS = 1.25, 768.0

#: So many trials at most share a GPU; `python -m tests.benchmarks.training --packed` tells of no more.
MOST = 8


def share_gpus(plan: Plan, store: Store | None) -> Plan:
    """Return a plan whose trials share GPUs as closely as their memory allows; as it is unless its `resources.gpus` is "auto".

    Where nothing like its trials has been measured on a GPU, each has a whole one. A note says which.
    """
    resources = plan.spec.resources
    if not resources.auto:
        return plan
    fits = None if store is None else _fits(plan, store)
    gpus = 1 / fits if fits else 1.0
    why = f"{fits} fit on one by the memory that like trials took" if fits else "no like trial has been measured on one"
    spec = plan.spec.model_copy(update={"resources": resources.model_copy(update={"gpus": gpus, "auto": False})})
    return replace(plan, spec=spec, notes=(*plan.notes, f"resources.gpus is auto: {gpus:g} of a GPU for a trial, {why}"))


def _fits(plan: Plan, store: Store) -> int | None:
    """Return how many of a plan's trials fit on one of the measured GPUs, 1 at the least; None where that is unknown."""
    rows, machines = store.read("trials"), store.read("environments")
    total = {
        key: details["memory_mib"]
        for key, details in zip(machines["environment"], map(json.loads, machines["details"]), strict=True)
        if "memory_mib" in details
    }
    own: dict[str, float] = {}
    smallest = math.inf
    for row in rows[rows["environment"].isin(total.keys()) & rows["peak_memory_mib"].notna()].to_dict("records"):
        trial = trial_of(row["config"])
        if trial is None:
            continue
        kind = alike(trial)
        own[kind] = max(own.get(kind, 0.0), row["peak_memory_mib"] - _images(trial))
        smallest = min(smallest, total[row["environment"]])
    trials = [trial for trial in plan.trials if not trial.imported]
    if not trials or any(alike(trial) not in own for trial in trials):
        return None
    need = max(own[alike(trial)] + _images(trial) for trial in trials) * MARGIN + PROCESS
    return max(1, min(MOST, int(smallest / need)))


def _images(trial: TrialConfig) -> float:
    """Return what a trial's training images take, MiB."""
    return trial.size * 3 * trial.gan.resolution**2 / 2**20
