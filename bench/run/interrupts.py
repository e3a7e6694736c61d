"""Ends a run on SIGTERM and SIGHUP as on Ctrl-C: what ran is recorded, claims are let go of, and the report is written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

#: Sent by the system, a cluster's manager or `kill`, and when a terminal closes.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def as_interrupts() -> Iterator[list[int]]:
    """Treat SIGTERM and SIGHUP as SIGINT during the block, and yield the list of those that came.

    Signals that this process was started to ignore, as by `nohup`, stay ignored.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:  # ignored, as in the background jobs of a shell
            raise KeyboardInterrupt

    if current_thread() is not main_thread():  # only there may handlers be set
        yield came
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
