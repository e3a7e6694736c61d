"""The built-in domains: rendered, or shipped with scikit-learn; deterministic, in colour, at 8 to 64 pixels.

Every image's parameters are drawn before it is rendered and do not depend on the resolution, so a sample looks the same at
each. Geometry is in units of the image's side.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache, partial

import numpy as np
from PIL import Image

from trainers.common.seeds import derive_seed
from trainers.domains.base import SMALLEST, Domain, Images, Split, check_range
from trainers.domains.knobs import Knobs, Selected
from trainers.domains.rendering.draws import Draws
from trainers.domains.rendering.glyphs import render_glyphs
from trainers.domains.rendering.patterns import SHAPES, TEXTURES, render_shapes, render_textures
from trainers.domains.rendering.shift import shifted
from trainers.domains.subsets import subset

LARGEST = 64

#: Images of a class that are drawn at once where there may be any number.
BLOCK = 250

#: labels int64 (N,), resolution, random draws -> uint8 (N, H, W, 3)
Renderer = Callable[[np.ndarray, int, Draws], np.ndarray]


class Rendered(Domain):
    """A domain drawn by a program. Its fingerprint bears a version, to be raised whenever the drawing changes."""

    licence = "Apache-2.0 (rendered here)"
    _counts = {"train": 4000, "reference": 1000}  # noqa: RUF012 - a constant

    def __init__(self, name: str, version: int, classes: tuple[str, ...], about: str, render: Renderer) -> None:
        self.name = name
        self.fingerprint = f"{name}/{version}"
        self.classes = classes
        self.about = about
        self._render = render
        self._knobs = Knobs()
        self._seed = self.fingerprint
        self.load = cache(self.load)  # type: ignore[method-assign]

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return self._counts[split]

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is in range."""
        check_range(self.name, resolution, SMALLEST, LARGEST)

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split: the classes in turn."""
        return np.arange(self.count(split)) % len(self.classes)

    def load(self, split: Split, resolution: int) -> Images:
        """Render a split: each image different."""
        self.check_resolution(resolution)
        labels = self.labels(split)
        return Images(self.draw(labels, resolution, "domain", self._seed, split), labels)

    def draw(self, labels: np.ndarray, resolution: int, *seed: str | int) -> np.ndarray:
        """Return images uint8 (N, H, H, 3) of classes int64 (N,), as decided by a seed."""
        random = Draws(np.random.default_rng(derive_seed(*seed)), self._knobs.spread)
        return shifted(self._render(labels, resolution, random), self._knobs.shift)

    def turned(self, knobs: Knobs) -> Domain:
        """Return the domain as the knobs set it: `spread` and `shift` change how the very same images are drawn."""
        knobbed = copy(self)
        knobbed._knobs = replace(knobs, classes=None, per_class=None)
        if knobbed._knobs != Knobs():
            knobbed.fingerprint, knobbed.name = (f"{each}[{knobbed._knobs}]" for each in (self.fingerprint, self.name))
            knobbed.about = f"{self.about}, {knobbed._knobs}"
            knobbed.load = cache(partial(Rendered.load, knobbed))  # type: ignore[method-assign]
        selected = replace(knobs, spread=1.0, shift=0.0)
        if selected == Knobs():
            return knobbed
        kind = Selected if knobs.per_class is None else Redrawn
        found = kind(knobbed, selected, f"{self.name}[{knobs}]")
        found.fingerprint, found.about = f"{self.fingerprint}[{knobs}]", f"{self.about}, {knobs}"
        return found


class Redrawn(Selected):
    """Any number of training images of each of some classes of a rendered domain."""

    base: Rendered

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return len(self.kept) * self._each if split == "train" else super().count(split)

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split."""
        return np.repeat(np.arange(len(self.kept)), self._each) if split == "train" else super().labels(split)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split's images; the training images are drawn in blocks of a class, so that the 100 are in the 1,000."""
        if split == "train" and (split, resolution) not in self._loaded:
            self.check_resolution(resolution)
            drawn = []
            for label in self.kept:
                for block in range(0, self._each, BLOCK):
                    # Always a whole block: its draws must not depend on how many of them are wanted.
                    seed = ("block", self.base.fingerprint.partition("[")[0], self.base.classes[label], block)
                    whole = self.base.draw(np.full(BLOCK, label), resolution, *seed)
                    drawn.append(whole[: self._each - block])
            self._loaded[split, resolution] = Images(np.concatenate(drawn), self.labels(split))
        return super().load(split, resolution)

    @property
    def _each(self) -> int:
        assert self.knobs.per_class is not None
        return self.knobs.per_class


class Digits(Domain):
    """The 1,797 handwritten digits of 43 people that ship with scikit-learn, 8x8 pixels in 17 shades (Kaynak 1995)."""

    name = "digits"
    fingerprint = "digits/1"
    classes = tuple("0123456789")
    about = "real handwritten digits, 8x8 scans enlarged"
    licence = "CC BY 4.0 (UCI, scikit-learn)"
    _train = 1000

    def __init__(self) -> None:
        self.load = cache(self.load)  # type: ignore[method-assign]

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return self._train if split == "train" else 1797 - self._train

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is in range."""
        check_range(self.name, resolution, SMALLEST, LARGEST)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split, enlarged smoothly."""
        self.check_resolution(resolution)
        from sklearn.datasets import load_digits

        scans = load_digits()
        labels = scans.target.astype(np.int64)
        # Class-balanced: in the file's own order, one person's digits would fall into one split.
        order = subset(labels, len(labels), len(labels), derive_seed("split", self.fingerprint))
        chosen = order[: self._train] if split == "train" else order[self._train :]
        size = (resolution, resolution)
        enlarged = [
            Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC)
            for scan in (scans.images[chosen] * (255 / 16)).astype(np.float32)
        ]
        grey = np.stack([np.asarray(image) for image in enlarged]).clip(0, 255).round().astype(np.uint8)
        return Images(np.repeat(grey[..., None], 3, axis=-1), labels[chosen])


_CAPITALS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NUMERALS = tuple("0123456789")

BUILTIN: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Rendered("letters", 1, _CAPITALS, "printed capitals A to Z", render_glyphs(_CAPITALS)),
        Rendered("numerals", 1, _NUMERALS, "printed numerals 0 to 9", render_glyphs(_NUMERALS)),
        Rendered("shapes", 1, tuple(SHAPES), "coloured shapes on coloured grounds", render_shapes),
        Rendered("textures", 1, tuple(TEXTURES), "coloured patterns that fill the image", render_textures),
        Digits(),
    )
}
