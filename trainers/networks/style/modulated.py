"""Convolutions modulated by a style (Karras et al. 2020), and the map from latents to styles."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks.convolutions import convolve, convolve_transposed
from trainers.networks.layers import Input
from trainers.networks.style.equalised import GAIN, SLOPE, EqualLinear
from trainers.networks.style.filters import blur

#: Added to the squared norms by which is demodulated, and to the mean square in the normalisation of latents.
EPSILON = 1e-8

#: Factor of the learning rates in the map from latents to styles.
MAPPING_RATE = 0.01


class ModulatedConv(nn.Conv2d):
    """A convolution without bias whose weight is multiplied, input channel by input channel, by a linear map of the style.

    With `demodulate`, each output channel of that weight is then divided by its norm. Both are done to the inputs and outputs
    instead: all images of a batch then share one convolution.
    """

    low_gradients = False

    def __init__(
        self, inputs: int, outputs: int, kernel: int, latent: int, *, demodulate: bool = True, upsample: bool = False
    ) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.factor = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.upsample = demodulate, upsample
        nn.init.normal_(self.weight)
        self.modulation = EqualLinear(latent, inputs, bias=1.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:  # type: ignore[override]  # a convolution with a second input
        """Map (N, inputs, H, W) and styles (N, latent) to (N, outputs, H, W), with `upsample` to twice the size."""
        scales = self.modulation(style)
        weight = self.weight * self.factor
        x = x * scales[:, :, None, None]
        if self.upsample:
            h = blur(convolve_transposed(x, weight.transpose(0, 1), 2, 0, self.low_gradients), 1, gain=4.0)
        else:
            h = convolve(x, weight, None, 1, self.kernel_size[0] // 2, self.low_gradients)
        if self.demodulate:
            squares = F.linear(scales.square(), weight.square().sum((2, 3)))
            h = h * (squares + EPSILON).rsqrt()[:, :, None, None]
        return h


class ToImage(nn.Module):
    """A 1x1 modulated convolution to colours, without demodulation."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, latent, demodulate=False)
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and styles (N, latent) to (N, 3, H, W)."""
        y: Tensor = self.conv(x, style) + self.shift.view(1, -1, 1, 1)
        return y


class Mapping(Input):
    """The map from latents to styles: normalised latents through `gan.mapping` fully connected layers.

    A class is joined to the normalised latent as a one-hot vector.
    """

    def __init__(
        self, gan: GanConfig, classes: int, linear: Callable[[int, int], EqualLinear] | None = None, rate: float = MAPPING_RATE
    ) -> None:
        """Take what makes a layer, by default an `EqualLinear` of `rate`, for the numbers of its inputs and outputs."""
        super().__init__()
        make = linear or (lambda inputs, outputs: EqualLinear(inputs, outputs, rate=rate))
        self.rate = rate
        self.latent = make(gan.latent, gan.latent)
        self.layers = nn.ModuleList([make(gan.latent, gan.latent) for _ in range(gan.mapping - 1)])
        self.classes = nn.Embedding(classes, gan.latent) if classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, 1 / rate)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Map z (N, latent), labels int64 (N,) or None, to styles (N, latent)."""
        h: Tensor = self.latent(self.normalise(self.mined(z)))
        if self.classes is not None:
            assert labels is not None, "a conditional network needs labels"
            h = h + self.classes(labels) * self.rate
        h = self.activate(h)
        for layer in self.layers:
            h = self.activate(layer(h))
        return h

    def normalise(self, z: Tensor) -> Tensor:
        """Return latents (N, latent) of mean square 1."""
        return z * (z.square().mean(1, keepdim=True) + EPSILON).rsqrt()

    def activate(self, h: Tensor) -> Tensor:
        """Return the activation of a layer (N, latent)."""
        return F.leaky_relu(h, SLOPE) * GAIN
