"""The losses: WGAN-GP (Gulrajani et al. 2017) with AC-GAN's class terms (Odena et al. 2017) when conditional."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.networks import Critic


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return E[(||grad D(x)||_2 - 1)^2] over points x between real and generated images.

    Args:
        critic: the critic D.
        real: images (N, 3, H, W) in [-1, 1].
        fake: generated images of the same shape, detached.
        mix: where between the two, uniform in [0, 1], (N, 1, 1, 1).
    """
    x = torch.lerp(real, fake, mix).requires_grad_(True)
    scores, _ = critic(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(2, dim=1)
    return (norms - 1).square().mean()


def critic_loss(
    critic: Critic, real: Tensor, labels: Tensor | None, fake: Tensor, mix: Tensor, penalty_weight: float
) -> Tensor:
    """Return the critic's loss: E[D(fake)] - E[D(real)] + lambda * penalty (+ cross-entropy of real images' classes).

    Real and generated images go through in one pass: layer norm keeps the images of a batch apart.
    """
    scores, logits = critic(torch.cat([real, fake]))
    n = len(real)
    loss: Tensor = scores[n:].mean() - scores[:n].mean()
    if penalty_weight:
        loss = loss + penalty_weight * gradient_penalty(critic, real, fake, mix)
    if logits is not None and labels is not None:
        loss = loss + F.cross_entropy(logits[:n], labels)
    return loss


def generator_loss(critic: Critic, fake: Tensor, labels: Tensor | None) -> Tensor:
    """Return the generator's loss: -E[D(fake)] (+ cross-entropy of the classes that were asked for)."""
    scores, logits = critic(fake)
    loss: Tensor = -scores.mean()
    if logits is not None and labels is not None:
        loss = loss + F.cross_entropy(logits, labels)
    return loss
