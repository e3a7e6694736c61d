"""Downloads a published file: resumable, and complete and correct under its name or not there at all."""

import hashlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from trainers.common.errors import UserError, first_line

#: Bytes read at a time, and seconds without any after which a connection counts as broken.
_BLOCK, _TIMEOUT = 2**20, 60

#: The status of an answer with the rest of a file, and of one that says that nothing is left.
_PARTIAL, _NOTHING_LEFT = 206, 416


def download(address: str, file: Path, sha256: str, progress: Callable[[int, int | None], None]) -> None:
    """Download a file and check its hash.

    The bytes go to ``NAME.part`` beside it, which is renamed in the end. One that an interrupted download left is continued.

    Args:
        progress: called with the bytes that are there and those of the whole file, None if unknown.

    Raises:
        UserError: the file cannot be downloaded or written, or has another hash; in that case the ``.part`` file is deleted.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _continue(address, part, progress)
    except (OSError, HTTPException) as error:
        reason = f"HTTP status {error.code}" if isinstance(error, HTTPError) else _reason(error)
        raise UserError(
            f"{address} cannot be downloaded to {str(part.parent)!r}: {reason}; the same command continues it, or place "
            f"{file.name} there yourself"
        ) from error
    with part.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise UserError(
            f"{address} has the sha256 {found} and not the official {sha256}; it is deleted; the same command repeats it"
        )
    part.replace(file)


def _continue(address: str, part: Path, progress: Callable[[int, int | None], None]) -> None:
    """Download what a part lacks, or everything if the server does not continue files."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "transfergan", **({"Range": f"bytes={done}-"} if done else {})}
    try:
        response = urlopen(Request(address, headers=headers), timeout=_TIMEOUT)  # noqa: S310 - an address of our own table
    except HTTPError as error:
        error.close()  # its connection
        if done and error.code == _NOTHING_LEFT:
            return
        raise
    with response:
        if response.status != _PARTIAL:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with part.open("ab" if done else "wb") as target:
            progress(done, total)
            while block := response.read(_BLOCK):
                target.write(block)
                done += len(block)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    return first_line(cause)
