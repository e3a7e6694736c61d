"""Differentiable random transforms of images, drawn separately for each image: mirror, colour, translation, cutout.

As in DiffAugment (Zhao et al. 2020). Every function takes images (N, 3, H, W) in [-1, 1] and `draw`, which returns uniform
random numbers in [0, 1) of a given shape, and returns images of the same shape. Nothing waits for the device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config.augmentations import Transform

Draw = Callable[..., Tensor]

#: Greatest translation, and side of a cutout, as shares of the images' side.
SHIFT, CUT = 1 / 8, 1 / 2


def flip(images: Tensor, draw: Draw) -> Tensor:
    """Mirror each image with probability 1/2."""
    return torch.where(draw(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def colour(images: Tensor, draw: Draw) -> Tensor:
    """Shift the brightness by up to a quarter of the range, scale the saturation by 0 to 2 and the contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = (draw(len(images), 1, 1, 1) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)


def translation(images: Tensor, draw: Draw) -> Tensor:
    """Translate by up to an eighth of the side, rows and columns separately; uncovered pixels become grey (0)."""
    n, channels, side, _ = images.shape
    most = round(side * SHIFT)
    for dimension in (2, 3):
        offset = (draw(n, 1) * (2 * most + 1)).long() - most
        source = torch.arange(side, device=images.device) - offset  # (n, side)
        shape = (n, 1, side, 1) if dimension == 2 else (n, 1, 1, side)
        index = source.clamp(0, side - 1).view(shape).expand(n, channels, side, side)
        inside = ((source >= 0) & (source < side)).view(shape)
        images = images.gather(dimension, index) * inside
    return images


def cutout(images: Tensor, draw: Draw) -> Tensor:
    """Make a square of half the side grey (0), centred anywhere in the image."""
    n, _, side, _ = images.shape
    half = round(side * CUT / 2)
    positions = torch.arange(side, device=images.device)
    rows, columns = ((positions - (draw(n, 1) * (side + 1)).long()) for _ in range(2))
    in_rows, in_columns = ((distance >= -half) & (distance < half) for distance in (rows, columns))
    return images * ~(in_rows[:, None, :, None] & in_columns[:, None, None, :])


TRANSFORMS: dict[Transform, Callable[[Tensor, Draw], Tensor]] = {
    "flip": flip,
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}
