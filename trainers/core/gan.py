"""The training loop that every trial shares: `Gan`, to be read from top to bottom.

All random numbers come from one generator, whose state is part of the checkpoint. A run that is interrupted and resumed
therefore takes the same steps as an uninterrupted one, on the CPU to the bit.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trainers.adaptation.anchors import Anchors
from trainers.adaptation.correspondence import Correspondence
from trainers.adaptation.fisher import fisher
from trainers.adaptation.phases import Adaptation, equip
from trainers.common.heartbeat import beat
from trainers.common.seeds import derive_seed
from trainers.config.augmentations import Augmentation, NoAugmentation
from trainers.config.blocks import Network as NetworkName
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.config.strategy import Strategy
from trainers.core.adam import Adam
from trainers.core.augmenter import Augmenter
from trainers.core.cuda_graphs import Graphed
from trainers.core.data import Data, channels_first, draw, real_images
from trainers.core.losses import critic_loss, generator_loss, lazy_r1
from trainers.core.path_length import PathLength
from trainers.networks import Critic, Generator, make_critic, make_generator, set_low_gradients

#: A loss above this means that the critic has exploded; those of WGAN-GP stay within a few tens.
EXPLODED = 1e6

#: Generator steps between two checks of the losses; each check waits for the device.
CHECK_EVERY = 10

#: Training images by which a probe's end tells the kernels that matter; the authors of AdAM take 20.
PROBED = 32

Network = TypeVar("Network", bound=nn.Module)


class Diverged(Exception):
    """A loss is not finite, or exceeds `EXPLODED`."""


class Gan:
    """A generator and a critic, and their training on one set of images.

    Attributes:
        generator, critic: the networks, on `device`.
        augment: transforms the images that the critic sees.
        path_length: the regularisation of the generator's path lengths, if `training.path_length` is not 0.
        average: exponential moving average of the generator's weights; None if `training.ema` is 0.
        adaptation: the strategy in use; None before `follow` and for training without one.
        step: generator steps taken.
    """

    def __init__(
        self, gan: GanConfig, training: TrainingConfig, *, classes: int, seed: int, device: str | torch.device = "cpu",
        graphs: bool = False, augmentation: Augmentation | None = None,
    ) -> None:  # fmt: skip
        """Make new networks; `seed` decides their initialisation and their training.

        `classes` is 0 for an unconditional GAN. With `graphs`, on a GPU only, steps are replayed as CUDA graphs.
        """
        self.shape = gan
        self.config = training
        self.seed = seed
        self.latent = gan.latent
        self.classes = classes
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("initialisation", seed))
            self.generator = to_device(make_generator(gan, classes), self.device)
            self.critic = to_device(make_critic(gan, classes), self.device)
        for network in (self.generator, self.critic):
            set_low_gradients(network, training.precision == "bf16")
        self.average: Generator | None
        self.restart_average()
        self.adaptation: Adaptation | None = None
        self.optimisers = self._make_optimisers()
        self.random = torch.Generator(self.device)
        self.random.manual_seed(derive_seed("training", seed))
        self.augment = Augmenter(augmentation or NoAugmentation(), batch=training.batch, random=self.random)
        self.path_length = PathLength(training, self.random)
        self.step = 0
        self._graphs = graphs
        self._prepared: tuple[np.ndarray, Data] | None = None  # of the images last trained on
        self._recorded: dict[tuple[bool, ...], Graphed] = {}  # by the regularisers that the step takes
        self._worst = torch.zeros((), device=self.device)  # the greatest loss since the last check
        self._weight = torch.ones((), device=self.device)  # of the generator in the next update of its average

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The two networks in training, by name."""
        return {"generator": self.generator, "critic": self.critic}

    @property
    def judge(self) -> Critic:
        """What scores images in training: the critic, or the strategy's relaxed one."""
        return self.critic if self.adaptation is None else self.adaptation.critic

    @property
    def _correspondence(self) -> Correspondence | None:
        return None if self.adaptation is None else self.adaptation.correspondence

    @property
    def evaluated(self) -> Generator:
        """The generator that is measured, drawn from and transferred: the average if there is one."""
        return self.generator if self.average is None else self.average

    def _make_optimisers(self, strategy: Strategy | None = None) -> dict[str, Adam]:
        rates: dict[NetworkName, float] = {"generator": self.config.generator_lr, "critic": self.config.critic_lr}
        factors = {name: 1.0 if strategy is None else strategy.rate_factor(name) for name in rates}
        return {name: Adam(self.networks[name].parameters(), rates[name] * factors[name], self.config.betas) for name in rates}

    def follow(self, strategy: Strategy, anchors: Anchors | None = None) -> None:
        """Set the strategy that training follows: its additions to the networks, its learning rates, phases and penalty.

        Call it once, after the transfer from the source and before the first step.
        """
        assert self.adaptation is None
        equip(strategy, self.shape, self.networks, self.seed)
        self.restart_average()
        self.optimisers = self._make_optimisers(strategy)
        self.adaptation = Adaptation(strategy, self.shape, self.config, self.networks, anchors, self.seed)
        self.adaptation.enter(self.step)

    def restart_average(self) -> None:
        """Reset the moving average to the present generator, as after a transfer."""
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if self.config.ema else None

    def train(
        self, images: np.ndarray, labels: np.ndarray | None, until: int, held_out: np.ndarray | None = None,
        pause: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Take generator steps on images uint8 (N, H, W, 3) until `until` of them have been taken since the start.

        It returns before, after any step, once `pause` is true; another call continues with the same bits. A conditional GAN
        requires `labels`, int64 (N,), and draws the classes with equal probability. An adaptive augmentation requires
        `held_out`, real images uint8 (M, H, W, 3) on which nothing is trained.

        Raises:
            Diverged: a loss is not finite, or exceeds `EXPLODED`.
        """
        while self.step < until:
            if self.adaptation is not None and self.adaptation.ends_probe(self.step):
                self._start_with_important_kernels(self.adaptation, images, labels)
            if self.adaptation is not None and self.adaptation.enter(self.step):
                self._recorded.clear()  # a recorded step trains the parameters of the phase in which it was recorded
            self._take_step_on(images, labels, held_out)
            self.step += 1
            due, paused = self.step % CHECK_EVERY == 0 or self.step == until, pause()
            if due or paused:
                worst = float(self._worst)
                beat()  # reading the loss has waited for the steps so far
                if worst <= EXPLODED:  # false for NaN, which torch.maximum propagates
                    self._worst.zero_()
                    if paused:
                        return
                elif due:  # no pause changes the step at which a trial diverges
                    raise Diverged(f"a loss reached {worst:.3g} by step {self.step}")

    def _start_with_important_kernels(self, adaptation: Adaptation, images: np.ndarray, labels: np.ndarray | None) -> None:
        """At the end of a probe, choose the kernels that stay modulated, and start again from the source."""
        seed = int(torch.randint(2**31, (), generator=self.random, device=self.device))
        chosen = np.resize(np.arange(len(images)), PROBED)
        real = channels_first(images[chosen]).to(self.device).float().div(127.5).sub(1)
        of_real = labels[chosen] if labels is not None and self.classes else None
        adaptation.choose_kernels(fisher(self.generator, self.critic, self.config, self.latent, seed, of_real, real), seed)
        self.optimisers = self._make_optimisers(adaptation.strategy)
        self.restart_average()

    def _take_step_on(self, images: np.ndarray, labels: np.ndarray | None, held_out: np.ndarray | None) -> None:
        """Take one step on images, which are moved to the device only when the array differs from the last one."""
        if self._prepared is None or self._prepared[0] is not images:
            self._prepared = images, Data.on(self.device, images, labels if self.classes else None, held_out)
            self._recorded.clear()
        self._weight.fill_(1 - min(self.config.ema, (1 + self.step) / (10 + self.step)))
        _, data = self._prepared
        due = self._regularisers_due()
        step = partial(self._take_step, data, due)
        if self._graphs:
            self._recorded.setdefault(due, Graphed(self.random))(step)
        else:
            step()

    def _regularisers_due(self) -> tuple[bool, ...]:
        """Return for each critic step of the next step whether it takes a lazy penalty, and whether the generator's does."""
        n, config = self.config.critic_steps, self.config
        lazy = config.penalty_every > 1
        penalties = [lazy and (self.step * n + i) % config.penalty_every == 0 for i in range(n)]
        return (*penalties, config.path_length > 0 and self.step % config.path_length_every == 0)

    def _take_step(self, data: Data, due: tuple[bool, ...]) -> None:
        """Take the critic's steps and the generator's. Nothing here waits for the device."""
        *penalties, path_length = due
        for penalty in penalties:
            torch.maximum(self._worst, self._critic_step(data, lazy_penalty=penalty), out=self._worst)
        torch.maximum(self._worst, self._generator_step(data, path_length=path_length), out=self._worst)
        if self.average is not None:
            self._update_average(self.average)

    def _critic_step(self, data: Data, *, lazy_penalty: bool) -> Tensor:
        """Take one critic step on a new minibatch; return the magnitude of the loss."""
        n = self.config.batch
        chosen, labels = data.choose(n, self.random)
        real = real_images(data.pixels, chosen, self.config, self.random)
        with torch.no_grad():
            before, fake = real, self.generator.training_images(self._latents(n), labels, self.random)
            if self.augment.pseudo:
                pseudo = self.generator.training_images(self._latents(n), labels, self.random)
                real = self.augment.with_pseudo(real, pseudo)
            real, fake = self.augment(real), self.augment(fake)
        mix = torch.rand(n, 1, 1, 1, generator=self.random, device=self.device)
        observe = None if self.augment.target is None else partial(self._adapt_augmentation, data)
        regularise = None if self.adaptation is None else self.adaptation.lecam
        loss = critic_loss(self.config, self.judge, real, labels, fake, mix, observe, regularise)
        if lazy_penalty:
            loss = loss + lazy_r1(self.config, self.judge, before, labels, self.augment)
        return self._update("critic", loss)

    @torch.no_grad()
    def _adapt_augmentation(self, data: Data, on_real: Tensor, on_fake: Tensor) -> None:
        """Update the probability of a transform from the critic's scores of real and generated images, both (batch,)."""
        assert data.held_out is not None, "an adaptive augmentation needs held-out images"
        n, batch = len(data.held_out), self.config.batch
        # Few images are all scored at every step: which of them are drawn would be most of the signal's noise.
        chosen = torch.arange(batch, device=self.device) % n if n <= batch else draw(n, batch, self.random)
        on_held_out, _ = self.judge(self.augment(real_images(data.held_out, chosen, self.config, self.random)))
        self.augment.update(on_real, on_held_out, on_fake)

    def _generator_step(self, data: Data, *, path_length: bool) -> Tensor:
        """Take one generator step; return the magnitude of the loss."""
        labels = None if data.present is None else data.present[draw(len(data.present), self.config.batch, self.random)]
        trained = [parameter for parameter in self.critic.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        z, inconsistency = self._latents(self.config.batch), None
        if self._correspondence is None:
            fake = self.generator.training_images(z, labels, self.random)
        else:
            fake, inconsistency = self._correspondence.generate(self.generator, z, labels)
        loss = generator_loss(self.config, self.judge, self.augment(fake), labels)
        loss = loss if inconsistency is None else loss + inconsistency
        if path_length:
            half = self.config.batch // 2  # as in the paper, for the memory of the second derivative
            z = torch.randn(half, self.latent, generator=self.random, device=self.device)
            loss = loss + self.path_length.penalty(self.generator, z, None if labels is None else labels[:half])
        magnitude = self._update("generator", loss)
        for parameter in trained:
            parameter.requires_grad_(True)
        return magnitude

    def _update(self, name: str, loss: Tensor) -> Tensor:
        """Step a network's optimiser on its loss plus the strategy's penalty; return the magnitude of their sum."""
        penalty = None if self.adaptation is None else self.adaptation.penalty(name)
        if penalty is not None:
            loss = loss + penalty
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.detach().abs()

    @torch.no_grad()
    def _update_average(self, average: Generator) -> None:
        for mean, parameter in zip(average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(parameter, self._weight)
        for copied, buffer in zip(average.buffers(), self.generator.buffers(), strict=True):
            copied.copy_(buffer)

    def _latents(self, n: int) -> Tensor:
        z = torch.randn(n, self.latent, generator=self.random, device=self.device)
        return z if self._correspondence is None else self._correspondence.latents(z, self.random)


def to_device(network: Network, device: torch.device | str) -> Network:
    """Move a network to a device, channels-last: the layout in which convolutions are fastest, also on the CPU."""
    return network.to(device).to(memory_format=torch.channels_last)
