"""Slots of a cluster: how many trials run at a time, on the machines that are up and on those that may still come."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray._private import state

from bench.sweeps.spec import ResourcesConfig
from trainers.common.counts import counted

#: Custom resources of the head of a cluster that grows: the number of machines that may come, and the cores and GPUs of one.
MAX_WORKERS, WORKER_CPUS, WORKER_GPUS = "max_workers", "worker_cpus", "worker_gpus"

#: The resources of each machine of a cluster by their names in Ray.
Machines = Sequence[Mapping[str, float]]


def bundle(needed: ResourcesConfig) -> dict[str, float]:
    """Return what Ray reserves for a trial."""
    return {"CPU": needed.cpus, **({"GPU": needed.gpus} if needed.gpus else {})}


class Rooms:
    """How many slots of one machine each trial takes: one, and twice as many each time that the machine's memory was full.

    Fewer processes then run beside it. It uses the CPU cores of one slot, because the last bits of its results depend on them.
    """

    def __init__(self, needed: ResourcesConfig) -> None:
        self._needed = needed
        self._slots: dict[str, int] = {}

    def __getitem__(self, key: str) -> int:
        """Return the slots of the next attempt of a trial, at most those of the largest machine that is up."""
        if key not in self._slots:
            return 1
        largest = max((slots_of(machine, self._needed) for machine in alive()), default=1)
        return max(1, min(self._slots[key], largest))

    def widen(self, key: str) -> None:
        """Let the next attempt of a trial take twice as many slots."""
        self._slots[key] = 2 * self[key]

    def reserve(self, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """Return what Ray reserves for a trial, given the argument of its function, whose "room" is its number of slots."""
        return tune.PlacementGroupFactory([bundle(self._needed)] * config["room"], strategy="STRICT_PACK")


def alive() -> Machines:
    """Return the resources of each machine that is up, without those that will be taken back."""
    draining = state.state.get_draining_nodes()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    return [node["Resources"] for node in nodes if node["Alive"] and node["NodeID"] not in draining]


def slots(machines: Machines, needed: ResourcesConfig) -> int:
    """Return how many trials can run at a time, at least 1, on machines that are up and those that their head says may come.

    A machine that may still come has the cores and GPUs that the head says, else those of the largest machine that is up, else
    room for one trial.
    """
    here = [slots_of(machine, needed) for machine in machines]
    head = next((machine for machine in machines if MAX_WORKERS in machine), None)
    if head is None:
        return max(1, sum(here))
    to_come = max(0, int(head[MAX_WORKERS]) - sum(MAX_WORKERS not in machine for machine in machines))
    one = declared(machines)
    return max(1, sum(here) + to_come * (max(1, *here) if one is None else slots_of(one, needed)))


def waiting_for(machines: Machines, needed: ResourcesConfig) -> str:
    """Return in one line what trials wait for, and which machines there are."""
    machines = [machine for machine in machines if machine.get("CPU")]
    up = ", ".join(sorted(cpus_and_gpus(machine["CPU"], machine.get("GPU", 0)) for machine in machines)[:3]) or "none"
    more = f" and {len(machines) - 3} more" if len(machines) > 3 else ""
    return (
        f"no trial runs: each waits for {cpus_and_gpus(needed.cpus, needed.gpus)} that are free on one machine; "
        f"machines that are up: {up}{more}"
    )


def cpus_and_gpus(cpus: float, gpus: float) -> str:
    """Return the resources of a trial or a machine in words."""
    return f"{counted(float(cpus), 'CPU')} and {counted(float(gpus), 'GPU')}"


def declared(machines: Machines) -> dict[str, float] | None:
    """Return the resources of a machine that may still come, as the head says; None if it does not."""
    for machine in machines:
        if WORKER_CPUS in machine:
            return {"CPU": machine[WORKER_CPUS], "GPU": machine.get(WORKER_GPUS, 0)}
    return None


def slots_of(machine: Mapping[str, float], needed: ResourcesConfig) -> int:
    """Return how many trials fit on a machine at a time. A share of a GPU is a share of one: it never extends over two."""
    cpus, gpus = machine.get("CPU", 0) // needed.cpus, machine.get("GPU", 0)
    if not needed.gpus:
        return int(cpus)
    per_gpu = math.floor(1 / needed.gpus + 1e-6) if needed.gpus < 1 else 1 / needed.gpus  # 1 / (1/3) may be less than 3
    return int(min(cpus, math.floor(gpus * per_gpu + 1e-6)))
