"""Signs of life: long work gives them, so that whoever runs it can tell it from work that hangs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[], None]] = ContextVar("listener", default=lambda: None)


def beat() -> None:
    """Give a sign of life."""
    _listener.get()()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Have `listener` called at each sign of life that the block gives, in its thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
