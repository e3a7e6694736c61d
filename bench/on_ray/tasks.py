"""Tasks that Ray runs in parallel, and the reason of a failure in a few lines."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from bench.sweeps.spec import ResourcesConfig
from bench.worker.watchdog import watched

#: What stands in the errors of trials that wanted more memory than there was: PyTorch's on a GPU and on a CPU, Python's, Ray's.
OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "can't allocate memory", "MemoryError", "memory running low")


#: What stands in Ray's error when a process has gone without one of its own.
GONE = ("died unexpectedly", "Worker unexpectedly exits", "actor is dead because its worker process has died")


def map_tasks(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], resources: ResourcesConfig
) -> Iterator[tuple[int, str | None]]:
    """Call `function(*arguments)` for each tuple of arguments, as Ray tasks on CPUs.

    A task whose process is lost, or gives no sign of life for `resources.stall_minutes`, is tried again as often as a trial is.

    Yields:
        which of the arguments has ended, and why it failed or None; in the order in which they end.
    """

    def call(*own: Any) -> None:
        with watched(resources.stall_minutes):
            function(*own)

    remote = ray.remote(num_cpus=resources.cpus, max_retries=resources.retries)(call)
    waiting = {remote.remote(*each): i for i, each in enumerate(arguments)}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        error = None
        try:
            ray.get(ready)
        except ray.exceptions.RayError as failure:
            error = reason(str(failure), resources.stall_minutes).splitlines()[-1]
        yield waiting.pop(ready), error


def reason(error: str, stall_minutes: float, lines: int = 3, limit: int = 1000) -> str:
    """Return why a trial failed, from the text of its error: the end of it, and what it means where that is known.

    Where Ray wraps another process's traceback, the end is the error itself.
    """
    stripped = [line.strip() for line in error.splitlines() if line.strip()]
    end = "\n".join(stripped[-lines:])[-limit:] or "its process ended without an error message"
    if any(words in error for words in OUT_OF_MEMORY):
        return f"out of memory; lower training.batch, or give a trial more (resources.cpus, resources.gpus)\n{end}"
    if any(words in error for words in GONE):
        return f"{end}\nits process was killed, or ended itself after {stall_minutes:g} minutes without progress"
    return end
