"""The base class of domains whose images are in files: decoded once into the prepared cache, then mapped into memory."""

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from trainers.common.errors import UserError
from trainers.domains.base import SMALLEST, SPLITS, Domain, Images, Progress, Skipped, Split, check_range
from trainers.domains.files import decode_all, prepared_cache
from trainers.domains.files.decode_all import Records
from trainers.domains.files.decode_image import Fit
from trainers.domains.files.prepared_cache import Index
from trainers.domains.files.split_names import (
    REFERENCE_EVERY,
    Layout,
    encoded,
    reference_every,
    splits_and_classes,
)


@dataclass(frozen=True)
class Arrangement:
    """The splits and classes of a collection.

    Attributes:
        rows: indices of each split's images among the collection's items, int64 (N,), ascending.
        classes: class names in label order; empty if there are no labels.
        labels: labels of each split's images, int64 (N,); None if there are no classes.
        outside: by index, the reason why a readable item is in neither split.
    """

    rows: dict[Split, np.ndarray]
    classes: tuple[str, ...]
    labels: dict[Split, np.ndarray | None]
    outside: Mapping[int, str] = field(default_factory=dict)


class Collection(Domain):
    """Images in files. Unreadable files are known only after all files have been decoded, which happens once."""

    licence = "the owner's"
    fit: Fit = "crop"

    #: Identity of the files on disk, known without decoding them.
    listing: str

    #: What the listing leaves out before any image is decoded.
    _ignored: Sequence[Skipped] = ()

    #: The resolution last checked. If images must be decoded just to be counted, they are prepared at this resolution.
    _checked = SMALLEST

    @abstractmethod
    def records(self) -> Records:
        """Return all items; some of them may not be images."""

    @abstractmethod
    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint, given the sha256 of each item, or "" for an item that is not an image."""

    @abstractmethod
    def item(self, i: int) -> str:
        """Return the name of item i."""

    @abstractmethod
    def arrange(self, unreadable: Mapping[int, str]) -> Arrangement:
        """Return the splits and classes of all items but the unreadable ones, which are given by index, with the reasons.

        Raises:
            UserError: a split is empty.
        """

    @property
    def fingerprint(self) -> str:  # type: ignore[override]  # computed on demand
        """Identity of the readable images and of how they are made square."""
        return self._index.fingerprint + ("" if self.fit == "crop" else f"/{self.fit}")

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # computed on demand
        """Class names in label order; empty if there are no labels."""
        return self._arrangement.classes

    @property
    def skipped(self) -> tuple[Skipped, ...]:  # type: ignore[override]  # computed on demand
        """The items that are not used, and what the listing leaves out."""
        reasons = {**self._index.unreadable, **self._arrangement.outside}
        return (*(Skipped(self.item(i), reasons[i]) for i in sorted(reasons)), *self._ignored)

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return len(self._arrangement.rows[split])

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split, or None if the domain has no classes."""
        return self._arrangement.labels[split]

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is between 4 and 1024 pixels."""
        check_range(self.name, resolution, 4, 1024)
        self._checked = resolution

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split at a resolution, mapped from disk; the images are prepared first if necessary."""
        loaded: dict[tuple[Split, int], Images] = self.__dict__.setdefault("_loaded", {})
        if (split, resolution) not in loaded:
            self.prepare(resolution)
            images = self._mapped(self._index.fingerprint, split, resolution)
            assert images is not None, "the images have just been prepared"
            loaded[split, resolution] = Images(images, self.labels(split))
        return loaded[split, resolution]

    def prepare(self, resolution: int, progress: Progress = lambda done, total: None) -> None:
        """Decode all images at a resolution into the cache, unless it has them; resumes the work of a killed process.

        Raises:
            UserError: too few images can be read, or the cache cannot be written.
        """
        self.check_resolution(resolution)
        if self._prepared(resolution):
            return
        records, name = self.records(), prepared_cache.variant(resolution, self.fit)
        with prepared_cache.preparing(self.listing, name) as partial:
            if self._prepared(resolution):  # by the process that held the lock
                return
            hashes, unreadable = decode_all.decode(records, resolution, self.fit, partial, progress)
            index = Index(self.identify(hashes), unreadable)
            arrangement = self.arrange(unreadable)
            decode_all.publish(records, resolution, self.fit, partial, index.fingerprint, arrangement.rows)
            prepared_cache.write_index(self.listing, index)

    def verify(self, resolution: int) -> list[Split]:
        """Discard the prepared splits that do not match their checksum, and return them; `prepare` makes them again."""
        if not self._prepared(resolution):
            return []
        name = prepared_cache.variant(resolution, self.fit)
        damaged = [split for split in SPLITS if prepared_cache.is_damaged(self._index.fingerprint, split, name)]
        for split in damaged:
            prepared_cache.discard(self._index.fingerprint, split, name)
        return damaged

    def near_duplicates(self, resolution: int) -> int:
        """Return the number of reference images with a near-duplicate in the train split, see `near_duplicates`."""
        from trainers.domains.files.near_duplicates import near_duplicates

        if resolution < SMALLEST:
            return 0
        train, reference = (self.load(split, resolution).images for split in SPLITS)
        name = f"duplicates-{prepared_cache.variant(resolution, self.fit)}"
        return prepared_cache.cached(self._index.fingerprint, name, lambda: int((near_duplicates(train, reference) >= 0).sum()))

    def padded(self) -> "Collection":
        """Return the same collection with its images padded with white instead of cropped."""
        other = copy.copy(self)
        other.__dict__.pop("_loaded", None)
        other.fit = "pad"
        other.name = f"{self.name}[fit=pad]"
        return other

    def _prepared(self, resolution: int) -> bool:
        index = prepared_cache.read_index(self.listing)
        return index is not None and all(
            self._mapped(index.fingerprint, split, resolution) is not None for split in SPLITS
        )  # fmt: skip

    def _mapped(self, fingerprint: str, split: Split, resolution: int) -> np.ndarray | None:
        return prepared_cache.mapped(fingerprint, split, prepared_cache.variant(resolution, self.fit))

    @cached_property
    def _index(self) -> Index:
        if not (index := prepared_cache.read_index(self.listing)):
            self.prepare(self._checked)
            index = prepared_cache.read_index(self.listing)
            assert index is not None, "the images have just been prepared"
        return index

    @cached_property
    def _arrangement(self) -> Arrangement:
        return self.arrange(self._index.unreadable)


class NamedFiles(Collection):
    """A collection whose files have names, with folders or a file for splits and classes (`split_names`, `label_files`)."""

    #: What the folders of the files mean.
    layout: Layout

    #: The names of the files, and the same without the folders that all of them share.
    _names: list[str]
    _paths: list[str]

    def item(self, i: int) -> str:
        """Return the name of file i."""
        return self._names[i]

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the files' names and contents."""
        return content_fingerprint(self._paths, hashes, self.layout)

    def arrange(self, unreadable: Mapping[int, str]) -> Arrangement:
        """Return the splits and classes of the files, see `split_names` and `Collection.arrange`."""
        readable = readable_items(self.name, self._names, unreadable)
        used = _inside(self.layout, readable)
        arrangement = by_split(self.name, used, *splits_and_classes(self.layout, self._paths, used))
        return replace(arrangement, outside=dict.fromkeys(sorted({*readable} - {*used}), self.layout.outside))


def by_split(domain: str, rows: Sequence[int], splits: Sequence[Split], classes: Sequence[str]) -> Arrangement:
    """Return the arrangement of the items `rows` of a domain, given the split and the class of each ("" for none).

    There are labels only if every item has a class and there are two classes or more.

    Raises:
        UserError: a split is empty.
    """
    different = set(classes)
    names = () if "" in different or len(different) < 2 else tuple(sorted(different))
    labels = {name: label for label, name in enumerate(names)}
    members_of = {split: [i for i, item in enumerate(splits) if item == split] for split in SPLITS}
    for split, members in members_of.items():
        if not members:
            raise UserError(f"domain {domain!r} has no readable image in its {split} split; add images to it")
    return Arrangement(
        {split: np.array([rows[i] for i in members], np.int64) for split, members in members_of.items()},
        names,
        {
            split: np.array([labels[classes[i]] for i in members], np.int64) if names else None
            for split, members in members_of.items()
        },
    )


def content_fingerprint(names: Sequence[str], hashes: Sequence[str], folders: Layout) -> str:
    """Return the identity of files by their names and the hashes of their contents, in a folder or in an archive alike.

    Files outside the folders of the splits are left out. Version 3 marks small collections without folders for splits: of
    these version 2 had one image in five as reference. Version 4 marks layouts that version 2 took for classes, version 5
    collections with labels in a file.
    """
    used = _inside(folders, [i for i, content in enumerate(hashes) if content])
    divided = folders.splits is None and reference_every(len(used)) != REFERENCE_EVERY
    digest = hashlib.sha256()
    for i in used:
        label = f"\0{folders.classes[i]}" if folders.labels_from else ""
        digest.update(encoded(f"{names[i]}\0{hashes[i]}{label}\n"))
    version = 5 if folders.labels_from else 4 if folders.later else 3 if divided else 2
    return f"files/{version}:{digest.hexdigest()[:32]}"


def _inside(folders: Layout, readable: Sequence[int]) -> list[int]:
    """Return the readable files without those outside the folders of the splits."""
    return [i for i in readable if folders.splits is None or folders.splits[i]]


def readable_items(domain: str, names: Sequence[str], unreadable: Mapping[int, str]) -> list[int]:
    """Return the indices of a domain's items, whose names are `names`, without the unreadable ones.

    Raises:
        UserError: fewer than two items are readable.
    """
    readable = [i for i in range(len(names)) if i not in unreadable]
    if len(readable) < 2:
        first = [f"{names[i]} ({unreadable[i]})" for i in sorted(unreadable)[:3]]
        shown = f"; unreadable: {', '.join(first)}" if first else ""
        raise UserError(f"domain {domain!r} has {len(readable)} readable images and needs two or more{shown}")
    return readable
