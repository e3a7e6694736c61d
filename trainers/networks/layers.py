"""Layers that the families share, with their published initialisations, and the base classes of generators and critics."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks.convolutions import convolve, convolve_down, up_convolve
from trainers.networks.norms import BatchNorm

Resample = Literal["up", "down"] | None


class Conv(nn.Conv2d):
    """A same-padded convolution with the published uniform initialisation.

    The variance is 4/(fan_in + fan_out) with `he` (before a ReLU), otherwise 2/(fan_in + fan_out). Biases start at zero.
    """

    low_gradients = False

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, he: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        _init_uniform(self.weight, inputs * kernel**2, outputs * kernel**2, 4.0 if he else 2.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return convolve(x, self.weight, self.bias, 1, self.kernel_size[0] // 2, self.low_gradients)

    def up(self, x: Tensor) -> Tensor:
        """Return the 3x3 convolution of x up-sampled by nearest neighbour: (N, outputs, 2H, 2W)."""
        x = up_convolve(x, self.weight, self.low_gradients)
        return x if self.bias is None else x + self.bias.view(1, -1, 1, 1)

    def down(self, x: Tensor) -> Tensor:
        """Return the 2x2 means of the 3x3 convolution of x: (N, outputs, H/2, W/2)."""
        return convolve_down(x, self.weight, self.bias, self.low_gradients)


class Linear(nn.Linear):
    """A linear layer with the published uniform initialisation: variance 2/(fan_in + fan_out), bias zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        _init_uniform(self.weight, inputs, outputs, 2.0)
        nn.init.zeros_(self.bias)


def _init_uniform(weight: Tensor, fan_in: int, fan_out: int, gain: float) -> None:
    bound = math.sqrt(3.0 * gain / (fan_in + fan_out))
    nn.init.uniform_(weight, -bound, bound)


class Block(nn.Module):
    """A pre-activation residual block: norm, ReLU, conv, norm, ReLU, conv, added to a 1x1 shortcut.

    `resample` is "up" (nearest neighbour before the first convolution) or "down" (2x2 means after the second). `norm` makes a
    norm (with its ReLU) for a number of channels. The first convolution needs a `bias` only if the second norm does not
    remove it.
    """

    def __init__(
        self, inputs: int, outputs: int, resample: Resample, norm: Callable[[int], nn.Module], *, bias: bool = False
    ) -> None:
        super().__init__()
        self.resample = resample
        middle = inputs if resample == "down" else outputs
        self.norm1, self.norm2 = norm(inputs), norm(middle)
        self.conv1 = Conv(inputs, middle, 3, bias=bias)
        self.conv2 = Conv(middle, outputs, 3)
        identity = inputs == outputs and resample is None
        self.shortcut = None if identity else Conv(inputs, outputs, 1, he=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        h = self.norm1(x, labels)
        h = self.conv1.up(h) if self.resample == "up" else self.conv1(h)
        h = self.norm2(h, labels)
        if self.resample == "down":
            h, x = self.conv2.down(h), F.avg_pool2d(x, 2)
        else:
            h = self.conv2(h)
        if self.shortcut is not None:
            x = self.shortcut(x)
        if self.resample == "up":
            # A 1x1 convolution commutes with nearest up-sampling: this order costs a quarter.
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        total: Tensor = x + h
        return total


def channels(gan: GanConfig) -> list[int]:
    """Return the channels at each scale, from full resolution down to `base`; for 64x64 and width w: w, 2w, 4w, 8w, 8w."""
    return [gan.width * 2 ** min(i, gan.scales - 1, 3) for i in range(gan.scales + 1)]


class Miner(nn.Module):
    """Maps latents to those from which a pre-trained generator draws images like the target's (MineGAN, Wang et al. 2020).

    Two layers, added to the identity. The second starts at zero, so that the miner starts as the identity.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.first, self.second = Linear(latent, latent), Linear(latent, latent)
        nn.init.zeros_(self.second.weight)

    def forward(self, z: Tensor) -> Tensor:
        """Map z (N, latent) to (N, latent)."""
        mined: Tensor = z + self.second(F.relu(self.first(z)))
        return mined


class Input(nn.Module):
    """Base of the maps of the latent that generators begin with.

    Attributes:
        latent: its linear layer of the latent.
        miner: applied to the latent first; a strategy may set it.
    """

    latent: nn.Linear
    miner: Miner | None

    def __init__(self) -> None:
        super().__init__()
        self.miner = None

    def mined(self, z: Tensor) -> Tensor:
        """Return latents (N, latent) as the miner maps them."""
        return z if self.miner is None else self.miner(z)


class LatentInput(Input):
    """Maps the latent to the first feature map; with class concatenation, the latent joined with the one-hot class."""

    def __init__(self, gan: GanConfig, outputs: int, classes: int) -> None:
        super().__init__()
        self.base = gan.base
        self.latent = Linear(gan.latent, outputs * gan.base**2)
        self.classes = nn.Embedding(classes, outputs * gan.base**2) if classes and gan.conditioning == "concat" else None
        if self.classes is not None:
            _init_uniform(self.classes.weight, gan.latent + classes, outputs * gan.base**2, 2.0)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Map z (N, latent), labels int64 (N,) or None, to (N, outputs, base, base)."""
        h: Tensor = self.latent(self.mined(z))
        if self.classes is not None:
            assert labels is not None, "a conditional network needs labels"
            h = h + self.classes(labels)
        return h.view(-1, h.shape[1] // self.base**2, self.base, self.base)


class Generator(nn.Module):
    """Base of the generators: z (N, latent), labels int64 (N,) or None -> images (N, 3, resolution, resolution).

    Images are in [-1, 1], or near it in a family whose last layer has no bound.

    Attributes:
        classes: number of classes; 0 when unconditional.
        input: the map of the latent.
    """

    input: Input

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def training_images(self, z: Tensor, labels: Tensor | None, random: torch.Generator | None) -> Tensor:
        """Return images as training needs them, in a family that draws more random numbers than the latents: from `random`."""
        images: Tensor = self(z, labels)
        return images

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Return more typical and less diverse images: those of the latents times `truncation`, in (0, 1]."""
        images: Tensor = self(z * truncation, labels)
        return images


class NormGenerator(Generator):
    """Base of the generators with batch norms whose input is a feature map.

    Attributes:
        make_norm: makes a batch norm, per class where the configuration says so, for a number of channels.
    """

    def __init__(self, gan: GanConfig, classes: int, channels: int) -> None:
        """Make the input for a first feature map of `channels` channels."""
        super().__init__(classes)
        self.input = LatentInput(gan, channels, classes)
        by_class = classes if gan.conditioning == "batch-norm" else 0
        self.make_norm = partial(BatchNorm, classes=by_class, running=gan.batch_norm == "running")


class Critic(nn.Module):
    """Base of the critics: images (N, 3, resolution, resolution) in [-1, 1] -> scores (N,), class logits (N, classes) or None.

    The class logits are those of AC-GAN's auxiliary head (Odena et al. 2017). If the critic `projects`, they are the inner
    products of the features with a vector per class, and that of an image's class is part of its score (Miyato & Koyama 2018).
    """

    #: Whether the class is part of the score, in place of AC-GAN's classification.
    projects = False

    #: Whether an image's score depends on that image alone, so that any images may share a pass.
    keeps_images_apart = True
    score: nn.Linear
    classify: nn.Linear | None

    def add_heads(self, features: int, classes: int) -> None:
        """Make the linear heads of the score and, unless `classes` is 0, of the class logits."""
        self.score = Linear(features, 1)
        self.classify = Linear(features, classes) if classes else None

    def on_real(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return scores and class logits of real images in training and, in some families, a further loss of these images."""
        scores, logits = self(images)
        return scores, logits, None

    def project(self) -> None:
        """Let the class be part of the score. The vectors per class are the weights of the class head, which loses its bias."""
        assert self.classify is not None, "a projection needs classes"
        self.projects = True
        self.classify.register_parameter("bias", None)

    def given(self, scores: Tensor, logits: Tensor | None, labels: Tensor | None) -> Tensor:
        """Return the scores (N,) of images given their classes `labels`, int64 (N,), from their scores and class logits."""
        if not self.projects or logits is None or labels is None:
            return scores
        return scores + logits.gather(1, labels[:, None]).squeeze(1)

    def heads(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores (N,) and class logits (N, classes) or None, from features (N, features)."""
        return self.score(h).squeeze(1), None if self.classify is None else self.classify(h)
