"""A light GAN for few images, trained from scratch, after FastGAN (Liu et al. 2021).

The generator has gated units, noise and skip-layer excitation: a small feature map decides how strong each channel is of one
sixteen times as large. The critic also reconstructs real images from its features, which keeps it
from overfitting to few of them.

Where it differs from the paper: the critic gives one score instead of 5x5, and compares pixels, by their mean absolute
difference, where the paper takes a perceptual distance, which needs a pre-trained network; the spectral norms are in the critic
alone; in networks for less than 64 pixels the excitation is from the smallest feature map to the largest.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.dcgan import SLOPE, Down
from trainers.networks.layers import Conv, Linear, channels
from trainers.networks.norms import BatchNorm

#: Scales between the two feature maps of a skip-layer excitation: 8 and 128 pixels, 16 and 256.
GAP = 4

#: Makes a batch norm without ReLU for a number of channels.
Norm = Callable[[int], nn.Module]


def gated(x: Tensor) -> Tensor:
    """Return the first half of the channels of x (N, 2 C, H, W) times the sigmoid of the second."""
    return F.glu(x, dim=1)


class Noisy(nn.Module):
    """A norm and a gated unit of noisy features; the noise is the layer's own or that given."""

    noise: Tensor

    def __init__(self, outputs: int, side: int, norm: Norm) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))
        self.register_buffer("noise", torch.randn(1, 1, side, side))
        self.norm = norm(2 * outputs)

    def forward(self, x: Tensor, labels: Tensor | None, random: torch.Generator | None, *, fresh: bool) -> Tensor:
        """Map (N, 2 * outputs, H, W) to (N, outputs, H, W)."""
        noise = self.noise
        if fresh:
            noise = torch.randn(len(x), 1, *x.shape[2:], generator=random, device=x.device, dtype=x.dtype)
        return gated(self.norm(x + self.strength * noise, labels))


class Excitation(nn.Module):
    """Skip-layer excitation: a factor in (0, 1) for each channel of a large feature map, from a small one pooled to 4x4."""

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.first, self.second = Linear(small * 16, large), Linear(large, large)

    def forward(self, large: Tensor, small: Tensor) -> Tensor:
        """Return the large feature map (N, C, H, W) times its factors."""
        h = F.leaky_relu(self.first(F.adaptive_avg_pool2d(small, 4).flatten(1)), 0.1)
        return large * torch.sigmoid(self.second(h))[:, :, None, None]


class Block(nn.Module):
    """An up-sampling convolution and, in a `deep` one, a second convolution; then the excitation by a smaller feature map."""

    def __init__(self, inputs: int, outputs: int, side: int, norm: Norm, *, deep: bool, small: int | None) -> None:
        super().__init__()
        self.conv1, self.noisy1 = Conv(inputs, 2 * outputs, 3, bias=False), Noisy(outputs, side, norm)
        self.conv2 = Conv(outputs, 2 * outputs, 3, bias=False) if deep else None
        self.noisy2 = Noisy(outputs, side, norm) if deep else None
        self.excitation = None if small is None else Excitation(small, outputs)

    def forward(
        self, x: Tensor, small: Tensor | None, labels: Tensor | None, random: torch.Generator | None, *, fresh: bool
    ) -> Tensor:  # fmt: skip
        """Map (N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        h: Tensor = self.noisy1(self.conv1.up(x), labels, random, fresh=fresh)
        if self.conv2 is not None and self.noisy2 is not None:
            h = self.noisy2(self.conv2(h), labels, random, fresh=fresh)
        if self.excitation is not None:
            h = self.excitation(h, small)
        return h


class Generator(layers.NormGenerator):
    """A block per scale, every other one with two convolutions, then tanh."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        sizes = channels(gan)[::-1]
        super().__init__(gan, classes, 2 * sizes[0])
        self.gap = min(GAP, gan.scales)
        self.norm = self._norm(2 * sizes[0])
        self.blocks = nn.ModuleList(
            [
                Block(
                    sizes[i], sizes[i + 1], gan.base * 2 ** (i + 1), self._norm, deep=i % 2 == 0,
                    small=sizes[i + 1 - self.gap] if i + 1 >= self.gap else None,
                )
                for i in range(gan.scales)
            ]
        )  # fmt: skip
        self.output = Conv(sizes[-1], 3, 3, he=False)

    def _norm(self, channels: int) -> nn.Module:
        return self.make_norm(channels, slope=1.0)  # a slope of 1 is no ReLU

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; a conditional generator requires `labels`, any other ignores them."""
        return self._images(z, labels, None, fresh=False)

    def training_images(self, z: Tensor, labels: Tensor | None, random: torch.Generator | None) -> Tensor:
        """Return images with fresh noise."""
        return self._images(z, labels, random, fresh=True)

    def _images(self, z: Tensor, labels: Tensor | None, random: torch.Generator | None, *, fresh: bool) -> Tensor:
        maps = [gated(self.norm(self.input(z, labels), labels))]
        for i, block in enumerate(self.blocks):
            small = maps[i + 1 - self.gap] if i + 1 >= self.gap else None
            maps.append(block(maps[-1], small, labels, random, fresh=fresh))
        images: Tensor = torch.tanh(self.output(maps[-1]))
        return images


class Halving(nn.Module):
    """Two convolutions, the first of stride 2, averaged with a 1x1 convolution of the means of 2x2 pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down, self.conv = Down(inputs, outputs, bias=False), Conv(outputs, outputs, 3, bias=False)
        self.direct = Conv(inputs, outputs, 1, bias=False)
        self.norm1, self.norm2, self.norm3 = (BatchNorm(outputs, slope=SLOPE) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        h: Tensor = self.norm2(self.conv(self.norm1(self.down(x)))) + self.norm3(self.direct(F.avg_pool2d(x, 2)))
        return h / 2


class Decoder(nn.Module):
    """Up-sampling convolutions with gated units from features to an image."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.convs = nn.ModuleList([Conv(a, 2 * b, 3, bias=False) for a, b in pairs])
        self.norms = nn.ModuleList([BatchNorm(2 * b, slope=1.0) for _, b in pairs])
        self.output = Conv(sizes[-1], 3, 3, he=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, sizes[0], H, W) to an image (N, 3, ...) of the size doubled once per further size."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, Conv)
            h = gated(norm(conv.up(h)))
        return torch.tanh(self.output(h))


class Critic(layers.Critic):
    """A block per scale, and two decoders: of the whole image at half its size, and of a quarter of it at full size.

    The first has the last feature map, the second a quarter of the one before: that in the row and the column of the quarter.
    """

    keeps_images_apart = False

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = channels(gan)
        self.input = Conv(3, sizes[0], 3, he=False)
        self.blocks = nn.ModuleList([Halving(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        narrower = sizes[::-1][: gan.scales]
        self.decoders = nn.ModuleList([Decoder(narrower), Decoder([sizes[-2], *narrower[1:]])])
        self.add_heads(sizes[-1] * gan.base**2, classes)
        for module in [self.input, self.score, self.classify, *self.blocks.modules()]:
            if isinstance(module, Conv | Down | Linear):
                spectral_norm(module)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores and class logits, normalised by the statistics of this batch."""
        return self.heads(self._maps(images)[-1].flatten(1))

    def on_real(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return scores, class logits and the mean absolute errors of both reconstructions, added.

        Image i of the batch shows the quarter i mod 4: upper left, upper right, lower left, lower right.
        """
        *_, large, last = self._maps(images)
        whole = (self.decoders[0](last) - F.avg_pool2d(images, 2)).abs().mean()
        quarter = (self.decoders[1](quarters(large)) - quarters(images)).abs().mean()
        return *self.heads(last.flatten(1)), whole + quarter

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps = [F.leaky_relu(self.input(images), SLOPE)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


def quarters(x: Tensor) -> Tensor:
    """Return a quarter of each of x (N, C, H, W), in turn: (N, C, H / 2, W / 2)."""
    side, index = x.shape[-1] // 2, torch.arange(len(x), device=x.device)
    parts = x.reshape(*x.shape[:2], 2, side, 2, side)  # rows and columns of quarters
    return parts[index, :, index // 2 % 2, :, index % 2]
