"""The built-in domains: rendered, or shipped with scikit-learn; deterministic, in colour, at 8 to 64 pixels.

Every image's parameters are drawn before it is rendered and do not depend on the resolution, so a sample looks the same at
each. Geometry is in units of the image's side.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from trainers.domains.domain import Domain, Images, Split, check_range
from trainers.domains.glyphs import render_glyphs
from trainers.domains.patterns import SHAPES, TEXTURES, render_shapes, render_textures
from trainers.domains.subsets import subset
from trainers.seeds import derive_seed

SMALLEST, LARGEST = 8, 64

#: labels int64 (N,), resolution, random generator -> uint8 (N, H, W, 3)
Renderer = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


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
        self.load = cache(self.load)  # type: ignore[method-assign]

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return self._counts[split]

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is in range."""
        check_range(self.name, resolution, SMALLEST, LARGEST)

    def load(self, split: Split, resolution: int) -> Images:
        """Render a split: the classes in turn, each image different."""
        self.check_resolution(resolution)
        labels = np.arange(self.count(split)) % len(self.classes)
        random = np.random.default_rng(derive_seed("domain", self.fingerprint, split))
        return Images(self._render(labels, resolution, random), labels)


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
