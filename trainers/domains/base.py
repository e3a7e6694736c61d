"""The base class of domains: a named image distribution with a fixed train and reference split."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trainers.common.errors import UserError

Split = Literal["train", "reference"]

SPLITS: tuple[Split, ...] = get_args(Split)

#: Called with the number of images prepared so far and their total number.
Progress = Callable[[int, int], None]

#: The smallest resolution that every domain offers, pixels.
SMALLEST = 8


@dataclass(frozen=True)
class Images:
    """Images uint8 (N, H, W, 3) and their labels int64 (N,), or None if the domain has no classes. Both are read-only."""

    images: np.ndarray
    labels: np.ndarray | None

    def __post_init__(self) -> None:
        for array in (self.images, self.labels):
            if array is not None:
                array.flags.writeable = False  # they are loaded once per process and shared


@dataclass(frozen=True)
class Skipped:
    """A file, a row or another part of a domain's data that is not used, and the reason in a few words."""

    name: str
    reason: str


class Domain(ABC):
    """A named image distribution.

    Attributes:
        name: the name in a sweep file, in canonical form.
        fingerprint: identity of the content, part of every trial's key.
        classes: class names in label order; empty if the domain has no labels.
        about: what the images show, in a few words.
        licence: the images' licence.
        skipped: the files that are not used.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    about: str
    licence: str
    skipped: tuple[Skipped, ...] = ()

    @abstractmethod
    def count(self, split: Split) -> int:
        """Return the number of images in a split."""

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split, or None if the domain has no classes."""
        return self.load(split, SMALLEST).labels

    @abstractmethod
    def load(self, split: Split, resolution: int) -> Images:
        """Return a split's images at a resolution (pixels): the same read-only arrays at every call."""

    def pick(self, split: Split, resolution: int, rows: np.ndarray) -> Images:
        """Return a copy of the images of a split at the indices `rows`, int64 (N,)."""
        data = self.load(split, resolution)
        return Images(data.images[rows], None if data.labels is None else data.labels[rows])

    @abstractmethod
    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the domain is available at a resolution (pixels)."""

    def prepare(self, resolution: int, progress: Progress = lambda done, total: None) -> None:
        """Prepare the images at a resolution so that `load` is fast in every process; the first call may take long."""
        self.check_resolution(resolution)


def check_range(name: str, resolution: int, low: int, high: int) -> None:
    """Raise UserError unless low <= resolution <= high; the caller says which setting it is."""
    if not low <= resolution <= high:
        raise UserError(f"domain {name!r} is available at {low} to {high} pixels, not at {resolution}")
