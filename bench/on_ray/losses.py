"""Whether the machine of a trial is gone, by what Ray writes of the trial's process and knows of its node."""

import re

import ray
from ray._private import state

#: The beginning of Ray's error for a process that ended or does not answer. An exception raised in it begins otherwise.
_GONE = re.compile(
    r"(?:Failure # \d+ \(occurred at [^)]*\)\n)?"  # Tune's header
    r"(?:The actor died unexpectedly before finishing this task\.|The actor (?P<silent>[0-9a-f]+) is unavailable: )"
)

#: The process's id in the first of these errors.
_ID = re.compile(r"^\s*actor_id: ([0-9a-f]+)$", re.MULTILINE)


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
