"""torchvision's data sets as domains, in folders under one root; downloaded only on request. Only reading needs torch."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
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
from trainers.domains.base import SPLITS, Skipped, Split
from trainers.domains.files.collection import Arrangement, Collection
from trainers.domains.torchvision.catalogue import CATALOGUE, Entry

if TYPE_CHECKING:
    from trainers.domains.torchvision.layouts import Opened

#: The fingerprint covers the contents of files up to this size, and only the size of larger ones, bytes.
HASHED = 64 * 2**20

#: Part of every fingerprint; to be raised whenever a split or the reading of an image changes.
VERSION = 1


def data_root() -> Path:
    """Return the folder with a sub-folder per data set: TRANSFERGAN_DATA, or ~/.cache/transfergan/data."""
    return Path(os.environ.get("TRANSFERGAN_DATA") or "~/.cache/transfergan/data").expanduser().absolute()


@cache
def torchvision_domain(name: str, root: Path) -> "TorchvisionDomain":
    """Return the domain of a name in `CATALOGUE` under a root; the same object at every call within a process."""
    return TorchvisionDomain(CATALOGUE[name], root)


class TorchvisionDomain(Collection):
    """A data set in its official layout. All but `ready`, `absent` and `download` raise UserError if it is missing."""

    def __init__(self, entry: Entry, root: Path) -> None:
        """Describe a data set under a root without reading it."""
        self.entry = entry
        self.name = entry.name
        self.about = entry.about
        self.licence = entry.licence
        self.path = root / (entry.folder or entry.name)
        self._split = cache(self._split)  # type: ignore[method-assign]

    def ready(self) -> str | None:
        """Return one line about what is missing and where to place it, or None if the domain can be read."""
        absent = self.absent()
        if absent is not None:
            return f"lacks {absent}; place {self.entry.files} in {self.path}"
        if self.entry.package and find_spec(self.entry.package) is None:
            return f"needs the {self.entry.package} package; pip install {self.entry.package}"
        return None

    def absent(self) -> str | None:
        """Return the outermost missing file or folder, relative to `path`, or None if nothing is missing."""
        for need in map(Path, self.entry.needs):
            for part in (*reversed(need.parents[:-1]), need):
                if not (self.path / part).exists():
                    return part.as_posix()
        return None

    def download(self) -> None:
        """Download what is missing through torchvision.

        Raises:
            UserError: torchvision cannot download the data set, or the download failed.
        """
        if self.absent() is None:
            return
        if not self.entry.download:
            raise UserError(f"domain {self.name!r} cannot be downloaded by torchvision: it {self._missing()}")
        from trainers.domains.torchvision.layouts import download

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            download(self.entry, self.path)
        except Exception as error:  # the network, a full disk, a checksum, an error of a helper: all for the user to resolve
            reason = " ".join(str(error).split()) or type(error).__name__
            by_hand = f"place {self.entry.files} in {self.path} by hand, from {self.entry.source}"
            raise UserError(f"domain {self.name!r} could not be downloaded: {reason}; try again, or {by_hand}") from error

    @property
    def fingerprint(self) -> str:  # type: ignore[override]  # computed on demand
        """Identity of the content; an official data set has no unreadable images."""
        return self.listing + ("" if self.fit == "crop" else f"/{self.fit}")

    @cached_property
    def listing(self) -> str:  # type: ignore[override]  # computed on demand
        """Identity of the content: names and sizes of the files, and the contents of files up to 64 MiB.

        Reading them takes minutes for the largest data sets. So the identity is stored with the data, if the folder is
        writable, together with a hash of every file's name, size and modification time; the files are read again only if one
        of these has changed.
        """
        self._check()
        files = sorted(file for need in self.entry.needs for file in _below(self.path / need))
        listing = [(file.relative_to(self.path).as_posix(), file.stat()) for file in files]
        seen = _digest(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in listing)
        stored = self.path / f".{self.name}.fingerprint.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(stored.read_text())
            if (record["version"], record["seen"]) == (VERSION, seen):
                return str(record["fingerprint"])
        content = _digest(f"{name}\0{stat.st_size}\0{_content(self.path / name, stat.st_size)}" for name, stat in listing)
        fingerprint = f"{self.name}/{VERSION}:{content[:32]}"
        with suppress(OSError):
            write_json(stored, {"version": VERSION, "seen": seen, "fingerprint": fingerprint})
        return fingerprint

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # read on demand
        """Class names in label order; empty if there are no labels."""
        return self._split("train").classes

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return self._split(split).count

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split, or None if the domain has no classes."""
        opened = self._split(split)
        if not self.classes:
            return None
        unknown = sorted(set(opened.classes) - set(self.classes))
        if unknown:
            raise UserError(
                f"domain {self.name!r}: {self.path} has {split} images of class {unknown[0]!r} but no train images; add some"
            )
        labels = [self.classes.index(name) for name in opened.classes]
        return np.array([labels[label] for label in opened.labels], np.int64)

    @property
    def skipped(self) -> tuple[Skipped, ...]:  # type: ignore[override]  # computed on demand
        """The images that the official lists name and that this copy does not have."""
        return tuple(Skipped(name, "not in this copy") for split in SPLITS for name in self._split(split).absent)

    def item(self, i: int) -> str:
        """Return the number of image i in its split."""
        train = self.count("train")
        return f"train image {i}" if i < train else f"reference image {i - train}"

    def records(self) -> "BothSplits":
        """Return the images of the train split, followed by those of the reference split."""
        return BothSplits(self.entry, self.path)

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint, which does not depend on the hashes."""
        return self.listing

    def arrange(self, unreadable: Mapping[int, str]) -> Arrangement:
        """Return the official splits. An unreadable image has raised an error before."""
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
            raise UserError(f"domain {self.name!r} {self._missing()}")

    def _missing(self) -> str:
        how = (
            f"or run: transfergan domains prepare {self.name} --download"
            if self.entry.download
            else f"from {self.entry.source}"
        )
        return f"{self.ready()}, {how}"


@dataclass(frozen=True)
class BothSplits:
    """The images of the train split, followed by those of the reference split; each process opens them itself."""

    entry: Entry
    path: Path

    def __len__(self) -> int:
        return sum(split.count for split in self._splits)

    def read(self, i: int) -> Image.Image:
        """Return image i. Raises UserError if it is damaged."""
        train, reference = self._splits
        return train.read(i) if i < train.count else reference.read(i - train.count)

    @cached_property
    def _splits(self) -> "tuple[Opened, Opened]":
        from trainers.domains.torchvision.layouts import open_split

        return open_split(self.entry, self.path, "train"), open_split(self.entry, self.path, "reference")

    def __getstate__(self) -> dict[str, Any]:
        return {"entry": self.entry, "path": self.path}


def _below(path: Path) -> list[Path]:
    """Return a file itself, or the files in a folder and its sub-folders except hidden ones."""
    if path.is_file():
        return [path]
    # Links are followed, as torchvision does.
    return [Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names if name[0] != "."]


def _content(file: Path, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if size <= HASHED else "large"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
