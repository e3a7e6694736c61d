"""The files in an uncompressed tar archive, and where their bytes are."""

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainers.common.errors import UserError
from trainers.domains.base import Skipped
from trainers.domains.files.split_names import is_image, member_name

#: Bytes read at a time.
CHUNK = 2**20


@dataclass(frozen=True)
class Content:
    """The bytes of a file in an archive.

    Attributes:
        start: the position of the first byte.
        size: the number of bytes after unpacking.
        pieces: of a sparse file, the position in the file and the size of each piece that is stored; the rest is zeros.
    """

    start: int
    size: int
    pieces: tuple[tuple[int, int], ...] | None = None

    def read(self, archive: Path) -> bytes:
        """Return the bytes."""
        with archive.open("rb") as file:
            file.seek(self.start)
            if self.pieces is None:
                return file.read(self.size)
            data = bytearray(self.size)
            for at, size in self.pieces:
                data[at : at + size] = file.read(size)
            return bytes(data)


def tar_members(domain: str, archive: Path, ignored: list[Skipped]) -> Iterator[tuple[str, Content]]:
    """Yield the name and the content of each file, also of those named by a link to another file in the archive.

    Archives that were joined are read to the end. Where a header is damaged, reading goes on after it, and it is recorded in
    `ignored`, as are links that lead out of the archive.

    Raises:
        UserError: the archive is truncated or compressed, or its first header is damaged.
    """
    contents: dict[str, Content] = {}
    links: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(archive, "r:") as tar, archive.open("rb") as file:
            tar.ignore_zeros = True  # from here on: an archive whose first header is damaged has been refused
            end = 0
            for info in tar:
                _record_damage(archive, file, end, info.offset, ignored)
                end = tar.offset
                name = member_name(info.name)
                if info.isreg():
                    pieces: Any = info.sparse  # a list of pairs; annotated as bool
                    contents[name] = Content(info.offset_data, info.size, None if pieces is None else tuple(pieces))
                    yield info.name, contents[name]
                elif info.islnk() and (target := contents.get(member_name(info.linkname))):
                    contents[name] = target
                    yield info.name, target
                elif (info.islnk() or info.issym()) and is_image(name):
                    links.append(info)
            _record_damage(archive, file, end, archive.stat().st_size, ignored)
    except tarfile.TarError as error:
        fault = f"{archive.name} is not a complete uncompressed tar archive ({error})"
        raise UserError(f"domain {domain!r}: {fault}; copy it again, uncompressed") from error
    for info in links:
        folder = posixpath.dirname(info.name) if info.issym() else ""
        target = contents.get(posixpath.normpath(posixpath.join(folder, info.linkname)).removeprefix("./"))
        if target is None:
            ignored.append(Skipped(member_name(info.name), "a link to a file that is not in the archive"))
        else:
            yield info.name, target


def _record_damage(archive: Path, file: BinaryIO, start: int, end: int, ignored: list[Skipped]) -> None:
    """Record that there are bytes other than zero between two members, where tarfile finds no header."""
    file.seek(start)
    for at in range(start, end, CHUNK):
        if file.read(min(CHUNK, end - at)).strip(b"\0"):
            ignored.append(Skipped(f"{archive.name} from byte {start:,}", "a damaged header, and the file after it"))
            return
