"""Random transforms of images, differentiable by the images, each image's own: colour, translation, cutout, mirror.

As in DiffAugment (Zhao et al. 2020). Every function takes images (N, 3, H, W) in [-1, 1] and `draw`, which returns uniform
random numbers in [0, 1) of a shape; it returns images of the same shape. Nothing waits for the device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config.augmentations import Transform

Draw = Callable[..., Tensor]

#: How far a translation goes at most, and how wide a cutout is, as shares of the side.
SHIFT, CUT = 1 / 8, 1 / 2


def flip(images: Tensor, draw: Draw) -> Tensor:
    """Mirror half of the images."""
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
    """Move the images by up to an eighth of the side, rows and columns apart; what comes in from outside is grey (0)."""
    n, channels, side, _ = images.shape
    most = round(side * SHIFT)
    for dimension in (2, 3):
        by = (draw(n, 1) * (2 * most + 1)).long() - most
        at = torch.arange(side, device=images.device) - by  # (n, side)
        shape = (n, 1, side, 1) if dimension == 2 else (n, 1, 1, side)
        index = at.clamp(0, side - 1).view(shape).expand(n, channels, side, side)
        inside = ((at >= 0) & (at < side)).view(shape)
        images = images.gather(dimension, index) * inside
    return images


def cutout(images: Tensor, draw: Draw) -> Tensor:
    """Make a square of half the side grey (0), its centre anywhere in the image."""
    n, _, side, _ = images.shape
    half = round(side * CUT / 2)
    places = torch.arange(side, device=images.device)
    rows, columns = ((places - (draw(n, 1) * (side + 1)).long()) for _ in range(2))
    cut = [(at >= -half) & (at < half) for at in (rows, columns)]
    return images * ~(cut[0][:, None, :, None] & cut[1][:, None, None, :])


TRANSFORMS: dict[Transform, Callable[[Tensor, Draw], Tensor]] = {
    "flip": flip,
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}
