"""What a domain is: a named image distribution with a fixed train and reference split."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trainers.common.errors import UserError

Split = Literal["train", "reference"]

SPLITS: tuple[Split, ...] = get_args(Split)

#: Told how many images are prepared, and of how many.
Tell = Callable[[int, int], None]

#: The smallest resolution that every domain can be had at, pixels.
SMALLEST = 8


@dataclass(frozen=True)
class Images:
    """Images uint8 (N, H, W, 3) and their labels int64 (N,), None where the domain has no classes."""

    images: np.ndarray
    labels: np.ndarray | None

    def __post_init__(self) -> None:
        for array in (self.images, self.labels):
            if array is not None:
                array.flags.writeable = False  # loaded once per process and shared


class Domain(ABC):
    """A named image distribution.

    Attributes:
        name: what a sweep file calls it; the same in every process.
        fingerprint: identity of the content, part of every trial's key.
        classes: class names in label order; empty where there are no labels.
        about: what the images show, a few words.
        licence: of the images.
        skipped: files that could not be read.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    about: str
    licence: str
    skipped: tuple[str, ...] = ()

    @abstractmethod
    def count(self, split: Split) -> int:
        """Return how many images a split has."""

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split; None where the domain has no classes."""
        return self.load(split, SMALLEST).labels

    @abstractmethod
    def load(self, split: Split, resolution: int) -> Images:
        """Return a split's images at a resolution (pixels); read-only, the same arrays at every call."""

    def pick(self, split: Split, resolution: int, rows: np.ndarray) -> Images:
        """Return some of a split's images, by their places in it, int64 (N,); a copy."""
        data = self.load(split, resolution)
        return Images(data.images[rows], None if data.labels is None else data.labels[rows])

    @abstractmethod
    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the domain can be had at that resolution."""

    def prepare(self, resolution: int, tell: Tell = lambda done, total: None) -> None:
        """Make `load` fast from now on, in this process and all others; may take long the first time."""
        self.check_resolution(resolution)


def check_range(name: str, resolution: int, low: int, high: int) -> None:
    """Raise UserError unless low <= resolution <= high."""
    if not low <= resolution <= high:
        raise UserError(f"gan.resolution: domain {name!r} can be had at {low} to {high} pixels, not at {resolution}")
