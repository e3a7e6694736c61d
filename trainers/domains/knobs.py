"""Knobs on a domain: ``letters[classes=5,per_class=2000]`` sets diversity and density; their product is the amount.

`classes` and `per_class` select from any domain with labels. `spread` and `shift` change how a rendered domain is drawn.
`fit` sets how images in files are made square.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, get_args, runtime_checkable

import numpy as np

from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.options import Optioned, option, read, split
from trainers.domains.base import Domain, Images, Progress, Split
from trainers.domains.files.collection import Collection
from trainers.domains.files.decode_image import Fit
from trainers.domains.subsets import subset

_FITS = {fit: fit for fit in get_args(Fit)}


@dataclass(frozen=True, kw_only=True)
class Knobs(Optioned):
    """The options in a domain's name. Their text is part of its fingerprint."""

    classes: int | None = option(None, "diversity: number of classes; the 5 are among the 10", low=1)
    per_class: int | None = option(None, "density: training images of each class; the 100 are among the 200", low=1)
    spread: float = option(1.0, "variation within a class, from 0 (none) to 1 (the domain's own)", low=0, high=1)
    shift: float = option(0.0, "distance that the domain is moved, from 0 (none) to 1", low=0, high=1)
    fit: str = option("crop", "how images are made square: crop to the middle, or pad with white", choices=_FITS)

    @staticmethod
    def number(value: float) -> str:
        """Return a number with six digits, as in the fingerprints of existing trials."""
        return f"{value:g}"


def split_name(text: str) -> tuple[str, Knobs]:
    """Return a domain's name without its knobs, and the knobs.

    >>> split_name("letters[classes=5]")
    ('letters', Knobs(classes=5, per_class=None, spread=1.0, shift=0.0, fit='crop'))

    Raises:
        UserError: a knob is unknown, is given twice, or has a value out of range.
    """
    name, assignments = split(text)
    return name, read(f"domain {text!r}", assignments, Knobs, "letters[classes=5,per_class=100]")


class Selected(Domain):
    """A domain with some of its classes, or fewer training images of each. The reference split keeps all their images."""

    def __init__(self, base: Domain, knobs: Knobs, name: str) -> None:
        """Select the classes; the images are selected when they are needed.

        Raises:
            UserError: the domain has no labels, or fewer classes than `knobs` asks for.
        """
        if not base.classes:
            raise UserError(
                f"domain {name!r}: classes and per_class need class labels, and {base.name!r} has none; leave them out"
            )
        available = len(base.classes)
        if (knobs.classes or 1) > available:
            raise UserError(f"domain {name!r}: {base.name!r} has {available} classes; set classes to {available} or fewer")
        self.name = name
        self.about = f"{base.about}, {knobs}"
        self.licence = base.licence
        self.skipped = base.skipped
        # The classes are a prefix of one order, so the 5 are among the 10.
        order = np.random.default_rng(derive_seed("classes", *base.classes)).permutation(len(base.classes))
        self.kept = np.sort(order[: knobs.classes])
        self.classes = tuple(base.classes[k] for k in self.kept)
        self.fingerprint = f"{base.fingerprint}[{knobs}]"
        self.base, self.knobs = base, knobs
        self._loaded: dict[tuple[Split, int], Images] = {}
        self._rows: dict[Split, np.ndarray] = {}

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return len(self._selected(split))

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split, numbered among the selected classes."""
        labels = self.base.labels(split)
        assert labels is not None, "a domain with classes has labels"
        return np.asarray(np.searchsorted(self.kept, labels[self._selected(split)]), np.int64)

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the domain is available at a resolution (pixels)."""
        self.base.check_resolution(resolution)

    def prepare(self, resolution: int, progress: Progress = lambda done, total: None) -> None:
        """Prepare the base domain."""
        self.base.prepare(resolution, progress)

    def load(self, split: Split, resolution: int) -> Images:
        """Return the selected images of a split."""
        if (split, resolution) not in self._loaded:
            images = self.base.load(split, resolution).images[self._selected(split)]
            self._loaded[split, resolution] = Images(images, self.labels(split))
        return self._loaded[split, resolution]

    def _selected(self, split: Split) -> np.ndarray:
        """Return the indices of the selected images in the base domain's split, ascending."""
        if split not in self._rows:
            labels = self.base.labels(split)
            assert labels is not None, "a domain with classes has labels"
            rows = np.flatnonzero(np.isin(labels, self.kept))
            per_class = self.knobs.per_class
            if split == "train" and per_class is not None:
                available = np.bincount(labels, minlength=len(self.base.classes))[self.kept].min()
                if per_class > available:
                    raise UserError(
                        f"domain {self.name!r}: a class of {self.base.name!r} has {available} training images; "
                        f"set per_class to {available} or fewer"
                    )
                seed = derive_seed("per_class", self.base.fingerprint)
                rows = np.sort(rows[subset(labels[rows], len(rows), per_class * len(self.kept), seed, balanced=True)])
            self._rows[split] = rows
        return self._rows[split]


@cache
def with_knobs(base: Domain, knobs: Knobs, name: str = "") -> Domain:
    """Return a domain with its knobs applied; the same object at every call.

    Raises:
        UserError: the domain does not have one of the knobs, or not as many classes or images.
    """
    name = name or f"{base.name}[{knobs}]"
    if knobs == Knobs():
        return base
    if knobs.fit != "crop":
        if not isinstance(base, Collection):
            raise UserError(f"domain {name!r}: {base.name!r} has square images, so it has no fit; leave it out")
        return with_knobs(base.padded(), replace(knobs, fit="crop"), name)
    if isinstance(base, Adjustable):
        return base.adjusted(knobs)
    for knob in ("spread", "shift"):
        if getattr(knobs, knob) != getattr(Knobs(), knob):
            raise UserError(f"domain {name!r}: {base.name!r} is not rendered, so it has no {knob}; leave it out")
    return Selected(base, knobs, name)


@runtime_checkable
class Adjustable(Protocol):
    """A rendered domain, which can be rendered with other knobs."""

    def adjusted(self, knobs: Knobs) -> Domain:
        """Return the domain with its knobs applied."""
