"""Augmentation in training: transforms real and generated images, and, in ADA, finds out how often.

Both go through the same random transforms, so the critic compares the two distributions after them. Where the transforms can
be undone as a mapping of distributions, these are equal only if the images' own distributions are, and the generator learns
none of the transforms. Mirroring half of the images cannot be undone: `flip` says that mirror images count as real. What leaves
an image alone with some probability can be; ADA's probability therefore stays below 1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.config.augmentations import Augmentation
from trainers.core.transforms import TRANSFORMS

#: ADA's highest probability: beyond it, Karras et al. (2020) saw transforms leak into what is generated.
HIGHEST = 0.8

#: ADA's probability could rise from 0 to 1 in this share of the training.
RAMP = 0.25

#: Share of a running mean of the signal that remains after a critic step.
MEMORY = 0.9


class Augmenter:
    """Transforms images as an augmentation says, and keeps ADA's probability.

    ADA's signal is r_t = E[sign(D(real) - c)], the share of the training images that score on the real side of c less that of
    those on the other: 0 while the critic cannot tell, 1 when it knows each of its few images. With a hinge or a logistic loss
    c is 0, as in the paper. A Wasserstein critic's scores have no zero, for the loss stays the same when all are moved: c is
    then halfway between the minibatch's mean real and mean generated score. The signal is compared with its target after
    every critic step, and the probability goes up or down by one small step.

    Attributes:
        probability: how often a transform is applied to an image, a scalar on the device; 1 unless adaptive.
        signal: running mean of ADA's signal, a scalar on the device.
    """

    def __init__(self, augmentation: Augmentation, *, centred: bool, critic_steps: int, random: torch.Generator) -> None:
        """Begin at probability 0 where it adapts itself.

        Args:
            augmentation: what to do.
            centred: whether scores have no zero of their own.
            critic_steps: how many there will be in all.
            random: what all random numbers come from; its device is the images'.
        """
        self.target = augmentation.adaptive_target
        self._transforms = [TRANSFORMS[name] for name in augmentation.transforms]
        self._centred = centred
        self._step = 1 / max(1.0, RAMP * critic_steps)
        self._random = random
        self.probability = torch.full((), 1.0 if self.target is None else 0.0, device=random.device)
        self.signal = torch.zeros((), device=random.device)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images (N, 3, H, W) in [-1, 1] transformed at random; colours may leave that range."""
        for transform in self._transforms:
            transformed = transform(images, self._draw)
            if self.target is not None:
                transformed = torch.where(self._draw(len(images), 1, 1, 1) < self.probability, transformed, images)
            images = transformed
        return images.contiguous(memory_format=torch.channels_last) if self._transforms else images

    @torch.no_grad()
    def look(self, on_real: Tensor, on_fake: Tensor) -> None:
        """Learn from the critic's scores (N,) of a minibatch's real and generated images, both transformed."""
        if self.target is not None:
            zero = (on_real.mean() + on_fake.mean()) / 2 if self._centred else 0.0
            self.signal.lerp_((on_real - zero).sign().mean(), 1 - MEMORY)
            self.probability.add_((self.signal - self.target).sign(), alpha=self._step).clamp_(0, HIGHEST)

    def state(self) -> dict[str, Tensor]:
        """Return what has been learnt, as a checkpoint holds it."""
        if self.target is None:
            return {}
        return {"augmentation.probability": self.probability, "augmentation.signal": self.signal}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random, device=self._random.device)
