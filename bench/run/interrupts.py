"""Answers Ctrl-C, SIGTERM and SIGHUP at once, and ends a run on the last two as on the first.

What ran is recorded, claims are let go of, and the report is written. That takes its time, and Python calls a handler of a
signal only between two steps of the main thread: not before an import, or a call of a library, has returned. The interpreter
itself writes the number of a signal into a pipe as soon as it comes. So a thread that reads this pipe answers.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread
from types import FrameType

#: Sent by the system, a cluster's manager or `kill`, and when a terminal closes.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)

#: What is printed on stderr when a signal comes.
ANSWER = "stopping ..."

#: The number of no signal.
_END = 0


def _write(line: str) -> None:
    os.write(2, f"{line}\n".encode())  # whatever stream or lock the main thread is busy with


#: Prints a line on stderr.
_print: Callable[[str], object] = _write


def answer_by(prints: Callable[[str], object]) -> None:
    """Print the answer to a signal by a function, such as that of a console with a live table, which it must not tear."""
    global _print
    _print = prints


@contextmanager
def answered() -> Iterator[None]:
    """Print `ANSWER` on stderr as soon as one of these signals or Ctrl-C comes during the block, whatever else goes on.

    Signals that this process was started to ignore get no answer.
    """
    if current_thread() is not main_thread():  # only there may this be set
        yield
        return
    inlet, outlet = os.pipe()
    os.set_blocking(outlet, False)
    before = signal.set_wakeup_fd(outlet, warn_on_full_buffer=False)
    thread = Thread(target=_answer, args=(inlet,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(outlet, bytes([_END]))
        thread.join()
        os.close(outlet)
        os.close(inlet)
        answer_by(_write)


def _answer(inlet: int) -> None:
    numbers = b""
    while _END not in numbers:
        numbers = os.read(inlet, 64)
        if {signal.SIGINT, *SIGNALS} & set(numbers):
            with suppress(OSError):  # the terminal is closed
                _print(ANSWER)


@contextmanager
def untraced() -> Iterator[None]:
    """Let Ctrl-C end this process without a stack trace during the block, in which nothing but imports may happen."""
    before = signal.getsignal(signal.SIGINT)
    if current_thread() is not main_thread() or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
