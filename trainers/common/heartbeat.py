"""Heartbeats that distinguish long work from hung work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[], None]] = ContextVar("listener", default=lambda: None)


def beat() -> None:
    """Send a heartbeat to the current listener, if there is one."""
    _listener.get()()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Call `listener` at every heartbeat of the block, in the block's thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
