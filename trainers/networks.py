"""The ResNet generator and critic of WGAN-GP (Gulrajani et al. 2017), which Wang et al. (2018) transfer.

Pre-activation residual blocks; nearest-neighbour up-sampling before a block's first 3x3 convolution in the generator, 2x2
mean pooling after its second in the critic. Batch norm in the generator always uses the batch's own statistics, when
sampling too, as the authors did. Layer norm in the critic is over (C, H, W) with a scale and a shift per channel.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config import GanConfig

Resample = Literal["up", "down"] | None


class Conv(nn.Conv2d):
    """A same-padded convolution with the published uniform initialisation.

    Variance 4/(fan_in + fan_out) with ``he`` (before a ReLU), 2/(fan_in + fan_out) otherwise; biases zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, he: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        _init_uniform(self.weight, inputs * kernel**2, outputs * kernel**2, 4.0 if he else 2.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Linear(nn.Linear):
    """A linear layer with the published uniform initialisation, variance 2/(fan_in + fan_out); bias zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        _init_uniform(self.weight, inputs, outputs, 2.0)
        nn.init.zeros_(self.bias)


def _init_uniform(weight: Tensor, fan_in: int, fan_out: int, gain: float) -> None:
    bound = math.sqrt(3.0 * gain / (fan_in + fan_out))
    nn.init.uniform_(weight, -bound, bound)


class BatchNorm(nn.Module):
    """Batch norm with the batch's own statistics; scale and shift per class when conditional (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        shape = (classes, channels) if classes else (channels,)
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Map (N, C, H, W), labels int64 (N,) or None, to (N, C, H, W)."""
        if labels is None:
            return F.batch_norm(x, None, None, self.scale, self.shift, training=True)
        x = F.batch_norm(x, None, None, training=True)
        return x * self.scale[labels][:, :, None, None] + self.shift[labels][:, :, None, None]


class LayerNorm(nn.GroupNorm):
    """Layer norm over (C, H, W) with a scale and a shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W); labels are ignored."""
        return super().forward(x)


class Block(nn.Module):
    """A pre-activation residual block: norm, ReLU, conv, norm, ReLU, conv, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, resample: Resample, norm1: nn.Module, norm2: nn.Module) -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = norm1
        # The first convolution has no bias: the norm that follows would remove it (up to its spatial mean).
        self.conv1 = Conv(inputs, inputs if resample == "down" else outputs, 3, bias=False)
        self.norm2 = norm2
        self.conv2 = Conv(inputs if resample == "down" else outputs, outputs, 3)
        identity = inputs == outputs and resample is None
        self.shortcut = None if identity else Conv(inputs, outputs, 1, he=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        h = F.relu(self.norm1(x, labels))
        h = _up_conv(h, self.conv1.weight) if self.resample == "up" else self.conv1(h)
        h = F.relu(self.norm2(h, labels))
        if self.resample == "down":
            h, x = _conv_down(h, self.conv2.weight, self.conv2.bias), F.avg_pool2d(x, 2)
        else:
            h = self.conv2(h)
        if self.shortcut is not None:
            x = self.shortcut(x)
        if self.resample == "up":
            # A 1x1 convolution commutes with nearest up-sampling: this order costs a quarter.
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return x + h


def _up_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Return the 3x3 convolution of x up-sampled (nearest), in 4/9 of its multiplications: one 4x4 transposed convolution."""
    return F.conv_transpose2d(x, _spread(weight.flip(2, 3)).transpose(0, 1), stride=2, padding=1)


def _conv_down(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the 2x2 means of the 3x3 convolution of x, in 4/9 of its multiplications: one 4x4 convolution of stride 2."""
    return F.conv2d(x, _spread(weight) / 4, bias, stride=2, padding=1)


def _spread(weight: Tensor) -> Tensor:
    """Return a kernel (O, I, 3, 3) summed over the four places that it takes within 4x4."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[:, :, :, 1:] + rows[:, :, :, :-1]


def _channels(gan: GanConfig) -> list[int]:
    """Return the channels after each scale, from full resolution to `base`: for 64x64, width w: w, 2w, 4w, 8w, 8w."""
    return [gan.width * 2 ** min(i, gan.scales - 1, 3) for i in range(gan.scales + 1)]


class Generator(nn.Module):
    """z (N, latent), labels int64 (N,) or None -> images (N, 3, resolution, resolution) in [-1, 1]."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.base = gan.base
        channels = _channels(gan)[::-1]
        self.input = Linear(gan.latent, channels[0] * gan.base**2)
        blocks: list[Block] = []
        for inputs, outputs in zip(channels[:-1], channels[1:], strict=True):
            for i in range(gan.depth):
                first = inputs if i == 0 else outputs
                norms = BatchNorm(first, classes), BatchNorm(outputs, classes)
                blocks.append(Block(first, outputs, "up" if i == 0 else None, *norms))
        self.blocks = nn.ModuleList(blocks)
        self.norm = BatchNorm(channels[-1], classes)
        self.output = Conv(channels[-1], 3, 3, he=False)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; `labels` are required when conditional, and must be None otherwise."""
        h = self.input(z).unflatten(1, (-1, self.base, self.base))
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.output(F.relu(self.norm(h, labels))))


class Critic(nn.Module):
    """Images (N, 3, resolution, resolution) in [-1, 1] -> scores (N,), class logits (N, classes) or None."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        channels = _channels(gan)
        self.input = Conv(3, channels[0], 3, he=False)
        blocks: list[Block] = []
        for inputs, outputs in zip(channels[:-1], channels[1:], strict=True):
            for i in range(gan.depth):
                last = i == gan.depth - 1
                ends = outputs if last else inputs
                blocks.append(Block(inputs, ends, "down" if last else None, LayerNorm(inputs), LayerNorm(inputs)))
        self.blocks = nn.ModuleList(blocks)
        features = channels[-1] * gan.base**2
        self.score = Linear(features, 1)
        self.classify = Linear(features, classes) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score each image; the class logits are those of AC-GAN's auxiliary head (Odena et al. 2017)."""
        h = self.input(images)
        for block in self.blocks:
            h = block(h)
        h = h.flatten(1)
        return self.score(h).squeeze(1), None if self.classify is None else self.classify(h)


#: The tensors with one row per class, by the end of their names: the transfer to other classes maps these rows.
def per_class(name: str, tensor: Tensor, classes: int) -> bool:
    """Say whether a tensor of a conditional network has one row per class."""
    is_norm = name.endswith((".scale", ".shift")) and tensor.ndim == 2
    return classes > 0 and (is_norm or name.startswith("classify."))
