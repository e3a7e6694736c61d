"""Augmentation in training: transforms of real and generated images, pseudo-real images, and their adaptive probability.

Real and generated images go through the same random transforms, and the critic compares the two transformed distributions. If
the transforms are invertible as a mapping of distributions, these are equal only if the distributions of the images are, so
the generator does not learn the transforms. Mirroring half of the images is not invertible: with `flip`, mirror images count
as real. A transform that leaves an image unchanged with some probability is invertible; ADA's probability therefore stays
below 1. So does APA's, which is that of a generated image in the place of a real one: the critic then compares the generated
distribution with a mixture of both, and these are equal only if the distributions of the images are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.config.augmentations import Augmentation
from trainers.core.transforms import TRANSFORMS

#: The highest adaptive probability. Above it Karras et al. (2020) saw transforms leak into the generated images.
HIGHEST = 0.8

#: Decay of the running means in ADA's signal, per critic step.
MEMORY = 0.99


class Augmenter:
    """Applies an augmentation, and adapts its probability for ADA (Karras et al. 2020) and APA (Jiang et al. 2021).

    The signal is the paper's r_v = (E[D(train)] - E[D(held out)]) / (E[D(train)] - E[D(generated)]), of running means of the
    critic's scores. Held-out images are real images that are not trained on. It is 0 if the critic scores these as it scores
    training images, and 1 if it scores them as generated ones, so that only memorised images are real to it. It does not depend
    on the zero and the scale of the scores; the loss of a Wasserstein critic leaves the zero undetermined. After every critic
    step the probability rises by one small step if the signal is above its target, or falls if it is below.

    Attributes:
        target: target of the signal; None unless the augmentation is adaptive.
        pseudo: whether the probability is that of a generated image in the place of a real one, rather than of a transform.
        probability: the probability, a scalar on the device; 1 unless adaptive.
    """

    def __init__(self, augmentation: Augmentation, *, batch: int, random: torch.Generator) -> None:
        """Start at probability 0 if adaptive.

        Args:
            batch: real images per critic step.
            random: source of all random numbers, on the device of the images.
        """
        self.target, self.pseudo = augmentation.adaptive_target, augmentation.pseudo
        self._transforms = [TRANSFORMS[name] for name in augmentation.transforms]
        self._step = augmentation.ramp(batch)
        self._random = random
        self.probability = torch.full((), 1.0 if self.target is None else 0.0, device=random.device)
        self._gaps = torch.zeros(2, device=random.device)  # running means: E[D(train)] minus E[D(held out)], E[D(generated)]
        self._real: Tensor | None = None  # (N,), which images of the last minibatch are real, if some may be generated

    @property
    def signal(self) -> Tensor:
        """The signal, a scalar on the device in [-1, 1]; 0 while training images do not score above generated ones."""
        overfitting, separation = self._gaps
        return torch.where(separation > 0, overfitting / separation, 0.0).clamp(-1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images (N, 3, H, W) in [-1, 1] transformed at random; colours may leave that range."""
        for transform in self._transforms:
            transformed = transform(images, self._draw)
            if self.target is not None:
                transformed = torch.where(self._draw(len(images), 1, 1, 1) < self.probability, transformed, images)
            images = transformed
        return images.contiguous(memory_format=torch.channels_last) if self._transforms else images

    def with_pseudo(self, real: Tensor, generated: Tensor) -> Tensor:
        """Return real images (N, 3, H, W), each replaced by the generated one of its row with the present probability."""
        replaced = self._draw(len(real), 1, 1, 1) < self.probability
        self._real = ~replaced.flatten()
        return torch.where(replaced, generated, real)

    @torch.no_grad()
    def update(self, on_train: Tensor, on_held_out: Tensor, on_generated: Tensor) -> None:
        """Update signal and probability from the critic's scores (N,) of augmented images of the three kinds.

        Generated images in the place of training images do not count, nor does a minibatch without any real image.
        """
        assert self.target is not None
        others = torch.stack([on_held_out.mean(), on_generated.mean()])
        if self._real is None:
            gaps = on_train.mean() - others
        else:
            real = self._real.to(on_train).view(-1, *(1,) * (on_train.ndim - 1)).expand_as(on_train)  # all patches of an image
            count = real.sum()
            gaps = torch.where(count > 0, (on_train * real).sum() / count.clamp(min=1) - others, self._gaps)
        self._gaps.lerp_(gaps, 1 - MEMORY)
        self.probability.add_((self.signal - self.target).sign(), alpha=self._step).clamp_(0, HIGHEST)

    def state(self) -> dict[str, Tensor]:
        """Return the probability and what the signal is computed from, as a checkpoint stores them; empty unless adaptive."""
        if self.target is None:
            return {}
        return {"augmentation.probability": self.probability, "augmentation.gaps": self._gaps}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random, device=self._random.device)
