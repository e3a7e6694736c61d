"""The losses: WGAN-GP, hinge, non-saturating with R1; with AC-GAN's class terms (Odena et al. 2017) when conditional.

WGAN-GP is Gulrajani et al. (2017), the hinge loss Miyato et al. (2018), the non-saturating one Goodfellow et al. (2014) with
the R1 penalty of Mescheder et al. (2018).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config.settings import TrainingConfig
from trainers.networks import Critic


def critic_loss(
    config: TrainingConfig, critic: Critic, real: Tensor, labels: Tensor | None, fake: Tensor, mix: Tensor,
    seen: Callable[[Tensor, Tensor], None] = lambda on_real, on_fake: None,
) -> Tensor:  # fmt: skip
    """Return the critic's loss, its penalty and, when conditional, the cross-entropy of the real images' classes.

    Args:
        config: says which loss, and the penalty's weight.
        critic: the critic.
        real: images (N, 3, H, W) in [-1, 1].
        labels: int64 (N,), the real images' classes, or None.
        fake: generated images of the same shape, detached.
        mix: where between real and fake WGAN-GP's penalty is taken, uniform in [0, 1], (N, 1, 1, 1).
        seen: told the scores (N,) of the real images and of the generated ones.
    """
    r1 = config.loss == "non-saturating" and config.gradient_penalty > 0
    if r1:
        real = real.detach().requires_grad_(True)
    n = len(real)
    if critic.keeps_images_apart and not r1:  # one pass for both is quicker; R1 must go back through the real ones alone
        scores, logits = critic(torch.cat([real, fake]))
        on_real, on_fake, logits = scores[:n], scores[n:], None if logits is None else logits[:n]
    else:
        on_real, logits = critic(real)
        on_fake, _ = critic(fake)
    seen(on_real, on_fake)
    loss: Tensor
    if config.loss == "wgan-gp":
        loss = on_fake.mean() - on_real.mean()
        if config.gradient_penalty:
            loss = loss + config.gradient_penalty * gradient_penalty(critic, real, fake, mix)
    elif config.loss == "hinge":
        loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    else:
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        if r1:
            loss = loss + config.gradient_penalty / 2 * _norms(on_real, real).square().mean()
    if logits is not None and labels is not None:
        loss = loss + F.cross_entropy(logits, labels)
    return loss


def generator_loss(config: TrainingConfig, critic: Critic, fake: Tensor, labels: Tensor | None) -> Tensor:
    """Return the generator's loss (+ cross-entropy of the classes that were asked for)."""
    scores, logits = critic(fake)
    loss: Tensor = F.softplus(-scores).mean() if config.loss == "non-saturating" else -scores.mean()
    if logits is not None and labels is not None:
        loss = loss + F.cross_entropy(logits, labels)
    return loss


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return E[(||grad D(x)||_2 - 1)^2] over points x between real and generated images; see `critic_loss`."""
    x = torch.lerp(real, fake, mix).requires_grad_(True)
    scores, _ = critic(x)
    penalty: Tensor = (_norms(scores, x) - 1).square().mean()
    return penalty


def _norms(scores: Tensor, x: Tensor) -> Tensor:
    """Return the norms (N,) of the gradients of each image's score by its pixels."""
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(2, dim=1)
    return norms
