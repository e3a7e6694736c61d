"""A textbook StyleGAN 2: the reference for the speed of the package's implementation.

Float32 in contiguous memory, a weight for each image in grouped convolutions, filters on maps with zeros inserted, separate
passes for real and generated images, and regularisers in passes of their own. The hyperparameters are the package's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config.settings import GanConfig, TrainingConfig

FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def resample(x: Tensor, up: int, down: int, before: int, after: int, gain: float) -> Tensor:
    n, c, height, width = x.shape
    x = F.pad(x.reshape(n * c, 1, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n * c, 1, height * up, width * up)
    kernel = (torch.outer(FILTER, FILTER).to(x) * gain).expand(c, 1, 4, 4)
    padded = F.pad(x.reshape(n, c, height * up, width * up), (before, after, before, after))
    return F.conv2d(padded, kernel, groups=c, stride=down)


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0, *, active: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.rate, self.active = rate, active

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x, self.weight * self.rate / math.sqrt(x.shape[1]), self.bias * self.rate)
        return F.leaky_relu(h, 0.2) * math.sqrt(2) if self.active else h


class Conv(nn.Module):
    """A convolution of the critic, after a filter if it halves the size, then leaky ReLU if it has a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1)) if bias else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight, kernel = self.weight / math.sqrt(self.weight[0].numel()), self.weight.shape[-1]
        if self.down:
            h = F.conv2d(resample(x, 1, 1, kernel // 2 + 1, kernel // 2 + 1, 1.0), weight, stride=2)
        else:
            h = F.conv2d(x, weight, padding=kernel // 2)
        return h if self.bias is None else F.leaky_relu(h + self.bias, 0.2) * math.sqrt(2)


class Modulated(nn.Module):
    """A modulated convolution; with noise, bias and leaky ReLU unless it draws the image."""

    def __init__(self, inputs: int, outputs: int, kernel: int, latent: int, *, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        self.modulation = Linear(latent, inputs, 1.0)
        self.up, self.draws = up, kernel == 1
        self.strength = None if self.draws else nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, inputs, height, width = x.shape
        weight = self.weight / math.sqrt(self.weight[0, 0].numel()) * self.modulation(w)[:, None, :, None, None]
        if not self.draws:
            weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        outputs, kernel = weight.shape[1], weight.shape[-1]
        x = x.reshape(1, n * inputs, height, width)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * inputs, outputs, kernel, kernel)
            h = F.conv_transpose2d(x, weight, stride=2, groups=n)
            h = resample(h.view(n, outputs, *h.shape[2:]), 1, 1, 1, 1, 4.0)
        else:
            h = F.conv2d(x, weight.reshape(n * outputs, inputs, kernel, kernel), padding=kernel // 2, groups=n)
            h = h.view(n, outputs, height, width)
        if self.strength is None:
            return h + self.bias
        h = h + self.strength * torch.randn(n, 1, *h.shape[2:], device=h.device)
        return F.leaky_relu(h + self.bias, 0.2) * math.sqrt(2)


class Generator(nn.Module):
    def __init__(self, gan: GanConfig, sizes: list[int]) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*(Linear(gan.latent, gan.latent, 0.0, 0.01, active=True) for _ in range(gan.mapping)))
        self.constant = nn.Parameter(torch.randn(1, sizes[0], gan.base, gan.base))
        pairs = list(zip([sizes[0], *sizes[:-1]], sizes, strict=True))[1:]
        self.convs = nn.ModuleList([Modulated(sizes[0], sizes[0], 3, gan.latent)])
        for inputs, outputs in pairs:
            self.convs += [Modulated(inputs, outputs, 3, gan.latent, up=True), Modulated(outputs, outputs, 3, gan.latent)]
        self.images = nn.ModuleList(Modulated(size, 3, 1, gan.latent) for size in sizes)
        self.layers = len(self.convs) + 1

    def styles(self, z: Tensor) -> Tensor:
        """Return the styles (N, layers, latent) of two latents (2, N, latent), mixed with probability 0.9."""
        first, second = (self.mapping(one * (one.square().mean(1, keepdim=True) + 1e-8).rsqrt()) for one in z)
        begins = torch.randint(1, self.layers, (len(first), 1), device=z.device)
        begins = torch.where(torch.rand(len(first), 1, device=z.device) < 0.9, begins, self.layers)
        taken = torch.arange(self.layers, device=z.device) >= begins
        return torch.where(taken[:, :, None], second[:, None], first[:, None])

    def forward(self, styles: Tensor) -> Tensor:
        h = self.convs[0](self.constant.repeat(len(styles), 1, 1, 1), styles[:, 0])
        image = self.images[0](h, styles[:, 1])
        for i in range(1, len(self.images)):
            h = self.convs[2 * i](self.convs[2 * i - 1](h, styles[:, 2 * i - 1]), styles[:, 2 * i])
            image = resample(image, 2, 1, 2, 1, 4.0) + self.images[i](h, styles[:, 2 * i + 1])
        return image


class Critic(nn.Module):
    def __init__(self, gan: GanConfig, sizes: list[int]) -> None:
        super().__init__()
        self.input = Conv(3, sizes[0], 1)
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.inner = nn.ModuleList(nn.Sequential(Conv(a, a, 3), Conv(a, b, 3, down=True)) for a, b in pairs)
        self.shortcuts = nn.ModuleList(Conv(a, b, 1, down=True, bias=False) for a, b in pairs)
        self.last = Conv(sizes[-1] + 1, sizes[-1], 3)
        self.linear = nn.Sequential(Linear(sizes[-1] * gan.base**2, sizes[-1], active=True), Linear(sizes[-1], 1))

    def forward(self, images: Tensor) -> Tensor:
        h = self.input(images)
        for inner, shortcut in zip(self.inner, self.shortcuts, strict=True):
            h = (inner(h) + shortcut(h)) / math.sqrt(2)
        deviation = (h.view(4, -1, *h.shape[1:]).var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        h = torch.cat([h, deviation.repeat(4).view(-1, 1, 1, 1).expand(-1, 1, *h.shape[2:])], 1)
        return self.linear(self.last(h).flatten(1)).squeeze(1)


class PlainStyleGan:
    """The plain networks and their training loop."""

    def __init__(self, gan: GanConfig, training: TrainingConfig, device: str) -> None:
        sizes = [min(gan.width * 2**i, 512) for i in range(gan.scales + 1)]
        self.generator, self.critic = Generator(gan, sizes[::-1]).to(device), Critic(gan, sizes).to(device)
        self.config, self.latent, self.device, self.mean, self.step = training, gan.latent, device, 0.0, 0
        self.optimisers = [
            torch.optim.Adam(network.parameters(), rate, betas=training.betas)
            for network, rate in ((self.generator, training.generator_lr), (self.critic, training.critic_lr))
        ]

    def train(self, images: Tensor, steps: int) -> None:
        """Take `steps` generator steps, each with one critic step, on images uint8 (N, 3, H, W)."""
        n, config = self.config.batch, self.config
        for _ in range(steps):
            real = images[torch.randint(len(images), (n,), device=self.device)].float() / 127.5 - 1
            with torch.no_grad():
                fake = self.draw(n)
            self.apply(1, F.softplus(self.critic(fake)).mean() + F.softplus(-self.critic(real)).mean())
            if self.step % config.penalty_every == 0:
                real.requires_grad_(True)
                (gradient,) = torch.autograd.grad(self.critic(real).sum(), real, create_graph=True)
                weight = config.gradient_penalty / 2 * config.penalty_every
                self.apply(1, weight * gradient.square().sum((1, 2, 3)).mean())
            self.apply(0, F.softplus(-self.critic(self.draw(n))).mean())
            if self.step % config.path_length_every == 0:
                styles = self.generator.styles(self.latents(n // 2))
                drawn = self.generator(styles)
                y = torch.randn_like(drawn) / math.sqrt(drawn.shape[2] * drawn.shape[3])
                (gradient,) = torch.autograd.grad((drawn * y).sum(), styles, create_graph=True)
                lengths = gradient.square().sum(2).mean(1).sqrt()
                self.mean += 0.01 * (lengths.mean().item() - self.mean)
                self.apply(0, config.path_length * config.path_length_every * (lengths - self.mean).square().mean())
            self.step += 1

    def draw(self, n: int) -> Tensor:
        images: Tensor = self.generator(self.generator.styles(self.latents(n)))
        return images

    def latents(self, n: int) -> Tensor:
        return torch.randn(2, n, self.latent, device=self.device)

    def apply(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad()
        loss.backward()
        self.optimisers[which].step()
