"""Ends a process that hangs."""

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.common.heartbeat import heard_by


@contextmanager
def watched(minutes: float) -> Iterator[None]:
    """End this process if the block has no heartbeat (`trainers.common.heartbeat`) for that many minutes.

    A thread of the interpreter does it, so it works even during a call that never returns.
    """
    with Path(os.devnull).open("w") as nowhere:

        def restart() -> None:
            faulthandler.dump_traceback_later(60 * minutes, exit=True, file=nowhere)

        restart()
        try:
            with heard_by(restart):
                yield
        finally:
            faulthandler.cancel_dump_traceback_later()
