"""Path length regularisation (Karras et al. 2020): equal steps of the style make equal steps of the image, in any direction."""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.config.settings import TrainingConfig
from trainers.networks import Generator
from trainers.networks.style.base import StyleGenerator

#: Share of the newest minibatch in the running mean of the lengths.
SHARE = 0.01

#: In the checkpoint.
NAME = "path_length"


class PathLength:
    """The penalty on the distance of the path lengths from their running mean.

    A path length is the norm of the gradient of <image, y> with respect to the styles, with y from N(0, I) divided by the root
    of the number of pixels: the root of the mean, over the layers, of the squared norm.

    Attributes:
        mean: running mean of the lengths, a scalar on the device.
    """

    def __init__(self, config: TrainingConfig, random: torch.Generator | None) -> None:
        """Take the source of all random numbers, on the device of the images; None for that of PyTorch."""
        self._weight = config.path_length * config.path_length_every
        self._random = random
        self.mean = torch.zeros((), device=None if random is None else random.device)

    def penalty(self, generator: Generator, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return the penalty of latents (N, latent), a scalar, and update the running mean."""
        assert isinstance(generator, StyleGenerator)
        styles = generator.training_styles(z, labels, self._random)
        if not styles.requires_grad:  # the map from latents to styles is frozen
            styles = styles.detach().requires_grad_(True)
        images = generator.synthesise(styles, generator.fresh_noise(len(z), self._random))
        y = torch.randn(images.shape, generator=self._random, device=images.device, dtype=images.dtype)
        lengths = path_lengths(images, styles, y)
        # It starts at the first minibatch's mean: from 0 it would take hundreds of penalties, during which all lengths shrink,
        # and with them the variety of the images.
        share = torch.where(self.mean > 0, SHARE, 1.0)
        self.mean.lerp_(lengths.detach().mean().to(self.mean.dtype), share)
        return self._weight * (lengths - self.mean).square().mean()

    def state(self) -> dict[str, Tensor]:
        """Return the running mean, as a checkpoint stores it; empty without a penalty."""
        return {NAME: self.mean} if self._weight else {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])


def path_lengths(images: Tensor, styles: Tensor, y: Tensor) -> Tensor:
    """Return the path lengths (N,) of images (N, 3, H, W) from styles (N, layers, latent), along y of the images' shape."""
    along = (images * y).sum() / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad(along, styles, create_graph=True)
    lengths: Tensor = gradient.square().sum(2).mean(1).sqrt()
    return lengths
