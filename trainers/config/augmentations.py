"""Augmentations: what real and generated images alike go through before the critic sees them, in an adaptation.

Each is a small class and one line in the registry; `trainers.augmenter` carries it out. Needs no torch.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from trainers.config.options import Optioned, option, parse

Transform = Literal["flip", "colour", "translation", "cutout"]


@dataclass(frozen=True, kw_only=True)
class Augmentation(Optioned):
    """Base of the augmentations: which transforms, in order, and whether how often adapts itself."""

    transforms: ClassVar[tuple[Transform, ...]] = ()

    @property
    def adaptive_target(self) -> float | None:
        """What the critic's overfitting signal is held at by how often an image is transformed; None: always transformed."""
        return None


@dataclass(frozen=True, kw_only=True)
class NoAugmentation(Augmentation):
    """Images as they are."""

    key = "none"


@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Mirrored at random, so that the mirror image of a real one counts as real."""

    key = "flip"
    transforms = ("flip",)


@dataclass(frozen=True, kw_only=True)
class DiffAugment(Augmentation):
    """Colour, translation and cutout (DiffAugment, Zhao et al. 2020)."""

    key = "diffaugment"
    transforms = ("colour", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class ADA(Augmentation):
    """Each transform with a probability that follows the critic's overfitting (ADA, Karras et al. 2020)."""

    key = "ada"
    transforms = ("flip", "colour", "translation", "cutout")
    target: float = option(0.6, "what the critic's overfitting signal is held at", low=0.0, high=1.0)

    @property
    def adaptive_target(self) -> float:
        """As the option says."""
        return self.target


AUGMENTATIONS: dict[str, type[Augmentation]] = {each.key: each for each in (NoAugmentation, Flip, DiffAugment, ADA)}


@cache
def get_augmentation(text: str) -> Augmentation:
    """Return the augmentation of that name, with the options that it bears.

    Raises:
        UserError: there is none of that name (the nearest are named), or an option makes no sense.
    """
    return parse("augmentation", text, AUGMENTATIONS, "ada[target=0.6]")
