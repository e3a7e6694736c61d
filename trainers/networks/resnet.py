"""The ResNet generator and critic of WGAN-GP (Gulrajani et al. 2017), which Wang et al. (2018) transfer.

Batch norm in the generator, layer norm over (C, H, W) in the critic.
"""

from functools import partial

import torch
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks.layers import Block, Conv, LatentInput, Linear, channels
from trainers.networks.norms import BatchNorm, LayerNorm


class Generator(nn.Module):
    """z (N, latent), labels int64 (N,) or None -> images (N, 3, resolution, resolution) in [-1, 1]."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        sizes = channels(gan)[::-1]
        by_class = classes if gan.conditioning == "batch-norm" else 0
        norm = partial(BatchNorm, classes=by_class, running=gan.batch_norm == "running")
        self.input = LatentInput(gan, sizes[0], classes)
        blocks: list[Block] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            for i in range(gan.depth):
                blocks.append(Block(inputs if i == 0 else outputs, outputs, "up" if i == 0 else None, norm))
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm(sizes[-1])
        self.output = Conv(sizes[-1], 3, 3, he=False)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; `labels` are required when conditional, and ignored otherwise."""
        h = self.input(z, labels)
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.output(self.norm(h, labels)))


class Critic(nn.Module):
    """Images (N, 3, resolution, resolution) in [-1, 1] -> scores (N,), class logits (N, classes) or None."""

    #: Whether an image's score depends on that image alone, so that any images may share a pass.
    keeps_images_apart = True

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = channels(gan)
        self.input = Conv(3, sizes[0], 3, he=False)
        blocks: list[Block] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            for i in range(gan.depth):
                last = i == gan.depth - 1
                blocks.append(Block(inputs, outputs if last else inputs, "down" if last else None, LayerNorm))
        self.blocks = nn.ModuleList(blocks)
        features = sizes[-1] * gan.base**2
        self.score = Linear(features, 1)
        self.classify = Linear(features, classes) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score each image; the class logits are those of AC-GAN's auxiliary head (Odena et al. 2017)."""
        h = self.input(images)
        for block in self.blocks:
            h = block(h)
        h = h.flatten(1)
        return self.score(h).squeeze(1), None if self.classify is None else self.classify(h)
