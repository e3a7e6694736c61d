"""The share of a GPU that a trial needs (`resources.gpus: auto`), by the memory that like trials in a store have used.

A trial needs the memory of like trials (see `bench.costs.estimate`), corrected for the number of training images, which are in
the GPU's memory too. A cluster may have several kinds of GPUs: the share suffices on each that has been measured.
"""

import json
import math
from dataclasses import replace

from bench.costs.work import alike
from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import trial_of
from trainers.config.trial import TrialConfig

#: Factor on the used memory for what the allocator wastes, and the memory of a process itself, MiB.
MARGIN, PROCESS = 1.25, 768.0

#: Most trials that share a GPU; `python -m tests.benchmarks.training --packed` measures no more.
MOST = 8


def share_gpus(plan: Plan, store: Store | None) -> Plan:
    """Return a plan with `resources.gpus: auto` replaced by the smallest share that the trials' memory allows.

    If no like trial has been measured on a GPU, each trial has a whole one. A note says which. Other plans are returned as
    they are.
    """
    resources = plan.spec.resources
    if not resources.auto:
        return plan
    fits = None if store is None else _fits(plan, store)
    gpus = 1 / fits if fits else 1.0
    why = f"{fits} fit on one by the memory that like trials used" if fits else "no like trial has been measured on one"
    spec = plan.spec.model_copy(update={"resources": resources.model_copy(update={"gpus": gpus, "auto": False})})
    return replace(plan, spec=spec, notes=(*plan.notes, f"resources.gpus is auto: {gpus:g} of a GPU per trial, {why}"))


def _fits(plan: Plan, store: Store) -> int | None:
    """Return how many of a plan's trials fit on the smallest measured GPU, at least 1; None if that is unknown."""
    machines = {
        row["environment"]: json.loads(row["details"])
        for row in store.rows("environments").select(["environment", "details"]).to_pylist()
    }
    total = {key: details["memory_mib"] for key, details in machines.items() if "memory_mib" in details}
    used: dict[str, float] = {}
    smallest = math.inf
    for row in store.rows("trials").select(["environment", "peak_memory_mib", "config"]).to_pylist():
        if row["environment"] not in total or row["peak_memory_mib"] is None or (trial := trial_of(row["config"])) is None:
            continue
        kind = alike(trial)
        used[kind] = max(used.get(kind, 0.0), row["peak_memory_mib"] - _image_memory(trial))
        smallest = min(smallest, total[row["environment"]])
    trials = [trial for trial in plan.trials if not trial.imported]
    if not trials or any(alike(trial) not in used for trial in trials):
        return None
    need = max(used[alike(trial)] + _image_memory(trial) for trial in trials) * MARGIN + PROCESS
    return max(1, min(MOST, int(smallest / need)))


def _image_memory(trial: TrialConfig) -> float:
    """Return the memory of a trial's training images, MiB."""
    return trial.size * 3 * trial.gan.resolution**2 / 2**20
