"""A domain whose images lie in files: decoded once into the prepared cache, and mapped into memory from there."""

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainers.common.errors import UserError
from trainers.domains.base import SMALLEST, SPLITS, Domain, Images, Split, Tell, check_range
from trainers.domains.files import decode_all, prepared_cache
from trainers.domains.files.decode_all import Records
from trainers.domains.files.decode_image import Fit
from trainers.domains.files.prepared_cache import Index
from trainers.domains.files.split_names import encoded


@dataclass(frozen=True)
class Arrangement:
    """Which images of a collection are in which split, and of which class.

    Attributes:
        rows: of each split's images among the collection's items, int64 (N,), ascending.
        classes: names in label order; empty where there are no labels.
        labels: of each split's images, int64 (N,); None where there are no classes.
    """

    rows: dict[Split, np.ndarray]
    classes: tuple[str, ...]
    labels: dict[Split, np.ndarray | None]


class Collection(Domain):
    """Images in files. Which of them are whole is known only once all were decoded, which happens once."""

    fit: Fit = "crop"

    #: Identity of the files as they lie there, known without decoding any.
    listing: str

    #: The resolution last checked for: whoever must decode all to count them, prepares them at this one.
    _wanted = SMALLEST

    # -- what a kind of collection says of itself -------------------------------------------------------------------------

    @abstractmethod
    def records(self) -> Records:
        """Return all items, of which some may turn out to be no images."""

    @abstractmethod
    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint, from the sha256 of each item; "" for what is no image."""

    @abstractmethod
    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits and the classes, without the items that are no images.

        Raises:
            UserError: nothing is left to train on, or to measure against.
        """

    # -- what every domain has --------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:  # type: ignore[override]  # found when asked for
        """Identity of the images that can be read, and of how they are made square."""
        return self._index.fingerprint + ("" if self.fit == "crop" else f"/{self.fit}")

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # found when asked for
        """Class names in label order; empty where there are no labels."""
        return self._arranged.classes

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return len(self._arranged.rows[split])

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split; None where the domain has no classes."""
        return self._arranged.labels[split]

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError for a resolution beyond what the harness is made for."""
        check_range(self.name, resolution, 4, 1024)
        self._wanted = resolution

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split at a resolution, prepared first if need be; the images are mapped from disk."""
        loaded: dict[tuple[Split, int], Images] = self.__dict__.setdefault("_loaded", {})
        if (split, resolution) not in loaded:
            self.prepare(resolution)
            images = self._mapped(self._index.fingerprint, split, resolution)
            assert images is not None, "just prepared"
            loaded[split, resolution] = Images(images, self.labels(split))
        return loaded[split, resolution]

    def prepare(self, resolution: int, tell: Tell = lambda done, total: None) -> None:
        """Decode all images at a resolution into the cache, unless they are there; goes on where a killed process was.

        Raises:
            UserError: too few of the images can be read, or the cache cannot be written.
        """
        self.check_resolution(resolution)
        if self._prepared(resolution):
            return
        records, name = self.records(), prepared_cache.variant(resolution, self.fit)
        with prepared_cache.preparing(self.listing, name) as partial:
            if self._prepared(resolution):  # by whoever held the lock
                return
            hashes = decode_all.decode(records, resolution, self.fit, partial, tell)
            unreadable = tuple(i for i, each in enumerate(hashes) if not each)
            index = Index(self.identify(hashes), unreadable)
            arrangement = self.arrange(unreadable)
            decode_all.publish(records, resolution, self.fit, partial, index.fingerprint, arrangement.rows)
            prepared_cache.write_index(self.listing, index)

    def verify(self, resolution: int) -> list[Split]:
        """Return which prepared splits are damaged, by their checksums, and forget them: `prepare` makes them anew."""
        if not self._prepared(resolution):
            return []
        name = prepared_cache.variant(resolution, self.fit)
        found = [split for split in SPLITS if prepared_cache.damaged(self._index.fingerprint, split, name)]
        for split in found:
            prepared_cache.discard(self._index.fingerprint, split, name)
        return found

    def near_duplicates(self, resolution: int) -> int:
        """Return how many reference images are nearly in the train split too, see `trainers.domains.duplicates`."""
        from trainers.domains.files.near_duplicates import near_duplicates

        if resolution < SMALLEST:
            return 0
        train, reference = (self.load(split, resolution).images for split in SPLITS)
        name = f"duplicates-{prepared_cache.variant(resolution, self.fit)}"
        return prepared_cache.kept(self._index.fingerprint, name, lambda: int((near_duplicates(train, reference) >= 0).sum()))

    def padded(self) -> "Collection":
        """Return the same collection with its images between white bars instead of cropped."""
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
        if not (found := prepared_cache.read_index(self.listing)):
            self.prepare(self._wanted)
            found = prepared_cache.read_index(self.listing)
            assert found is not None, "just prepared"
        return found

    @cached_property
    def _arranged(self) -> Arrangement:
        return self.arrange(self._index.unreadable)


def by_split(name: str, rows: Sequence[int], splits: Sequence[Split], kinds: Sequence[str]) -> Arrangement:
    """Return the arrangement of items with a split and a class each ("" for none); labels only where all have a class.

    Raises:
        UserError: a split is empty.
    """
    names = set(kinds)
    classes = () if "" in names or len(names) < 2 else tuple(sorted(names))
    number = {kind: label for label, kind in enumerate(classes)}
    chosen = {split: [i for i, its in enumerate(splits) if its == split] for split in SPLITS}
    for split, members in chosen.items():
        if not members:
            raise UserError(f"domain {name!r} has no readable image in its {split} split")
    return Arrangement(
        {split: np.array([rows[i] for i in members], np.int64) for split, members in chosen.items()},
        classes,
        {
            split: np.array([number[kinds[i]] for i in members], np.int64) if classes else None
            for split, members in chosen.items()
        },
    )


def content_fingerprint(names: Sequence[str], hashes: Sequence[str]) -> str:
    """Return an identity of named files by their contents; wherever they lie, in a folder or in an archive."""
    digest = hashlib.sha256()
    for name, content in zip(names, hashes, strict=True):
        if content:
            digest.update(encoded(f"{name}\0{content}\n"))
    return f"files/2:{digest.hexdigest()[:32]}"


def enough(name: str, names: Sequence[str], unreadable: Iterable[int]) -> list[int]:
    """Return which items can be read.

    Raises:
        UserError: they are fewer than two.
    """
    skipped = set(unreadable)
    readable = [i for i in range(len(names)) if i not in skipped]
    if len(readable) < 2:
        shown = f"; unreadable: {', '.join(names[i] for i in sorted(skipped)[:3])}" if skipped else ""
        raise UserError(f"domain {name!r} has {len(readable)} readable images and needs two or more{shown}")
    return readable
