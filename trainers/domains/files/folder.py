"""The images in a folder, named ``folder:PATH``; its sub-folders may be classes and splits."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainers.common.errors import UserError
from trainers.domains.base import Skipped
from trainers.domains.files.collection import NamedFiles
from trainers.domains.files.label_files import labelled_layout
from trainers.domains.files.split_names import SUFFIXES, UNSUPPORTED, UNSUPPORTED_REASON, encoded, is_image, without_shared


class Folder(NamedFiles):
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
        ignored: list[Skipped] = []
        files = sorted(self._walk(ignored))
        self._ignored = sorted(ignored, key=lambda file: file.name)
        self._names = [name for name, _ in files]
        self._paths = without_shared(self._names)
        if not files:
            first = ", ".join(f"{file.name} ({file.reason})" for file in self._ignored[:3])
            shown = f"; skipped: {first}" if first else ""
            raise UserError(f"domain {self.name!r} contains no images ({', '.join(sorted(SUFFIXES))}){shown}")
        digest = hashlib.sha256()
        for name, stat in files:
            # The time of the last change, which unlike the modification time cannot be set.
            digest.update(encoded(f"{name}\0{stat.st_size}\0{stat.st_ctime_ns}\n"))
        self.layout = labelled_layout(self.name, self._names, self._paths, self._read)
        if self.layout.labels_from:
            digest.update(encoded("\n".join(self.layout.classes)))
        self.listing = digest.hexdigest()

    def records(self) -> "Files":
        """Return all files with the suffix of an image."""
        return Files(self.path, tuple(self._names))

    def _read(self, name: str) -> bytes | None:
        """Return the content of a file in the folder; None if there is none or it cannot be read."""
        file = self.path / name
        if not file.is_file() or not file.resolve().is_relative_to(self.path.resolve()):
            return None
        return file.read_bytes()

    def _walk(self, ignored: list[Skipped]) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the name and status of each file with the suffix of an image; record what is skipped.

        Links out of the folder or to folders are not followed.
        """
        root = self.path.resolve()

        def record_unreadable(error: OSError) -> None:
            ignored.append(Skipped(f"{Path(error.filename).relative_to(self.path).as_posix()}/", str(error.strerror)))

        for folder, folders, files in os.walk(self.path, onerror=record_unreadable):
            relative_folder = Path(folder).relative_to(self.path)
            for name in folders:
                if not name.startswith(".") and Path(folder, name).is_symlink():
                    ignored.append(Skipped(f"{(relative_folder / name).as_posix()}/", "a link to a folder"))
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                file = Path(folder, name)
                relative = (relative_folder / name).as_posix()
                if is_image(relative, UNSUPPORTED):
                    ignored.append(Skipped(relative, UNSUPPORTED_REASON))
                if not is_image(relative):
                    continue
                if file.is_symlink() and not file.resolve().is_relative_to(root):
                    ignored.append(Skipped(relative, "a link out of the folder"))
                elif file.is_file():
                    yield relative, file.stat()
                elif file.is_symlink():
                    ignored.append(Skipped(relative, "a broken link"))
                elif not file.is_dir():
                    ignored.append(Skipped(relative, "not a regular file"))


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
