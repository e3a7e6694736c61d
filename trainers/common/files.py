"""Files that are written whole under another name and then renamed."""

import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """Give a file to write that takes its name, and another's place, once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a file that is there whole or not at all."""
    with replacing(path) as file:
        file.write(json.dumps(content).encode())
