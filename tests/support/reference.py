"""A textbook WGAN-GP: the reference for the values and the speed of the package's implementation.

Float32 in contiguous memory by default, separate critic passes for real, generated and mixed images, no optimisations. The
modules have the names of the package's, so that weights can be copied.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm(network: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, track_running_stats=False) if network == "generator" else nn.GroupNorm(1, channels)


class Block(nn.Module):
    """BN-ReLU-up-conv-BN-ReLU-conv in the generator, LN-ReLU-conv-LN-ReLU-conv-pool in the critic, with a 1x1 shortcut."""

    def __init__(self, network: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = network == "generator"
        middle = outputs if self.up else inputs
        self.norm1, self.norm2 = norm(network, inputs), norm(network, middle)
        self.conv1 = nn.Conv2d(inputs, middle, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(middle, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        if self.up:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv2(F.relu(self.norm2(self.conv1(h))))
        if not self.up:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return self.shortcut(x) + h


def channels(resolution: int, width: int) -> list[int]:
    scales = round(math.log2(resolution / 4))
    return [width * 2 ** min(i, scales - 1, 3) for i in range(scales + 1)]


class Generator(nn.Module):
    def __init__(self, resolution: int, width: int, latent: int) -> None:
        super().__init__()
        sizes = channels(resolution, width)[::-1]
        self.input = nn.Linear(latent, sizes[0] * 16)
        self.blocks = nn.ModuleList(Block("generator", a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.norm = norm("generator", sizes[-1])
        self.output = nn.Conv2d(sizes[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.input(z).view(len(z), -1, 4, 4)
        for block in self.blocks:
            h = block(h)
        return torch.tanh(self.output(F.relu(self.norm(h))))


class Critic(nn.Module):
    def __init__(self, resolution: int, width: int) -> None:
        super().__init__()
        sizes = channels(resolution, width)
        self.input = nn.Conv2d(3, sizes[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block("critic", a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.score = nn.Linear(sizes[-1] * 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.input(x)
        for block in self.blocks:
            h = block(h)
        return self.score(h.flatten(1)).squeeze(1)


def carry_over(ours: nn.Module, plain: nn.Module) -> None:
    """Copy the weights of one of the package's networks into a plain one."""
    plain.load_state_dict({plain_name(key): value for key, value in ours.state_dict().items()})


def plain_name(ours: str) -> str:
    """Return the name in the plain networks of a tensor of the package's."""
    return ours.replace(".scale", ".weight").replace(".shift", ".bias").replace("input.latent.", "input.")


def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor, weight: float = 10.0) -> Tensor:
    """Return the critic's loss with gradient penalty at images mixed in shares `mix` (Gulrajani et al. 2017)."""
    x = (mix * fake + (1 - mix) * real).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
    return critic(fake).mean() - critic(real).mean() + weight * penalty


class PlainGan:
    """The plain networks and their training loop, with the hyperparameters of the package."""

    def __init__(
        self, resolution: int, width: int, batch: int, critic_steps: int, latent: int, device: str, lr: float = 1e-4
    ) -> None:
        self.generator = Generator(resolution, width, latent).to(device)
        self.critic = Critic(resolution, width).to(device)
        self.batch, self.critic_steps, self.latent, self.device = batch, critic_steps, latent, device
        self.optimisers = [torch.optim.Adam(n.parameters(), lr, betas=(0.0, 0.9)) for n in (self.generator, self.critic)]

    def train(self, images: Tensor, steps: int) -> None:
        """Take `steps` generator steps on images uint8 (N, 3, H, W)."""
        for _ in range(steps):
            for _ in range(self.critic_steps):
                chosen = torch.randint(len(images), (self.batch,), device=self.device)
                real = images[chosen].float() / 127.5 - 1
                with torch.no_grad():
                    fake = self.generator(self.latents())
                mix = torch.rand(self.batch, 1, 1, 1, device=self.device)
                self.apply(1, critic_loss(self.critic, real, fake, mix))
            self.apply(0, -self.critic(self.generator(self.latents())).mean())

    def parameters_like(self, ours: nn.Module) -> list[Tensor]:
        """Return the generator's parameters in the order of the package's."""
        return [self.generator.get_parameter(plain_name(name)).detach() for name, _ in ours.named_parameters()]

    def apply(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def latents(self) -> Tensor:
        return torch.randn(self.batch, self.latent, device=self.device)
