"""DCGAN (Radford et al. 2016): plain strided convolutions with batch norm in both networks; small, and the oldest."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks.convolutions import convolve, convolve_transposed
from trainers.networks.layers import LatentInput, Linear
from trainers.networks.norms import BatchNorm

#: Slope of the critic's leaky ReLUs, for negative values.
SLOPE = 0.2


class Down(nn.Conv2d):
    """A 4x4 convolution of stride 2, weights from N(0, 0.02)."""

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
    """Return the channels at half the resolution, a quarter, ... down to `base`: for 64x64, width w: w, 2w, 4w, 8w."""
    return [gan.width * 2 ** min(i, 3) for i in range(gan.scales)]


class Generator(nn.Module):
    """z (N, latent), labels int64 (N,) or None -> images (N, 3, resolution, resolution) in [-1, 1]."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        sizes = _channels(gan)[::-1]
        by_class = classes if gan.conditioning == "batch-norm" else 0
        norm = partial(BatchNorm, classes=by_class, running=gan.batch_norm == "running")
        self.input = LatentInput(gan, sizes[0], classes)
        self.norms = nn.ModuleList([norm(size) for size in sizes])
        self.ups = nn.ModuleList([Up(a, b) for a, b in zip(sizes, [*sizes[1:], 3], strict=True)])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; `labels` are required when conditional, and ignored otherwise."""
        h = self.input(z, labels)
        for norm, up in zip(self.norms, self.ups, strict=True):
            h = up(norm(h, labels))
        return torch.tanh(h)


class Critic(nn.Module):
    """Images (N, 3, resolution, resolution) in [-1, 1] -> scores (N,), class logits (N, classes) or None."""

    keeps_images_apart = False

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = _channels(gan)
        self.input = Down(3, sizes[0], bias=True)
        self.downs = nn.ModuleList([Down(a, b, bias=False) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.norms = nn.ModuleList([BatchNorm(size, slope=SLOPE) for size in sizes[1:]])
        features = sizes[-1] * gan.base**2
        self.score = Linear(features, 1)
        self.classify = Linear(features, classes) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score each image, by the statistics of the batch that it is in."""
        h = F.leaky_relu(self.input(images), SLOPE)
        for down, norm in zip(self.downs, self.norms, strict=True):
            h = norm(down(h))
        h = h.flatten(1)
        return self.score(h).squeeze(1), None if self.classify is None else self.classify(h)
