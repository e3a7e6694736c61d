"""The GAN core: the training loop that every trial shares, reading from top to bottom.

Everything random comes from one generator whose state is part of the checkpoint, so an interrupted and resumed run takes
the very same steps as an uninterrupted one, to the bit on the CPU.
"""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainers.config import GanConfig, TrainingConfig
from trainers.losses import critic_loss, generator_loss
from trainers.networks import Critic, Generator
from trainers.seeds import derive_seed

#: A critic loss beyond this is an exploded critic: WGAN-GP's stay within a few tens.
EXPLODED = 1e6

#: Steps between two looks at the losses; each look waits for the device.
CHECK_EVERY = 10

#: Generated at once when sampling. Batch norm uses the batch's statistics, so this is part of what is measured.
SAMPLING_BATCH = 250


Network = TypeVar("Network", bound=nn.Module)


class Diverged(Exception):
    """Training left the range of finite, sensible losses."""


class Gan:
    """A generator and a critic in training on one set of images.

    Attributes:
        generator, critic: the networks, on `device`.
        step: generator steps taken.
    """

    def __init__(
        self, gan: GanConfig, training: TrainingConfig, *, classes: int, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        """Make fresh networks. `classes` is 0 for an unconditional GAN; `seed` decides initialisation and training."""
        self.config = training
        self.latent = gan.latent
        self.classes = classes
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("initialisation", seed))
            self.generator = to_device(Generator(gan, classes), self.device)
            self.critic = to_device(Critic(gan, classes), self.device)
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=lr, betas=training.betas, fused=True)
            for (name, network), lr in zip(self.networks.items(), (training.generator_lr, training.critic_lr), strict=True)
        }
        self.random = torch.Generator(self.device)
        self.random.manual_seed(derive_seed("training", seed))
        self.step = 0

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The two networks by name."""
        return {"generator": self.generator, "critic": self.critic}

    def train(self, images: np.ndarray, labels: np.ndarray | None, until: int) -> None:
        """Take generator steps up to step `until`.

        Args:
            images: uint8 (N, H, W, 3), the training images.
            labels: int64 (N,), required when conditional.
            until: generator steps in all, from the very start.

        Raises:
            Diverged: a loss is not finite, or the critic's has exploded.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self.device)
        classes = torch.from_numpy(labels.astype(np.int64)).to(self.device) if self.classes and labels is not None else None
        worst = torch.zeros((), device=self.device)
        while self.step < until:
            for _ in range(self.config.critic_steps):
                worst = torch.maximum(worst, self._critic_step(pixels, classes))
            worst = torch.maximum(worst, self._generator_step(classes))
            self.step += 1
            if self.step % CHECK_EVERY == 0 or self.step == until:
                # torch.maximum hands NaN on; `not <=` is true for it as well.
                if not float(worst) <= EXPLODED:
                    raise Diverged(f"a loss reached {float(worst):.3g} by step {self.step}")
                worst.zero_()

    def _critic_step(self, pixels: Tensor, classes: Tensor | None) -> Tensor:
        """Take one critic step on a fresh minibatch; return the loss's magnitude."""
        n = self.config.batch
        chosen = torch.randint(len(pixels), (n,), generator=self.random, device=self.device)
        real = pixels[chosen].float().div(127.5).sub(1)
        labels = None if classes is None else classes[chosen]
        with torch.no_grad():
            fake = self.generator(self._latents(n), labels)
        mix = torch.rand(n, 1, 1, 1, generator=self.random, device=self.device)
        loss = critic_loss(self.critic, real, labels, fake, mix, self.config.gradient_penalty)
        return self._apply("critic", loss)

    def _generator_step(self, classes: Tensor | None) -> Tensor:
        """Take one generator step; return the loss's magnitude."""
        n = self.config.batch
        labels = None
        if classes is not None:
            labels = classes[torch.randint(len(classes), (n,), generator=self.random, device=self.device)]
        self.critic.requires_grad_(False)
        loss = generator_loss(self.critic, self.generator(self._latents(n), labels), labels)
        magnitude = self._apply("generator", loss)
        self.critic.requires_grad_(True)
        return magnitude

    def _apply(self, name: str, loss: Tensor) -> Tensor:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.detach().abs()

    def _latents(self, n: int) -> Tensor:
        return torch.randn(n, self.latent, generator=self.random, device=self.device)


def to_device(network: Network, device: torch.device | str) -> Network:
    """Move a network to a device, channels-last: the layout in which convolutions are fastest, on the CPU too."""
    return network.to(device).to(memory_format=torch.channels_last)


@torch.no_grad()
def sample(generator: Generator, latent: int, n: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return n generated images, uint8 (n, H, W, 3).

    The same seed gives the same latents, whatever the generator: images of two generators can be laid side by side.

    Args:
        generator: maps latents (and labels) to images in [-1, 1].
        latent: dimensions of the latent.
        n: how many images.
        seed: decides the latents.
        labels: int64 (n,), the classes asked for; for a conditional generator, round robin when None.
    """
    device = next(generator.parameters()).device
    random = torch.Generator().manual_seed(derive_seed("latents", seed))
    if generator.classes and labels is None:
        labels = np.arange(n) % generator.classes
    batches = []
    for start in range(0, n, SAMPLING_BATCH):
        # Always a full batch: its statistics are part of the generator, and must not depend on n.
        z = torch.randn(SAMPLING_BATCH, latent, generator=random)
        wanted = None
        if labels is not None:
            wanted = torch.from_numpy(np.resize(labels[start : start + SAMPLING_BATCH], SAMPLING_BATCH)).to(device)
        images = generator(z.to(device), wanted)
        batches.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
    return torch.cat(batches)[:n].numpy()
