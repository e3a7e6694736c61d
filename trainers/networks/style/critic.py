"""The critic of StyleGAN 2 (Karras et al. 2020): residual blocks, then the standard deviation of the minibatch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.style.equalised import GAIN, SLOPE, EqualConv, EqualLinear
from trainers.networks.style.filters import blur, down
from trainers.networks.style.generator import channels
from trainers.networks.style.modulated import EPSILON

#: Most images of a group whose standard deviation is taken.
GROUP = 4


def with_deviation(h: Tensor) -> Tensor:
    """Return features (N, C, H, W) and, as one more channel, the mean standard deviation within a group (Karras et al. 2018).

    The groups have the greatest size up to `GROUP` that divides N: images i, i + N / size, i + 2 N / size, ...
    """
    n, _, height, width = h.shape
    size = next(size for size in range(min(GROUP, n), 0, -1) if n % size == 0)
    deviations = (h.view(size, -1, *h.shape[1:]).var(0, correction=0) + EPSILON).sqrt().mean((1, 2, 3))
    return torch.cat([h, deviations.repeat(size).view(n, 1, 1, 1).expand(-1, 1, height, width)], 1)


class Block(nn.Module):
    """A 3x3 convolution, and one that halves the size, added to a 1x1 shortcut; the filter precedes each halving."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualConv(inputs, inputs, 3, padding=1)
        self.conv2 = EqualConv(inputs, outputs, 3, stride=2)
        self.shortcut = EqualConv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        h: Tensor = self.conv2(blur(self.conv1(x), 2)) + self.shortcut(down(x))
        return h / math.sqrt(2)


class Last(nn.Module):
    """The deviation of the minibatch, a 3x3 convolution and a linear layer."""

    def __init__(self, size: int, base: int) -> None:
        super().__init__()
        self.conv = EqualConv(size + 1, size, 3, padding=1)
        self.linear = EqualLinear(size * base**2, size)

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, size, base, base) to (N, size)."""
        h = self.conv(with_deviation(h))
        return F.leaky_relu(self.linear(h.flatten(1)), SLOPE) * GAIN


class Critic(layers.Critic):
    """A block per scale; the class head is AC-GAN's, as in every family here."""

    keeps_images_apart = False

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = channels(gan)
        self.input = EqualConv(3, sizes[0], 1)
        self.blocks = nn.ModuleList([Block(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.last = Last(sizes[-1], gan.base)
        self.score = EqualLinear(sizes[-1], 1)
        self.classify = EqualLinear(sizes[-1], classes) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores and class logits, which depend a little on the other images of the batch."""
        h = self.input(images)
        for block in self.blocks:
            h = block(h)
        return self.heads(self.last(h))
