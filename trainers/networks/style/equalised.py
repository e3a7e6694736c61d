"""Layers with equalised learning rates (Karras et al. 2018): weights from N(0, 1), multiplied by a constant in every pass.

Adam changes every parameter by about its learning rate. With the constant in the pass instead of in the initialisation, all
layers change at the same relative speed, whatever their size.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.networks.convolutions import convolve

#: Slope of the leaky ReLUs for negative values, and the gain that keeps the variance of their outputs.
SLOPE, GAIN = 0.2, math.sqrt(2)


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """Return the leaky ReLU of x (N, C, ...) plus its bias (C,), times `GAIN`."""
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), SLOPE) * GAIN


class EqualLinear(nn.Linear):
    """A linear layer whose weight is divided by the root of its inputs in the pass; `rate` slows the learning of all of it."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        self.rate, self.factor = rate, rate / math.sqrt(inputs)
        nn.init.normal_(self.weight, 0.0, 1 / rate)
        nn.init.constant_(self.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        bias = self._parameters["bias"]  # the class head of a projection critic has none
        return F.linear(x, self.weight * self.factor, None if bias is None else bias * self.rate)


class EqualConv(nn.Conv2d):
    """A convolution whose weight is divided by the root of its fan-in in the pass; its bias precedes a leaky ReLU."""

    low_gradients = False

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self.factor = 1 / math.sqrt(inputs * kernel**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W'), followed by leaky ReLU if there is a bias."""
        h = convolve(x, self.weight * self.factor, None, self.stride[0], int(self.padding[0]), self.low_gradients)
        return h if self.bias is None else activate(h, self.bias)
