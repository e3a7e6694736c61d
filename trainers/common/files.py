"""Files that appear complete or not at all: written under a temporary name, then renamed."""

import io
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Return whether a file's name is one under which `replacing` writes; a killed writer leaves such a file."""
    return bool(_TEMPORARY.fullmatch(name))


def write_json(path: Path, content: object) -> None:
    """Write an object as JSON to a file, see `replacing`."""
    with replacing(path) as file:
        file.write(json.dumps(content).encode())
