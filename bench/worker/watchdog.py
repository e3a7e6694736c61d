"""Ends a process that hangs."""

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.common.heartbeat import heard_by

if TYPE_CHECKING:
    pass


@contextmanager
def watched(minutes: float) -> Iterator[None]:
    """End this process when the block gives no sign of life (`trainers.alive`) for so long.

    By a thread of the interpreter's own, which even a call that never returns does not hold up.
    """
    with Path(os.devnull).open("w") as nowhere:

        def put_off() -> None:
            faulthandler.dump_traceback_later(60 * minutes, exit=True, file=nowhere)

        put_off()
        try:
            with heard_by(put_off):
                yield
        finally:
            faulthandler.cancel_dump_traceback_later()
