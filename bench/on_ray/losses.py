"""Whether a trial's machine is gone or its memory was full, by what Ray writes of the trial's process and knows of its node.

Ray's memory monitor ends the newest processes of a machine whose memory is nearly full. Ray Tune 2.60 does not know its error,
and would end the whole run with it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import state
from ray.air.execution._internal import RayActorManager

#: The beginning of Ray's error for a process that ended or does not answer. An exception raised in it begins otherwise.
_GONE = re.compile(
    r"(?:Failure # \d+ \(occurred at [^)]*\)\n)?"  # Tune's header
    r"(?:The actor died unexpectedly before finishing this task\.|The actor (?P<silent>[0-9a-f]+) is unavailable: )"
)

#: The process's id in the first of these errors.
_ID = re.compile(r"^\s*actor_id: ([0-9a-f]+)$", re.MULTILINE)

#: The monitor's words.
_MONITOR = re.compile(
    r"killed due to the node running low on memory\. "
    r"Memory on the node \(IP: ([^,]+), ID: \w+\) was ([\d.]+)GB used / ([\d.]+)GB limit"
)


@contextmanager
def memory_monitor_known() -> Iterator[None]:
    """Let Ray Tune take a process that the memory monitor has ended for one that has died, in the block."""
    original = RayActorManager._actor_task_failed

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task, exception)

    setattr(RayActorManager, original.__name__, failed)
    try:
        yield
    finally:
        setattr(RayActorManager, original.__name__, original)


def full_machine(error: str) -> tuple[str, str, str] | None:
    """Return the address of the machine whose memory was full when Ray ended a process there, and the used GB and all it has.

    None if that is not what an error's text says.
    """
    match = _MONITOR.search(error)
    return None if match is None else (match[1], match[2], match[3])


def lost_machine(error: str) -> str | None:
    """Return what became of the machine of a trial if that is why it failed; None if the trial itself failed.

    The machine is lost if Ray has declared its node dead, if the node is draining because it will be taken back, or if neither
    the process nor the node answers, before Ray declares the node dead. A process that was killed on a living node, e.g. for
    lack of memory, has failed: its node reports that within a second.

    Args:
        error: the text that Ray Tune wrote of the trial's error.
    """
    match = _GONE.match(error)
    if match is None:
        return None
    identity = match["silent"] or next(iter(_ID.findall(error)), None)
    actor = state.actors(identity) if identity else None
    if not actor:
        return None
    address, died = actor["Address"], actor["DeathCause"].actor_died_error_context
    node = {node["NodeID"]: node for node in ray.nodes()}.get(address["NodeID"])  # type: ignore[no-untyped-call]
    where = f"the machine {address['IPAddress']}"
    if node is not None and not node["Alive"]:
        return f"{where} is gone: {node['DeathReasonMessage'] or 'no reason is known'}"
    if address["NodeID"] in state.state.get_draining_nodes():
        return f"{where} is being taken back"
    if died.reason == died.NODE_DIED:
        return f"{where} is gone"
    return f"{where} does not answer" if match["silent"] and died.reason != died.WORKER_DIED else None
