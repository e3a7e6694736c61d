"""The images in one or several zip or tar archives, named ``zip:PATH`` or ``tar:PATH``; they are read without unpacking."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainers.common.errors import UserError
from trainers.domains.base import Skipped
from trainers.domains.files.collection import NamedFiles, content_fingerprint
from trainers.domains.files.label_files import ANNOTATIONS, DATASET, labelled_layout
from trainers.domains.files.split_names import SUFFIXES, UNSUPPORTED, UNSUPPORTED_REASON, is_image, member_name, without_shared
from trainers.domains.files.tar import Content, tar_members

#: Larger members are not read, bytes after unpacking.
LARGEST = 2**28
_TOO_LARGE = f"larger than {LARGEST // 2**20} MiB"


@dataclass(frozen=True)
class Member:
    """An image file in an archive; `content` is its key in a zip archive, or the position of its bytes in a tar archive."""

    archive: Path
    name: str
    content: str | Content


class Archive(NamedFiles):
    """The images in archives; the path may contain ``*`` to name several.

    Members are named as files in a folder: SPLIT/CLASS/FILE. A folder that all members share is ignored. The fingerprint
    covers names and contents; it equals that of a folder with the same files. Of two members with one name the later is
    used, as when the archive is unpacked.
    """

    def __init__(self, kind: str, path: Path) -> None:
        """List the archives of a kind ("zip" or "tar") at an absolute path.

        Raises:
            UserError: there is no such file, an archive is damaged or is a compressed tar archive, or there are no images.
        """
        self.name = f"{kind}:{path}"
        self.about = f"images in {path}"
        archives = matching(self.name, path)
        ignored: list[Skipped] = []
        label_files: dict[str, Member] = {}
        self._members = sorted(
            (member for archive in archives for member in _images(kind, self.name, archive, ignored, label_files)),
            key=lambda member: member.name,
        )
        self._ignored = sorted(ignored, key=lambda member: member.name)
        if not self._members:
            first = ", ".join(f"{member.name} ({member.reason})" for member in self._ignored[:3])
            shown = f"; skipped: {first}" if first else ""
            raise UserError(f"domain {self.name!r} contains no images ({', '.join(sorted(SUFFIXES))}){shown}")
        self._paths = without_shared([member.name for member in self._members])
        counts: dict[str, int] = {}
        self._names = []
        for name, member in zip(self._paths, self._members, strict=True):
            counts[name] = counts.get(name, 0) + 1
            self._names.append(name if counts[name] == 1 else f"{name} ({member.archive.name})")
        self.listing = listing_of(archives)

        def read(name: str) -> bytes | None:
            return Members((label_files[name],)).read(0) if name in label_files else None

        self.layout = labelled_layout(self.name, [member.name for member in self._members], self._paths, read)

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the members' names and contents."""
        return content_fingerprint(self._names, hashes, self.layout)

    def records(self) -> "Members":
        """Return all members with the suffix of an image."""
        return Members(tuple(self._members))


@dataclass(frozen=True)
class Members:
    """Image files in archives."""

    members: tuple[Member, ...]

    def __len__(self) -> int:
        return len(self.members)

    def read(self, i: int) -> bytes:
        """Return the content of member i. Raises OSError if it is damaged, encrypted or far too large."""
        member = self.members[i]
        if isinstance(member.content, Content):
            if member.content.size > LARGEST:
                raise OSError(_TOO_LARGE)
            return member.content.read(member.archive)
        try:
            archive = _opened(member.archive)
            info = archive.getinfo(member.content)
            if info.file_size > LARGEST:
                raise OSError(_TOO_LARGE)
            if info.flag_bits & 1:
                raise OSError("encrypted")
            return archive.read(info)
        except NotImplementedError as error:
            raise OSError("compressed in a way that Python does not read") from error
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
            raise OSError("damaged in the archive") from error


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


def _images(kind: str, domain: str, archive: Path, ignored: list[Skipped], label_files: dict[str, Member]) -> Iterator[Member]:
    """Yield the image files in an archive by their names; record those that are skipped, and files that may have labels.

    Raises:
        UserError: the archive is damaged, or is a compressed tar archive.
    """
    if kind == "tar":
        contents: Iterable[tuple[str, str | Content]] = tar_members(domain, archive, ignored)
    else:
        contents = _zip_members(domain, archive, ignored)
    members: dict[str, Member] = {}
    for stored, content in contents:
        name = member_name(stored, backslashes=kind == "zip")
        if is_image(name, UNSUPPORTED):
            ignored.append(Skipped(name, UNSUPPORTED_REASON))
        elif is_image(name):
            if name in members:
                ignored.append(Skipped(name, "replaced by a later member of this name"))
            members[name] = Member(archive, name, content)
        elif name.rpartition("/")[2] in (DATASET, ANNOTATIONS):
            label_files[name] = Member(archive, name, content)
    yield from members.values()


def _zip_members(domain: str, archive: Path, ignored: list[Skipped]) -> Iterator[tuple[str, str]]:
    """Yield the name of each file in a zip archive, and its key."""
    try:
        members = zipfile.ZipFile(archive).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # of a damaged index, other versions, names
        fault = f"{archive.name} is not a complete zip archive ({error})"
        raise UserError(f"domain {domain!r}: {fault}; copy it again") from error
    offsets = [info.header_offset for info in members]
    with archive.open("rb") as file:
        if offsets and min(offsets) > 0 and file.read(4) == b"PK\3\4":
            ignored.append(Skipped(archive.name, "its first files are not in its index: removed, or two archives were joined"))
    for info in members:
        if not info.filename:
            ignored.append(Skipped(f"{archive.name} at byte {info.header_offset:,}", "a file without a name"))
        elif not info.is_dir():
            yield info.filename, info.filename
