"""Knobs on a domain: ``letters[classes=5,per_class=2000]`` sets diversity and density, whose product is the amount.

`classes` keeps so many classes, `per_class` so many training images of each: both on any domain with labels. The rendered
domains also have `spread`, how much images of a class vary, and `shift`, how far the whole domain is moved from what it is.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol, get_args, runtime_checkable

import numpy as np

from trainers.common.errors import UserError, unknown_name
from trainers.common.seeds import derive_seed
from trainers.domains.base import Domain, Images, Split, Tell
from trainers.domains.files.collection import Collection
from trainers.domains.files.decode_image import Fit
from trainers.domains.subsets import subset

_WITH_KNOBS = re.compile(r"(?P<name>.+)\[(?P<knobs>\s*\w+\s*=[^\[\]]*)\]")


@dataclass(frozen=True)
class Knobs:
    """What a domain's name asks for in brackets; None where it says nothing."""

    classes: int | None = None
    """Diversity: how many classes, 1 or more; the 5 are among the 10."""
    per_class: int | None = None
    """Density: training images of each class, 1 or more; the 100 are among the 200."""
    spread: float | None = None
    """Variation within a class, from 0 (all alike) to 1 (as the domain is)."""
    shift: float | None = None
    """How far the domain is moved, from 0 (not at all) to 1."""
    fit: str | None = None
    """How images that are not square become so: "crop" to the middle, as without it, or "pad" with white."""

    def __str__(self) -> str:
        """Return the knobs as they stand in a name, always in the same order."""
        said = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return ",".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in said if value
                        is not None)  # fmt: skip


def split_name(text: str) -> tuple[str, Knobs]:
    """Return a domain's name without its knobs, and the knobs.

    >>> split_name("letters[classes=5]")
    ('letters', Knobs(classes=5, per_class=None, spread=None, shift=None, fit=None))

    Raises:
        UserError: a knob is unknown, stands there twice, or its value is out of range.
    """
    found = _WITH_KNOBS.fullmatch(text)
    if not found:
        return text, Knobs()
    values: dict[str, float | int | str] = {}
    for knob in found["knobs"].split(","):
        key, _, value = (part.strip() for part in knob.partition("="))
        if key not in _READERS:
            raise UserError(f"domain {text!r}: {unknown_name('knob', key, _READERS)}")
        if key in values:
            raise UserError(f"domain {text!r}: knob {key!r} stands there twice")
        values[key] = _READERS[key](text, key, value)
    if values.get("spread") == 1:  # as the domain is
        del values["spread"]
    if values.get("shift") == 0:
        del values["shift"]
    if values.get("fit") == "crop":
        del values["fit"]
    return found["name"], Knobs(**values)  # type: ignore[arg-type]  # each reader returns its field's type


def _whole(text: str, key: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise UserError(f"domain {text!r}: {key} is a whole number of 1 or more, not {value!r}")
    return int(value)


def _share(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise UserError(f"domain {text!r}: {key} is a number from 0 to 1, not {value!r}")
    return number


def _way(text: str, key: str, value: str) -> str:
    if value not in get_args(Fit):
        raise UserError(f"domain {text!r}: {key} is {' or '.join(get_args(Fit))}, not {value!r}")
    return value


_READERS: dict[str, Callable[[str, str, str], float | int | str]] = {
    "classes": _whole, "per_class": _whole, "spread": _share, "shift": _share, "fit": _way,
}  # fmt: skip


class Selected(Domain):
    """A domain with fewer classes, or fewer training images of each class. Its reference has all images of its classes."""

    def __init__(self, base: Domain, knobs: Knobs, name: str) -> None:
        """Select.

        Raises:
            UserError: the domain has no classes, or fewer than asked for, or a class has fewer images.
        """
        if not base.classes:
            raise UserError(f"domain {name!r}: classes and per_class need class labels, and {base.name!r} has none")
        if (knobs.classes or 1) > len(base.classes):
            raise UserError(f"domain {name!r}: {base.name!r} has {len(base.classes)} classes; set classes to no more")
        self.name = name
        self.about = f"{base.about}, {knobs}"
        self.licence = base.licence
        self.skipped = base.skipped
        # Of one order, so that the 5 classes are among the 10.
        order = np.random.default_rng(derive_seed("classes", *base.classes)).permutation(len(base.classes))
        self.kept = np.sort(order[: knobs.classes])
        self.classes = tuple(base.classes[k] for k in self.kept)
        self.fingerprint = f"{base.fingerprint}[{knobs}]"
        self.base, self.knobs = base, knobs
        self._loaded: dict[tuple[Split, int], Images] = {}
        self._chosen: dict[Split, np.ndarray] = {}

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return len(self._choose(split))

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split: they count the kept classes only."""
        labels = self.base.labels(split)
        assert labels is not None, "a domain with classes has labels"
        return np.asarray(np.searchsorted(self.kept, labels[self._choose(split)]), np.int64)

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the domain can be had at that resolution."""
        self.base.check_resolution(resolution)

    def prepare(self, resolution: int, tell: Tell = lambda done, total: None) -> None:
        """Make the base ready."""
        self.base.prepare(resolution, tell)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split's images of the kept classes."""
        if (split, resolution) not in self._loaded:
            images = self.base.load(split, resolution).images[self._choose(split)]
            self._loaded[split, resolution] = Images(images, self.labels(split))
        return self._loaded[split, resolution]

    def _choose(self, split: Split) -> np.ndarray:
        """Return which of the base's images are in a split, ascending."""
        if split not in self._chosen:
            labels = self.base.labels(split)
            assert labels is not None, "a domain with classes has labels"
            chosen = np.flatnonzero(np.isin(labels, self.kept))
            per_class = self.knobs.per_class
            if split == "train" and per_class is not None:
                least = np.bincount(labels, minlength=len(self.base.classes))[self.kept].min()
                if per_class > least:
                    raise UserError(
                        f"domain {self.name!r}: a class of {self.base.name!r} has {least} training images; "
                        "set per_class to no more"
                    )
                seed = derive_seed("per_class", self.base.fingerprint)
                chosen = np.sort(chosen[subset(labels[chosen], len(chosen), per_class * len(self.kept), seed)])
            self._chosen[split] = chosen
        return self._chosen[split]


def with_knobs(base: Domain, knobs: Knobs, name: str = "") -> Domain:
    """Return a domain as its knobs set it.

    Raises:
        UserError: the domain does not have that knob, or not that many classes or images.
    """
    name = name or f"{base.name}[{knobs}]"
    if knobs == Knobs():
        return base
    if knobs.fit is not None:
        if not isinstance(base, Collection):
            raise UserError(f"domain {name!r}: {base.name!r} has square images, so it has no fit; leave it out")
        return with_knobs(base.padded(), replace(knobs, fit=None), name)
    if isinstance(base, Turnable):
        return base.turned(knobs)
    for knob in ("spread", "shift"):
        if getattr(knobs, knob) is not None:
            raise UserError(f"domain {name!r}: {base.name!r} is not rendered, so it has no {knob}; leave it out")
    return Selected(base, knobs, name)


@runtime_checkable
class Turnable(Protocol):
    """A domain that is rendered, and can be rendered otherwise."""

    def turned(self, knobs: Knobs) -> Domain:
        """Return the domain as the knobs set it."""
