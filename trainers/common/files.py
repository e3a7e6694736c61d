"""Files that appear complete or not at all: written under a temporary name, then renamed or linked to."""

import errno
import io
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")

#: Errors of a disk that has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def absolute(path: str | Path) -> Path:
    """Return a user's path as an absolute one, without ~ and, unless a link is in the way, without .. and double slashes."""
    whole = Path(path).expanduser().absolute()
    tidy = Path(os.path.normpath(whole))
    return tidy if tidy.resolve() == whole.resolve() else whole


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """Yield a file to write; when the block ends it is renamed to `path`, in place of any file of that name.

    The folder is created if it is missing. If the block fails, nothing changes and the temporary file is deleted. A temporary
    file has a unique, hidden name (``.HEX.tmp``), so concurrent writers do not collide, and readers of a folder ignore it.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)


def create(path: Path, data: bytes) -> bool:
    """Write a file as `replacing` does, unless there is one of its name; return whether it was written.

    The look and the writing are one step, so that of several writers one creates the file; two steps on a disk that has no hard
    links. Raises OSError as `replacing`.
    """
    with _temporary(path) as temporary:
        temporary.write_bytes(data)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            temporary.replace(path)
        return True


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside a file, in a folder that exists; what has that name at the end of the block is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Return whether a file's name is one under which `replacing` and `create` write; a killed writer leaves such a file."""
    return bool(_TEMPORARY.fullmatch(name))


def write_json(path: Path, content: object) -> None:
    """Write an object as JSON to a file, see `replacing`."""
    with replacing(path) as file:
        file.write(json.dumps(content).encode())
