"""The spectrally normalised ResNet critic of SNGAN (Miyato et al. 2018), which FreezeD (Mo et al. 2020) transfers.

It has no norm layers. Every convolution and linear layer is divided by its spectral norm (PyTorch's parametrisation, one power
iteration per pass). The generator is that of `trainers.networks.resnet`. The class head is AC-GAN's or a projection, as in
every family here.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.layers import Block, Conv, Linear, channels
from trainers.networks.norms import Activation


class First(nn.Module):
    """SNGAN's first critic block: its input is pixels, so no activation precedes its first convolution."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(3, outputs, 3), Conv(outputs, outputs, 3)
        self.shortcut = Conv(3, outputs, 1, he=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, outputs, H/2, W/2)."""
        shortcut: Tensor = self.shortcut(F.avg_pool2d(x, 2))
        return shortcut + self.conv2.down(F.relu(self.conv1(x)))


class Critic(layers.Critic):
    """Residual blocks without norms; one more of them at the smallest scale, which does not down-sample."""

    def __init__(self, gan: GanConfig, classes: int = 0) -> None:
        super().__init__()
        sizes = channels(gan)

        def block(inputs: int, outputs: int, *, down: bool) -> Block:
            return Block(inputs, outputs, "down" if down else None, lambda _: Activation(), bias=True)

        self.first = First(sizes[0])
        blocks = []
        for inputs, outputs in zip(sizes[:-2], sizes[1:-1], strict=True):
            blocks += [block(inputs, inputs, down=False) for _ in range(gan.depth - 1)]
            blocks.append(block(inputs, outputs, down=True))
        self.blocks = nn.ModuleList([*blocks, block(sizes[-2], sizes[-1], down=False)])
        self.add_heads(sizes[-1], classes)
        for module in list(self.modules()):
            if isinstance(module, Conv | Linear):
                spectral_norm(module)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each image's score and class logits, from its last features summed over rows and columns."""
        h = self.first(images)
        for block in self.blocks:
            h = block(h)
        return self.heads(F.relu(h).sum((2, 3)))
