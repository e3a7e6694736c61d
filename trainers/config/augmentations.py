"""Augmentations: random transforms of the real and the generated images before the critic, in adaptations.

Each is a small class and one line in the registry; `trainers.core.augmenter` applies it. Needs no torch.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from trainers.config.options import Optioned, option, parse

#: Fewest images that ADA holds out; a trial with ADA has at least twice as many.
FEWEST_HELD_OUT = 4

Transform = Literal["flip", "colour", "translation", "cutout"]


@dataclass(frozen=True, kw_only=True)
class Augmentation(Optioned):
    """Base of the augmentations: the transforms in order, and whether a probability adapts to the critic's overfitting."""

    transforms: ClassVar[tuple[Transform, ...]] = ()
    pseudo: ClassVar[bool] = False
    """Whether the probability is that of a generated image in the place of a real one, rather than that of a transform."""

    @property
    def adaptive_target(self) -> float | None:
        """The critic's overfitting signal at which the probability settles; None: all images are transformed."""
        return None

    def ramp(self, batch: int) -> float:
        """Return the change of an adaptive probability per critic step on `batch` real images."""
        return 0.0

    def held_out(self, size: int) -> int:
        """Return how many of `size` training images are not trained on, but measure the overfitting of the critic."""
        return 0


@dataclass(frozen=True, kw_only=True)
class NoAugmentation(Augmentation):
    """Leaves images unchanged."""

    key = "none"


@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Mirrors images at random, so mirror images count as real."""

    key = "flip"
    transforms = ("flip",)


@dataclass(frozen=True, kw_only=True)
class DiffAugment(Augmentation):
    """Colour, translation and cutout (DiffAugment, Zhao et al. 2020)."""

    key = "diffaugment"
    transforms = ("colour", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class _Adaptive(Augmentation):
    """Base of the augmentations with a probability that follows the critic's overfitting.

    One training image in ten, and at least `FEWEST_HELD_OUT`, is held out to measure it.
    """

    target: float = option(0.6, "the critic's overfitting signal to hold", low=0.0, high=1.0)
    images: int = option(500_000, "real images in which the probability could rise from 0 to 1", low=1)

    @property
    def adaptive_target(self) -> float:
        """The option `target`."""
        return self.target

    def ramp(self, batch: int) -> float:
        """Return the share of the option `images` that is shown to the critic in one step."""
        return min(1.0, batch / self.images)

    def held_out(self, size: int) -> int:
        """Return a tenth of `size`, rounded down, or `FEWEST_HELD_OUT`."""
        return max(FEWEST_HELD_OUT, size // 10)


@dataclass(frozen=True, kw_only=True)
class ADA(_Adaptive):
    """Applies each transform with a probability that follows the critic's overfitting (ADA, Karras et al. 2020)."""

    key = "ada"
    transforms = ("flip", "colour", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class APA(_Adaptive):
    """Presents generated images as real with such a probability (adaptive pseudo augmentation, Jiang et al. 2021)."""

    key = "apa"
    pseudo = True


AUGMENTATIONS: dict[str, type[Augmentation]] = {kind.key: kind for kind in (NoAugmentation, Flip, DiffAugment, ADA, APA)}


@cache
def get_augmentation(text: str) -> Augmentation:
    """Return the augmentation that a name with options, such as ``ada[target=0.5]``, stands for.

    Raises:
        UserError: the name is unknown (the nearest names are suggested), or an option is invalid.
    """
    return parse("augmentation", text, AUGMENTATIONS, "ada[target=0.6]")
