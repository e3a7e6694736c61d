"""Augmentation in training: transforms of real and generated images and, for ADA, their probability.

Real and generated images go through the same random transforms, and the critic compares the two transformed distributions. If
the transforms are invertible as a mapping of distributions, these are equal only if the distributions of the images are, so
the generator does not learn the transforms. Mirroring half of the images is not invertible: with `flip`, mirror images count
as real. A transform that leaves an image unchanged with some probability is invertible; ADA's probability therefore stays
below 1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.config.augmentations import Augmentation
from trainers.core.transforms import TRANSFORMS

#: ADA's highest probability. Above it Karras et al. (2020) saw transforms leak into the generated images.
HIGHEST = 0.8

#: Share of the training in which ADA's probability could rise from 0 to 1.
RAMP = 0.25

#: Decay of the running mean of ADA's signal, per critic step.
MEMORY = 0.9


class Augmenter:
    """Applies the transforms of an augmentation, and adapts their probability for ADA (Karras et al. 2020).

    ADA's signal is r_t = E[sign(D(real) - c)]: the share of training images with a score above c minus the share below. It is
    0 while the critic cannot separate real from generated images, and 1 when it has memorised the training images. With the
    hinge and the non-saturating loss c is 0, as in the paper. The scores of a Wasserstein critic have no zero, since adding a
    constant to all of them does not change the loss; there c is the mean of the minibatch's mean real and mean generated
    score. After every critic step the probability rises by one small step if the signal is above its target, or falls if it is
    below.

    Attributes:
        target: target of the signal; None unless the augmentation is adaptive.
        probability: probability that a transform is applied to an image, a scalar on the device; 1 unless adaptive.
        signal: running mean of ADA's signal, a scalar on the device.
    """

    def __init__(self, augmentation: Augmentation, *, centred: bool, critic_steps: int, random: torch.Generator) -> None:
        """Start at probability 0 if adaptive.

        Args:
            centred: whether the loss leaves the zero of the scores undetermined, as a Wasserstein critic's does.
            critic_steps: total number of critic steps.
            random: source of all random numbers, on the device of the images.
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
    def update(self, on_real: Tensor, on_fake: Tensor) -> None:
        """Update signal and probability from the critic's scores (N,) of transformed real and generated images."""
        if self.target is not None:
            zero = (on_real.mean() + on_fake.mean()) / 2 if self._centred else 0.0
            self.signal.lerp_((on_real - zero).sign().mean(), 1 - MEMORY)
            self.probability.add_((self.signal - self.target).sign(), alpha=self._step).clamp_(0, HIGHEST)

    def state(self) -> dict[str, Tensor]:
        """Return probability and signal, as a checkpoint stores them; empty unless adaptive."""
        if self.target is None:
            return {}
        return {"augmentation.probability": self.probability, "augmentation.signal": self.signal}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set probability and signal from the tensors that `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random, device=self._random.device)
