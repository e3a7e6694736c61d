"""Heartbeats that distinguish long work from hung work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listeners: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("listeners", default=())


def beat() -> None:
    """Send a heartbeat to the current listeners, the outermost first."""
    for listener in _listeners.get():
        listener()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Call `listener` too at every heartbeat of the block, in the block's thread. What it raises ends the work that beats."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)
