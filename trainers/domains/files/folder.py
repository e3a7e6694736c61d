"""The images in a folder, named ``folder:PATH``; its sub-folders may be classes and splits."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.common.errors import UserError
from trainers.domains.files.collection import Arrangement, Collection, by_split, content_fingerprint, readable_items
from trainers.domains.files.split_names import SUFFIXES, encoded, is_image, splits_and_classes, without_shared


class Folder(Collection):
    """The images in a folder and its sub-folders. The fingerprint covers file names and contents, not the folder's path."""

    def __init__(self, path: Path) -> None:
        """List the folder at an absolute path.

        Raises:
            UserError: the folder is missing, is a file, or contains no file with the suffix of an image.
        """
        self.path = path
        self.name = f"folder:{path}"
        self.about = f"images in {path}"
        if not path.exists():
            raise UserError(f"domain {self.name!r}: there is no such folder; check the path")
        if not path.is_dir():
            raise UserError(f"domain {self.name!r} is a file; name the folder that contains the images")
        self._ignored: list[str] = []
        files = sorted(self._walk())
        self._names = [name for name, _ in files]
        self._paths = without_shared(self._names)
        if not files:
            ignored = f"; skipped: {', '.join(sorted(self._ignored)[:3])}" if self._ignored else ""
            raise UserError(f"domain {self.name!r} contains no images ({', '.join(sorted(SUFFIXES))}){ignored}")
        digest = hashlib.sha256()
        for name, stat in files:
            # The time of the last change, which unlike the modification time cannot be set.
            digest.update(encoded(f"{name}\0{stat.st_size}\0{stat.st_ctime_ns}\n"))
        self.listing = digest.hexdigest()

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # computed on demand
        """Files and folders that could not be read, and links out of the folder or to folders, which are not followed."""
        return (*(self._names[i] for i in self._index.unreadable), *sorted(self._ignored))

    def records(self) -> "Files":
        """Return all files with the suffix of an image."""
        return Files(self.path, tuple(self._names))

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the files' names and contents."""
        return content_fingerprint(self._paths, hashes)

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits and classes of the files, see `split_names` and `Collection.arrange`."""
        readable = readable_items(self.name, self._names, unreadable)
        return by_split(self.name, readable, *splits_and_classes(self._paths, readable))

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the name and status of each file with the suffix of an image; record links and folders that are ignored."""
        root = self.path.resolve()

        def record_unreadable(error: OSError) -> None:
            self._ignored.append(f"{Path(error.filename).relative_to(self.path).as_posix()}/ ({error.strerror})")

        for folder, folders, files in os.walk(self.path, onerror=record_unreadable):
            relative_folder = Path(folder).relative_to(self.path)
            for name in folders:
                if not name.startswith(".") and Path(folder, name).is_symlink():
                    self._ignored.append(f"{(relative_folder / name).as_posix()}/ (a link to a folder)")
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                file = Path(folder, name)
                relative = (relative_folder / name).as_posix()
                if not is_image(relative):
                    continue
                if file.is_symlink() and not file.resolve().is_relative_to(root):
                    self._ignored.append(f"{relative} (a link out of the folder)")
                elif file.is_file():
                    yield relative, file.stat()
                elif file.is_symlink():
                    self._ignored.append(f"{relative} (a broken link)")


@dataclass(frozen=True)
class Files:
    """Image files in a folder."""

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, i: int) -> bytes:
        """Return a file's content."""
        return (self.root / self.names[i]).read_bytes()
