"""Slots of a cluster: how many trials run at a time, on the machines that are up and on those that may still come."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray._private import state

from bench.sweeps.spec import ResourcesConfig
from trainers.common.counts import counted

#: Custom resources of the head of a cluster that grows: the number of machines that may come, and the cores and GPUs of one.
MAX_WORKERS, WORKER_CPUS, WORKER_GPUS = "max_workers", "worker_cpus", "worker_gpus"

#: Seconds between two looks at the machines for trials that take several slots.
LOOK = 1.0

#: The resources of each machine of a cluster by their names in Ray.
Machines = Sequence[Mapping[str, float]]


def bundle(needed: ResourcesConfig) -> dict[str, float]:
    """Return what Ray reserves for a trial."""
    return {"CPU": needed.cpus, **({"GPU": needed.gpus} if needed.gpus else {})}


class Rooms:
    """How many slots of one machine each trial takes: one, and twice as many each time that the machine's memory was full.

    Fewer processes then run beside it. It uses the CPU cores of one slot, because the last bits of its results depend on them.

    Attributes:
        taken: the slots of each trial that was widened, in its present attempt or else in its next one.
    """

    def __init__(self, needed: ResourcesConfig) -> None:
        self.taken: dict[str, int] = {}
        self._needed = needed
        self._wanted: dict[str, int] = {}
        self._most, self._looked = 0, -math.inf

    def take(self, key: str) -> int:
        """Return the slots of the next attempt of a trial, at most those of the largest machine that is up or may come."""
        if key in self._wanted:
            self.taken[key] = min(self._wanted[key], self._largest() or self._wanted[key])
        return self.taken.get(key, 1)

    def widen(self, key: str) -> None:
        """Let the next attempt of a trial, of which one has ended, take twice as many slots."""
        # One that took fewer than it was to have, for lack of a machine, is to have no fewer for it.
        self._wanted[key] = max(self._wanted.get(key, 1), 2 * self.taken.get(key, 1))
        self.take(key)

    def may_get(self, taken: int) -> bool:
        """Return whether a machine that is up or may come has as many slots, or none of them is known; cheap to call."""
        return taken <= (self._largest() or taken)

    def narrowed(self, key: str, taken: int) -> str:
        """Return why a trial that waits for more slots than any machine has no longer waits for them."""
        return f"no machine has the {taken} slots that it waits for, so it takes {self.take(key)}"

    def reserve(self, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """Return what Ray reserves for a trial, given the argument of its function, whose "room" is its number of slots."""
        return tune.PlacementGroupFactory([bundle(self._needed)] * config["room"], strategy="STRICT_PACK")

    def _largest(self) -> int:
        if time.monotonic() - self._looked >= LOOK:
            self._most, self._looked = largest(alive(), self._needed), time.monotonic()
        return self._most


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
    one = declared(machines)
    return max(1, sum(here) + to_come(machines) * (max([1, *here]) if one is None else slots_of(one, needed)))


def largest(machines: Machines, needed: ResourcesConfig) -> int:
    """Return the slots of the largest machine that is up or, as far as the head says, may still come; 0 if none has any."""
    one = declared(machines) if to_come(machines) else None
    return max((slots_of(machine, needed) for machine in [*machines, *([] if one is None else [one])]), default=0)


def to_come(machines: Machines) -> int:
    """Return how many machines may still come, as the head says."""
    head = next((machine for machine in machines if MAX_WORKERS in machine), None)
    return 0 if head is None else max(0, int(head[MAX_WORKERS]) - sum(MAX_WORKERS not in machine for machine in machines))


def waiting_for(machines: Machines, needed: ResourcesConfig, taken: Collection[int]) -> str:
    """Return in one line what trials wait for, and which machines there are.

    `taken` has the number of slots that each of them takes. If one takes several, the line says what can be done.
    """
    machines = [machine for machine in machines if machine.get("CPU")]
    up = ", ".join(sorted(cpus_and_gpus(machine["CPU"], machine.get("GPU", 0)) for machine in machines)[:3]) or "none"
    more = f" and {len(machines) - 3} more" if len(machines) > 3 else ""
    wanted = " or ".join(
        cpus_and_gpus(n * needed.cpus, n * needed.gpus) + (f" ({n} slots, as a machine's memory was full)" if n > 1 else "")
        for n in sorted({*taken})
    )
    remedy = "; start such a machine, or interrupt the run and repeat it: each trial takes one slot again"
    return (
        f"no trial runs: each waits for {wanted} that are free on one machine; "
        f"machines that are up: {up}{more}{remedy if max(taken) > 1 else ''}"
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
