"""The generator of StyleGAN 2 (Karras et al. 2020) with skip connections from the feature maps to the image."""

import torch
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks.style.base import Noise, StyleGenerator
from trainers.networks.style.equalised import activate
from trainers.networks.style.filters import up
from trainers.networks.style.modulated import Mapping, ModulatedConv, ToImage

#: Most channels of a feature map.
MOST = 512


def channels(gan: GanConfig) -> list[int]:
    """Return the channels at each scale, from full resolution down to `base`; for 256x256 and width 128: 128, 256, 512, ..."""
    return [min(gan.width * 2**i, MOST) for i in range(gan.scales + 1)]


class Layer(nn.Module):
    """A 3x3 modulated convolution, noise, a shift and leaky ReLU."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, latent: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, latent, upsample=upsample)
        self.strength = nn.Parameter(torch.zeros(1))
        self.shift = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, style: Tensor, noise: Noise | None) -> Tensor:
        """Map (N, inputs, H, W) and styles (N, latent) to (N, outputs, side, side)."""
        h = self.conv(x, style)
        return activate(h + self.strength * (self.noise if noise is None else noise(h)), self.shift)


class First(nn.Module):
    """The learned constant, a layer, and the first image."""

    def __init__(self, size: int, base: int, latent: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, size, base, base))
        self.layer = Layer(size, size, base, latent)
        self.to_image = ToImage(size, latent)

    def forward(self, styles: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Return the feature map (N, size, base, base) and the image (N, 3, base, base) of styles (N, 2, latent)."""
        h = self.layer(self.constant.expand(styles.shape[0], -1, -1, -1), styles[:, 0], noise)
        return h, self.to_image(h, styles[:, 1])


class Block(nn.Module):
    """Two layers, the first of which doubles the size, and their contribution to the image."""

    def __init__(self, inputs: int, outputs: int, side: int, latent: int) -> None:
        super().__init__()
        self.up = Layer(inputs, outputs, side, latent, upsample=True)
        self.layer = Layer(outputs, outputs, side, latent)
        self.to_image = ToImage(outputs, latent)

    def forward(self, x: Tensor, image: Tensor, styles: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Return the feature map and the image at twice the size; styles (N, 3, latent)."""
        h = self.layer(self.up(x, styles[:, 0], noise), styles[:, 1], noise)
        return h, up(image) + self.to_image(h, styles[:, 2])


class Generator(StyleGenerator):
    """A constant, then a block per scale. The last style of a block is also the first of the next.

    The images are sums of contributions without a bound.
    """

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        sizes = channels(gan)[::-1]
        super().__init__(gan, classes, Mapping(gan, classes), layers=2 * gan.scales + 2)
        self.first = First(sizes[0], gan.base, gan.latent)
        self.blocks = nn.ModuleList(
            [
                Block(inputs, outputs, gan.base * 2 ** (i + 1), gan.latent)
                for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
            ]
        )

    def synthesise(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the images (N, 3, resolution, resolution) of styles (N, layers, latent)."""
        image: Tensor
        h, image = self.first(styles[:, :2], noise)
        for i, block in enumerate(self.blocks):
            h, image = block(h, image, styles[:, 2 * i + 1 : 2 * i + 4], noise)
        return image
