"""The user's own images: a folder, flat or with a sub-folder per class, with or without splits of its own."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.common.errors import UserError
from trainers.domains.files.collection import Arrangement, Collection, by_split, content_fingerprint, enough
from trainers.domains.files.split_names import SUFFIXES, encoded, is_image, splits_and_classes, without_shared


class Folder(Collection):
    """The images below a folder. Its fingerprint covers names and contents, not where the folder lies."""

    licence = "the owner's"

    def __init__(self, path: Path) -> None:
        """List the folder at an absolute path.

        Raises:
            UserError: it is missing, not a folder, or has no file that is an image by its name.
        """
        self.path = path
        self.name = f"folder:{path}"
        self.about = f"images in {path}"
        if not path.exists():
            raise UserError(f"domain {self.name!r}: there is no such folder")
        if not path.is_dir():
            raise UserError(f"domain {self.name!r} is a file; name the folder that holds the images")
        self._foreign: list[str] = []
        found = sorted(self._walk())
        self._names = [name for name, _ in found]
        self._paths = without_shared(self._names)
        if not found:
            named = f"; skipped: {', '.join(sorted(self._foreign)[:3])}" if self._foreign else ""
            raise UserError(f"domain {self.name!r} holds no images ({', '.join(sorted(SUFFIXES))}){named}")
        digest = hashlib.sha256()
        for name, stat in found:
            # The time of the last change to a file, which nobody can set back.
            digest.update(encoded(f"{name}\0{stat.st_size}\0{stat.st_ctime_ns}\n"))
        self.listing = digest.hexdigest()

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # found when asked for
        """Files and folders that could not be read, and links out of the folder or to folders, which are not followed."""
        return (*(self._names[i] for i in self._index.unreadable), *sorted(self._foreign))

    def records(self) -> "Files":
        """Return all files that are images by their names."""
        return Files(self.path, tuple(self._names))

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the files' names and contents."""
        return content_fingerprint(self._paths, hashes)

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits and classes that the names say, or one in five as reference; see `Collection.arrange`."""
        readable = enough(self.name, self._names, unreadable)
        return by_split(self.name, readable, *splits_and_classes(self._paths, readable))

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the name and status of each file that is an image by its name; note links and folders that are passed over."""
        root = self.path.resolve()

        def unlisted(error: OSError) -> None:
            self._foreign.append(f"{Path(error.filename).relative_to(self.path).as_posix()}/ ({error.strerror})")

        for folder, folders, files in os.walk(self.path, onerror=unlisted):
            below = Path(folder).relative_to(self.path)
            for name in folders:
                if not name.startswith(".") and Path(folder, name).is_symlink():
                    self._foreign.append(f"{(below / name).as_posix()}/ (a link to a folder)")
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                file = Path(folder, name)
                relative = (below / name).as_posix()
                if not is_image(relative):
                    continue
                if file.is_symlink() and not file.resolve().is_relative_to(root):
                    self._foreign.append(f"{relative} (a link out of the folder)")
                elif file.is_file():
                    yield relative, file.stat()
                elif file.is_symlink():
                    self._foreign.append(f"{relative} (a link to nothing)")


@dataclass(frozen=True)
class Files:
    """Image files below a root."""

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def read(self, i: int) -> bytes:
        """Return a file's content."""
        return (self.root / self.names[i]).read_bytes()
