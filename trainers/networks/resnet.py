"""The ResNet generator and critic of WGAN-GP (Gulrajani et al. 2017), which Wang et al. (2018) transfer.

The generator has batch norm, the critic layer norm over (C, H, W).
"""

import torch
from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.layers import Block, Conv, channels
from trainers.networks.norms import LayerNorm


class Generator(layers.NormGenerator):
    """`gan.depth` residual blocks per scale, the first of which up-samples."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        sizes = channels(gan)[::-1]
        super().__init__(gan, classes, sizes[0])
        blocks: list[Block] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            for i in range(gan.depth):
                blocks.append(Block(inputs if i == 0 else outputs, outputs, "up" if i == 0 else None, self.make_norm))
        self.blocks = nn.ModuleList(blocks)
        self.norm = self.make_norm(sizes[-1])
        self.output = Conv(sizes[-1], 3, 3, he=False)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; a conditional generator requires `labels`, any other ignores them."""
        h = self.input(z, labels)
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.output(self.norm(h, labels)))


class Critic(layers.Critic):
    """`gan.depth` residual blocks per scale, the last of which down-samples."""

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
        self.add_heads(sizes[-1] * gan.base**2, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each image's score and class logits."""
        h = self.input(images)
        for block in self.blocks:
            h = block(h)
        return self.heads(h.flatten(1))
