"""The built-in domains: rendered, or shipped with scikit-learn. They are deterministic, in colour, at 8 to 64 pixels.

The parameters of an image are drawn before it is rendered and do not depend on the resolution, so an image looks the same at
every resolution. Geometry is in units of the image's side.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

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

#: Images per draw where their number is not fixed, see `Redrawn`.
BLOCK = 250

#: (labels int64 (N,), resolution, random draws) -> images uint8 (N, H, W, 3)
Renderer = Callable[[np.ndarray, int, Draws], np.ndarray]


class Rendered(Domain):
    """A domain drawn by a program. Its fingerprint contains a version, to be raised whenever the drawing changes."""

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
        """Return the number of images in a split."""
        return self._counts[split]

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is in range."""
        check_range(self.name, resolution, SMALLEST, LARGEST)

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split, cycling through the classes."""
        return np.arange(self.count(split)) % len(self.classes)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split, rendered; all images differ."""
        self.check_resolution(resolution)
        labels = self.labels(split)
        return Images(self.draw(labels, resolution, "domain", self._seed, split), labels)

    def draw(self, labels: np.ndarray, resolution: int, *seed: str | int) -> np.ndarray:
        """Return images uint8 (N, H, H, 3) of the classes `labels` int64 (N,), drawn with a seed."""
        random = Draws(np.random.default_rng(derive_seed(*seed)), self._knobs.spread)
        return shifted(self._render(labels, resolution, random), self._knobs.shift)

    def adjusted(self, knobs: Knobs) -> Domain:
        """Return the domain with its knobs applied; `spread` and `shift` change how the same images are drawn."""
        drawn = copy(self)
        drawn._knobs = replace(knobs, classes=None, per_class=None)
        if drawn._knobs != Knobs():
            drawn.fingerprint, drawn.name = (f"{text}[{drawn._knobs}]" for text in (self.fingerprint, self.name))
            drawn.about = f"{self.about}, {drawn._knobs}"
            drawn.load = cache(partial(Rendered.load, drawn))  # type: ignore[method-assign]
        selected = replace(knobs, spread=1.0, shift=0.0)
        if selected == Knobs():
            return drawn
        kind = Selected if knobs.per_class is None else Redrawn
        domain = kind(drawn, selected, f"{self.name}[{knobs}]")
        domain.fingerprint, domain.about = f"{self.fingerprint}[{knobs}]", f"{self.about}, {knobs}"
        return domain


class Redrawn(Selected):
    """Some classes of a rendered domain, with any number of training images of each."""

    base: Rendered

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return len(self.kept) * self._per_class if split == "train" else super().count(split)

    def labels(self, split: Split) -> np.ndarray:
        """Return the labels int64 (N,) of a split."""
        return np.repeat(np.arange(len(self.kept)), self._per_class) if split == "train" else super().labels(split)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split's images. Training images are drawn in blocks of one class, so the 100 are among the 1,000."""
        if split == "train" and (split, resolution) not in self._loaded:
            self.check_resolution(resolution)
            drawn = []
            for label in self.kept:
                for block in range(0, self._per_class, BLOCK):
                    # Always a complete block, so that its draws do not depend on the number of images wanted.
                    seed = ("block", self.base.fingerprint.partition("[")[0], self.base.classes[label], block)
                    images = self.base.draw(np.full(BLOCK, label), resolution, *seed)
                    drawn.append(images[: self._per_class - block])
            self._loaded[split, resolution] = Images(np.concatenate(drawn), self.labels(split))
        return super().load(split, resolution)

    @property
    def _per_class(self) -> int:
        assert self.knobs.per_class is not None
        return self.knobs.per_class


class Digits(Domain):
    """The 1,797 handwritten digits of 43 people shipped with scikit-learn, 8x8 pixels in 17 shades of grey (Kaynak 1995)."""

    name = "digits"
    fingerprint = "digits/1"
    classes = tuple("0123456789")
    about = "real handwritten digits, 8x8 scans enlarged"
    licence = "CC BY 4.0 (UCI, scikit-learn)"
    _train = 1000

    def __init__(self) -> None:
        self.load = cache(self.load)  # type: ignore[method-assign]

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return self._train if split == "train" else 1797 - self._train

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless the resolution is in range."""
        check_range(self.name, resolution, SMALLEST, LARGEST)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split, enlarged with bicubic interpolation."""
        self.check_resolution(resolution)
        scans = _scans()
        pixels, labels = scans[:, :-1].reshape(-1, 8, 8), scans[:, -1].astype(np.int64)
        # Class-balanced and shuffled: in the file's order all digits of one person would fall into one split.
        order = subset(labels, len(labels), len(labels), derive_seed("split", self.fingerprint), balanced=True)
        chosen = order[: self._train] if split == "train" else order[self._train :]
        size = (resolution, resolution)
        enlarged = [
            Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC)
            for scan in (pixels[chosen] * (255 / 16)).astype(np.float32)
        ]
        grey = np.stack([np.asarray(image) for image in enlarged]).clip(0, 255).round().astype(np.uint8)
        return Images(np.repeat(grey[..., None], 3, axis=-1), labels[chosen])


def _scans() -> np.ndarray:
    """Return scikit-learn's file of digits, (1797, 65): 64 pixels from 0 to 16, and the class.

    The file is read directly because an import of `sklearn.datasets` takes 2 s, in the process of each trial.
    """
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


_CAPITALS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NUMERALS = tuple("0123456789")

BUILTIN: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Rendered("letters", 1, _CAPITALS, "printed capitals A to Z", render_glyphs(_CAPITALS)),
        Rendered("numerals", 1, _NUMERALS, "printed numerals 0 to 9", render_glyphs(_NUMERALS)),
        Rendered("shapes", 1, tuple(SHAPES), "coloured shapes on coloured backgrounds", render_shapes),
        Rendered("textures", 1, tuple(TEXTURES), "coloured patterns that fill the image", render_textures),
        Digits(),
    )
}
