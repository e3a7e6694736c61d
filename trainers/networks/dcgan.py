"""DCGAN (Radford et al. 2016): plain strided convolutions with batch norm in both networks; the smallest family."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.convolutions import convolve, convolve_transposed
from trainers.networks.norms import BatchNorm

#: Slope of the critic's leaky ReLUs for negative values.
SLOPE = 0.2


class Down(nn.Conv2d):
    """A 4x4 convolution of stride 2, weights from N(0, 0.02), biases zero."""

    low_gradients = False

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, 4, 2, 1, bias=bias)
        _init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H/2, W/2)."""
        return convolve(x, self.weight, self.bias, 2, 1, self.low_gradients)


class Up(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2 without bias, weights from N(0, 0.02)."""

    low_gradients = False

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, 2, 1, bias=False)
        _init_normal(self)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2H, 2W)."""
        return convolve_transposed(x, self.weight, 2, 1, self.low_gradients)


def _init_normal(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _channels(gan: GanConfig) -> list[int]:
    """Return the channels at each scale from half the resolution down to `base`; for 64x64 and width w: w, 2w, 4w, 8w."""
    return [gan.width * 2 ** min(i, 3) for i in range(gan.scales)]


class Generator(layers.NormGenerator):
    """Batch norm, ReLU and an up-sampling convolution per scale, then tanh."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        sizes = _channels(gan)[::-1]
        super().__init__(gan, classes, sizes[0])
        self.norms = nn.ModuleList([self.make_norm(size) for size in sizes])
        self.ups = nn.ModuleList([Up(a, b) for a, b in zip(sizes, [*sizes[1:], 3], strict=True)])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; a conditional generator requires `labels`, any other ignores them."""
        h = self.input(z, labels)
        for norm, up in zip(self.norms, self.ups, strict=True):
            h = up(norm(h, labels))
        return torch.tanh(h)


class Critic(layers.Critic):
    """A down-sampling convolution, batch norm and leaky ReLU per scale; the first scale has no norm."""

    keeps_images_apart = False

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = _channels(gan)
        self.input = Down(3, sizes[0], bias=True)
        self.downs = nn.ModuleList([Down(a, b, bias=False) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.norms = nn.ModuleList([BatchNorm(size, slope=SLOPE) for size in sizes[1:]])
        self.add_heads(sizes[-1] * gan.base**2, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores and class logits, normalised by the statistics of this batch."""
        h = F.leaky_relu(self.input(images), SLOPE)
        for down, norm in zip(self.downs, self.norms, strict=True):
            h = norm(down(h))
        return self.heads(h.flatten(1))
