"""torchvision's data sets as domains, below one root. None is downloaded unasked; torch is needed only once one is read."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from trainers.common.errors import UserError
from trainers.common.files import write_json
from trainers.domains.base import SPLITS, Split
from trainers.domains.files.collection import Arrangement, Collection
from trainers.domains.torchvision.catalogue import CATALOGUE, Entry

if TYPE_CHECKING:
    from trainers.domains.torchvision.layouts import Opened

#: Files up to this size count towards the fingerprint with their contents, larger ones with their size alone, bytes.
WHOLE = 64 * 2**20

#: Part of every fingerprint; to be raised whenever a split or the way an image is read changes.
VERSION = 1


def data_root() -> Path:
    """Return the folder that holds every data set in a sub-folder: TRANSFERGAN_DATA, or ~/.cache/transfergan/data."""
    return Path(os.environ.get("TRANSFERGAN_DATA") or "~/.cache/transfergan/data").expanduser().absolute()


@cache
def torchvision_domain(name: str, root: Path) -> "TorchvisionDomain":
    """Return the domain of a name in `CATALOGUE` below a root; the same object at every call of a process."""
    return TorchvisionDomain(CATALOGUE[name], root)


class TorchvisionDomain(Collection):
    """A data set in its official layout. Every use but `ready` and `download` raises UserError unless it is there."""

    def __init__(self, entry: Entry, root: Path) -> None:
        """Name a data set below a root; nothing is read yet."""
        self.entry = entry
        self.name = entry.name
        self.about = entry.about
        self.licence = entry.licence
        self.path = root / (entry.folder or entry.name)
        self._split = cache(self._split)  # type: ignore[method-assign]

    def ready(self) -> str | None:
        """Return what is missing and where it belongs, in one line; None where the domain can be read."""
        absent = self.absent()
        if absent is not None:
            return f"lacks {absent}; place {self.entry.files} in {self.path}"
        if self.entry.package and find_spec(self.entry.package) is None:
            return f"lacks the {self.entry.package} package; pip install {self.entry.package}"
        return None

    def absent(self) -> str | None:
        """Return the outermost file or folder that is not there, relative to `path`; None where all are."""
        for need in map(Path, self.entry.needs):
            for part in (*reversed(need.parents[:-1]), need):
                if not (self.path / part).exists():
                    return part.as_posix()
        return None

    def download(self) -> None:
        """Download what is missing through torchvision.

        Raises:
            UserError: torchvision does not offer it, or the download failed.
        """
        if self.absent() is None:
            return
        if not self.entry.download:
            raise UserError(f"domain {self.name!r} is not for torchvision to download: {self._lacking()}")
        from trainers.domains.torchvision.layouts import download

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            download(self.entry, self.path)
        except Exception as error:  # the network, a full disk, a checksum, a helper's own: all for the user to see to
            reason = " ".join(str(error).split()) or type(error).__name__
            by_hand = f"place {self.entry.files} in {self.path} by hand, from {self.entry.source}"
            raise UserError(f"domain {self.name!r} could not be downloaded: {reason}; try again, or {by_hand}") from error

    @property
    def fingerprint(self) -> str:  # type: ignore[override]  # found when asked for
        """Identity of the content, as it lies there: an official data set has no images that cannot be read."""
        return self.listing + ("" if self.fit == "crop" else f"/{self.fit}")

    @cached_property
    def listing(self) -> str:  # type: ignore[override]  # computed when asked for
        """Identity of the content: names and sizes of the files, and the contents of all but those beyond 64 MiB.

        Reading them takes minutes for the largest data sets. So it is kept beside the data, where that can be written, with a
        hash of every file's name, size and time of change; they are read again only when one of these differs.
        """
        self._check()
        files = sorted(file for need in self.entry.needs for file in _below(self.path / need))
        listing = [(file.relative_to(self.path).as_posix(), file.stat()) for file in files]
        seen = _digest(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in listing)
        kept = self.path / f".{self.name}.fingerprint.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(kept.read_text())
            if (known["version"], known["seen"]) == (VERSION, seen):
                return str(known["fingerprint"])
        content = _digest(f"{name}\0{stat.st_size}\0{_content(self.path / name, stat.st_size)}" for name, stat in listing)
        found = f"{self.name}/{VERSION}:{content[:32]}"
        with suppress(OSError):
            write_json(kept, {"version": VERSION, "seen": seen, "fingerprint": found})
        return found

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # read when asked for
        """Class names in label order; empty where there are no labels."""
        return self._split("train").classes

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return self._split(split).count

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split; None where the domain has no classes."""
        found = self._split(split)
        if not self.classes:
            return None
        unknown = sorted(set(found.classes) - set(self.classes))
        if unknown:
            raise UserError(f"domain {self.name!r}: {self.path} has {split} images of {unknown[0]!r}, and none to train on")
        ours = [self.classes.index(name) for name in found.classes]
        return np.array([ours[label] for label in found.labels], np.int64)

    def records(self) -> "Both":
        """Return the images of both splits, one after the other."""
        return Both(self.entry, self.path)

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint, which is known already."""
        return self.listing

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the official splits; one that cannot be read is an error before this is asked."""
        train, reference = (self.count(split) for split in SPLITS)
        rows = np.arange(train + reference)
        return Arrangement(
            {"train": rows[:train], "reference": rows[train:]}, self.classes, {split: self.labels(split) for split in SPLITS}
        )

    def _split(self, split: Split) -> "Opened":
        self._check()
        from trainers.domains.torchvision.layouts import open_split

        return open_split(self.entry, self.path, split)

    def _check(self) -> None:
        if self.ready() is not None:
            raise UserError(f"domain {self.name!r} {self._lacking()}")

    def _lacking(self) -> str:
        how = (
            f"or run: transfergan domains prepare {self.name} --download"
            if self.entry.download
            else f"from {self.entry.source}"
        )
        return f"{self.ready()}, {how}"


@dataclass(frozen=True)
class Both:
    """The images of a data set's splits, one after the other; each process opens them for itself."""

    entry: Entry
    path: Path

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(found.count for found in self._splits)

    def read(self, i: int) -> Image.Image:
        """Return an image. Raises UserError if it is damaged."""
        train, reference = self._splits
        return train.read(i) if i < train.count else reference.read(i - train.count)

    @cached_property
    def _splits(self) -> "tuple[Opened, Opened]":
        from trainers.domains.torchvision.layouts import open_split

        return open_split(self.entry, self.path, "train"), open_split(self.entry, self.path, "reference")

    def __getstate__(self) -> dict[str, Any]:
        return {"entry": self.entry, "path": self.path}


def _below(path: Path) -> list[Path]:
    """Return a file itself, or the files below a folder; hidden ones are no part of a data set."""
    if path.is_file():
        return [path]
    # Follows links, as torchvision does.
    return [Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names if name[0] != "."]


def _content(file: Path, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if size <= WHOLE else "large"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
