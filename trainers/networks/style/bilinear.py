"""StyleGAN 2 as simplified in lucidrains' stylegan2-pytorch: bilinear up-sampling, and a critic without minibatch statistics.

Written from that layout, so that its checkpoints draw the same images here. Its networks work on images in [0, 1].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.convolutions import convolve
from trainers.networks.layers import Conv
from trainers.networks.style.base import Noise, StyleGenerator
from trainers.networks.style.equalised import SLOPE, EqualLinear
from trainers.networks.style.filters import kernel_like
from trainers.networks.style.generator import MOST, channels
from trainers.networks.style.modulated import Mapping, ModulatedConv

#: Factor of the learning rates in the map from latents to styles.
MAPPING_RATE = 0.1


class Slowed(EqualLinear):
    """A linear layer of weights from N(0, 1) that is multiplied by `MAPPING_RATE`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, rate=MAPPING_RATE)
        self.factor = MAPPING_RATE
        nn.init.normal_(self.weight)


class UnitMapping(Mapping):
    """The map from latents of length 1 to styles, with plain leaky ReLUs."""

    def __init__(self, gan: GanConfig, classes: int) -> None:
        super().__init__(gan, classes, Slowed, MAPPING_RATE)

    def normalise(self, z: Tensor) -> Tensor:
        """Return latents (N, latent) of length 1."""
        return F.normalize(z, dim=1)

    def activate(self, h: Tensor) -> Tensor:
        """Return the activation of a layer (N, latent)."""
        return F.leaky_relu(h, SLOPE)


class Layer(nn.Module):
    """A 3x3 modulated convolution, noise with a strength per channel, a shift and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, latent: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, latent)
        self.strength = nn.Parameter(torch.zeros(outputs))
        self.shift = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map (N, inputs, H, W), styles (N, latent) and noise (N or 1, 1, H, W) to (N, outputs, H, W)."""
        strength, shift = self.strength.view(1, -1, 1, 1), self.shift.view(1, -1, 1, 1)
        return F.leaky_relu(self.conv(x, style) + noise * strength + shift, SLOPE)


class Block(nn.Module):
    """Two layers and their contribution to the image, all of one style."""

    def __init__(self, inputs: int, outputs: int, latent: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = Layer(inputs, outputs, latent), Layer(outputs, outputs, latent)
        self.to_image = ModulatedConv(outputs, 3, 1, latent, demodulate=False)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map (N, outputs, H, W) and the contribution (N, 3, H, W)."""
        h = self.layer2(self.layer1(x, style, noise), style, noise)
        return h, self.to_image(h, style)


class First(nn.Module):
    """The learned constant, a convolution and a block."""

    def __init__(self, size: int, base: int, latent: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, size, base, base))
        self.conv = Conv(size, size, 3)
        self.block = Block(size, size, latent)

    def forward(self, style: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature map (N, size, base, base) and the image (N, 3, base, base)."""
        h: tuple[Tensor, Tensor] = self.block(self.conv(self.constant).expand(style.shape[0], -1, -1, -1), style, noise)
        return h


class Generator(StyleGenerator):
    """A constant, then a block per scale; each takes one style. All layers take the same noise, from U(0, 1), cropped."""

    noise: Tensor

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        sizes = channels(gan)[::-1]
        super().__init__(gan, classes, UnitMapping(gan, classes), layers=gan.scales + 1)
        self.first = First(sizes[0], gan.base, gan.latent)
        self.blocks = nn.ModuleList([Block(a, b, gan.latent) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.register_buffer("noise", torch.rand(1, 1, gan.resolution, gan.resolution))

    def fresh_noise(self, n: int, random: torch.Generator | None) -> Noise:
        """Return what crops one image of noise from U(0, 1) for each of n images."""
        shape, like = (n, *self.noise.shape[1:]), self.noise
        drawn = torch.rand(shape, generator=random, device=like.device, dtype=like.dtype)
        return lambda h: drawn[:, :, : h.shape[2], : h.shape[3]]

    def synthesise(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the images (N, 3, resolution, resolution) of styles (N, layers, latent)."""

        def cropped(h: Tensor) -> Tensor:
            return self.noise[:, :, : h.shape[2], : h.shape[3]] if noise is None else noise(h)

        image: Tensor
        h, image = self.first(styles[:, 0], cropped(self.first.constant))
        for i, block in enumerate(self.blocks, 1):
            h = _double(h)
            h, more = block(h, styles[:, i], cropped(h))
            image = _blur(_double(image)) + more
        return image * 2 - 1


class CriticBlock(nn.Module):
    """Two 3x3 convolutions, then a filter and one that halves the size, added to a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int, *, halves: bool) -> None:
        super().__init__()
        self.stride = 2 if halves else 1
        self.conv1, self.conv2 = Conv(inputs, outputs, 3), Conv(outputs, outputs, 3)
        self.down = Conv(outputs, outputs, 3, he=False) if halves else None
        self.shortcut = Conv(inputs, outputs, 1, he=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        h = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), SLOPE)), SLOPE)
        if self.down is not None:
            h = _strided(_blur(h), self.down, self.stride)
        return (h + _strided(x, self.shortcut, self.stride)) / math.sqrt(2)


class Critic(layers.Critic):
    """A block per scale and two more, of which the last keeps its size; a convolution, and the heads."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = [3, *(min(2 * gan.width * 2**i, MOST) for i in range(gan.scales + 2))]
        self.blocks = nn.ModuleList(
            [CriticBlock(a, b, halves=i <= gan.scales) for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))]
        )
        self.last = Conv(sizes[-1], sizes[-1], 3, he=False)
        self.add_heads(sizes[-1] * math.ceil(gan.base / 2) ** 2, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each image's score and class logits."""
        h = (images + 1) / 2
        for block in self.blocks:
            h = block(h)
        return self.heads(self.last(h).flatten(1))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _blur(x: Tensor) -> Tensor:
    """Return x (N, C, H, W) filtered by [1, 2, 1] in each direction, mirrored at its edges."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel_like(x, 3), groups=x.shape[1])


def _strided(x: Tensor, conv: Conv, stride: int) -> Tensor:
    return convolve(x, conv.weight, conv.bias, stride, conv.kernel_size[0] // 2, conv.low_gradients)
