"""Notice to leave: the process of a trial learns that its machine will be taken back, or that its run ends.

Ray marks a node that will be taken back as draining: on SIGTERM to its `ray start --block`, as from Kubernetes before a pod
ends, or on request (`ray drain-node`). It gives such a node no further work, but tells the processes there nothing, so each of
them asks. A run that is interrupted puts a mark into Ray's key-value store.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import ray
from ray._private import state
from ray.experimental import internal_kv
from ray.util import get_node_ip_address

#: Seconds between two looks. Each is two small requests to the cluster's head, from every trial that runs.
LOOK = 2.0

#: Where in Ray's key-value store a run leaves its mark.
_NAMESPACE = "transfergan"


@contextmanager
def heeded() -> Iterator[Callable[[], str | None]]:
    """Look out for a notice during the block; yield a function that returns why to leave, or None. It is cheap to call."""
    reasons: list[str] = []
    over = Event()

    def look() -> None:
        while not (reasons or over.is_set()):
            with suppress(Exception):  # the head does not answer now
                reasons.extend(_reasons())
            over.wait(LOOK)

    Thread(target=look, daemon=True).start()
    try:
        yield lambda: reasons[0] if reasons else None
    finally:
        over.set()


def _reasons() -> Iterator[str]:
    if ray.get_runtime_context().get_node_id() in state.state.get_draining_nodes():
        yield f"the machine {get_node_ip_address()} is being taken back"  # type: ignore[no-untyped-call]  # Ray's
    if internal_kv._internal_kv_exists(_mark(), namespace=_NAMESPACE):
        yield "the run ends"


@contextmanager
def given() -> Iterator[Callable[[], None]]:
    """Yield a function that asks all trials of this run to leave; a run that follows in the same process starts without it."""

    def give() -> None:
        internal_kv._internal_kv_put(_mark(), b"", namespace=_NAMESPACE)

    try:
        yield give
    finally:
        with suppress(Exception):  # the cluster may be gone
            internal_kv._internal_kv_del(_mark(), namespace=_NAMESPACE)


def _mark() -> str:
    """Return the name of this run's mark: Ray gives the driver and its processes one job id."""
    return f"leave {ray.get_runtime_context().get_job_id()}"
