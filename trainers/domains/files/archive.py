"""The images in one or several zip or tar archives, named ``zip:PATH`` or ``tar:PATH``; they are read without unpacking."""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainers.common.errors import UserError
from trainers.domains.files.collection import Arrangement, Collection, by_split, content_fingerprint, readable_items
from trainers.domains.files.split_names import SUFFIXES, is_image, splits_and_classes, without_shared

#: Larger members are not read, bytes after unpacking.
LARGEST = 2**28


@dataclass(frozen=True)
class Member:
    """An image file in an archive; `start` and `size` are the position and number of its bytes in a tar archive."""

    archive: Path
    name: str
    start: int = 0
    size: int = 0


class Archive(Collection):
    """The images in archives; the path may contain ``*`` to name several.

    Members are named as files in a folder: SPLIT/CLASS/FILE. A folder that all members share is ignored. The fingerprint
    covers names and contents; it equals that of a folder with the same files.
    """

    def __init__(self, kind: str, path: Path) -> None:
        """List the archives of a kind ("zip" or "tar") at an absolute path.

        Raises:
            UserError: there is no such file, an archive is damaged or is a compressed tar archive, or there are no images.
        """
        self.name = f"{kind}:{path}"
        self.about = f"images in {path}"
        archives = matching(self.name, path)
        self._members = sorted(
            (member for archive in archives for member in _LISTS[kind](self.name, archive)), key=lambda member: member.name
        )
        if not self._members:
            raise UserError(f"domain {self.name!r} contains no images ({', '.join(sorted(SUFFIXES))})")
        self._paths = without_shared([member.name for member in self._members])
        counts: dict[str, int] = {}
        self._names = []
        for name, member in zip(self._paths, self._members, strict=True):
            counts[name] = counts.get(name, 0) + 1
            self._names.append(name if counts[name] == 1 else f"{name} ({member.archive.name})")
        self.listing = listing_of(archives)

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # computed on demand
        """Names of the members that could not be read."""
        return tuple(self._names[i] for i in self._index.unreadable)

    def records(self) -> "Members":
        """Return all members with the suffix of an image."""
        return Members(tuple(self._members))

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the members' names and contents."""
        return content_fingerprint(self._names, hashes)

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits and classes of the members, see `split_names` and `Collection.arrange`."""
        readable = readable_items(self.name, self._names, unreadable)
        return by_split(self.name, readable, *splits_and_classes(self._paths, readable))


@dataclass(frozen=True)
class Members:
    """Image files in archives."""

    members: tuple[Member, ...]

    def __len__(self) -> int:
        return len(self.members)

    def read(self, i: int) -> bytes:
        """Return the content of member i. Raises OSError if it is damaged, encrypted or far too large."""
        member = self.members[i]
        if member.start:
            with member.archive.open("rb") as file:
                file.seek(member.start)
                return file.read(member.size)
        try:
            archive = _opened(member.archive)
            if archive.getinfo(member.name).file_size > LARGEST:
                raise OSError(f"{member.name} is far too large")
            return archive.read(member.name)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            raise OSError(str(error)) from error


@cache
def _opened(archive: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)


def matching(name: str, path: Path) -> list[Path]:
    """Return the files at a path, which may contain ``*``; `name` is the domain's.

    Raises:
        UserError: there is no such file.
    """
    if "*" in str(path):
        anchor = Path(path.anchor)
        files = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
    else:
        files = [path] if path.is_file() else []
    if not files:
        fault = "is a folder; name a file, or PATH/* for all" if path.is_dir() else "there is no such file; check the path"
        raise UserError(f"domain {name!r}: {fault}")
    return files


def listing_of(files: Iterable[Path]) -> str:
    """Return the identity of files on disk: their names, sizes and times of the last change."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(os.fsencode(file.name) + f"\0{stat.st_size}\0{stat.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _zipped(name: str, archive: Path) -> Iterator[Member]:
    try:
        for info in zipfile.ZipFile(archive).infolist():
            if not info.is_dir() and is_image(info.filename):
                yield Member(archive, info.filename)
    except zipfile.BadZipFile as error:
        raise UserError(f"domain {name!r}: {archive.name} is not a complete zip archive ({error}); copy it again") from error


def _tarred(name: str, archive: Path) -> Iterator[Member]:
    try:
        with tarfile.open(archive, "r:") as file:
            for info in file:
                inside = info.name.removeprefix("./")
                if info.isreg() and is_image(inside):
                    yield Member(archive, inside, info.offset_data, min(info.size, LARGEST))
    except tarfile.TarError as error:
        fault = f"{archive.name} is not a complete uncompressed tar archive ({error})"
        raise UserError(f"domain {name!r}: {fault}; copy it again, uncompressed") from error


_LISTS = {"zip": _zipped, "tar": _tarred}
