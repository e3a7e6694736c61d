"""The losses: WGAN-GP, hinge, and non-saturating with R1; when conditional with the class terms of AC-GAN or a projection.

WGAN-GP is that of Gulrajani et al. (2017), the hinge loss that of Miyato et al. (2018), the non-saturating loss that of
Goodfellow et al. (2014) with the R1 penalty of Mescheder et al. (2018); AC-GAN is Odena et al. (2017), and a
projection critic, which scores an image given its class, Miyato & Koyama (2018).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config.settings import TrainingConfig
from trainers.networks import Critic


def critic_loss(
    config: TrainingConfig, critic: Critic, real: Tensor, labels: Tensor | None, fake: Tensor, mix: Tensor,
    observe: Callable[[Tensor, Tensor], None] | None = None, regularise: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Return the critic's loss, a scalar, with its penalty and, with AC-GAN's class head, the real images' cross-entropy.

    In some families it has a further loss of the real images: `Critic.on_real`.

    Args:
        real: images (N, 3, H, W) in [-1, 1].
        labels: int64 (N,), the classes of the real images and of the generated ones, or None.
        fake: generated images, detached, of the shape of `real`.
        mix: (N, 1, 1, 1), uniform in [0, 1]; WGAN-GP's penalty is computed at this fraction of the way from real to fake.
        observe: called with the scores (N,) of the real and of the generated images, without a projection; None for nothing.
        regularise: returns a term of the loss, a scalar, from the scores, with a projection; None for no term.

    A penalty that is not taken at every step (`penalty_every`) is left out: it is `lazy_r1`.
    """
    r1 = config.loss == "non-saturating" and config.gradient_penalty > 0 and config.penalty_every == 1
    if r1:
        real = real.detach().requires_grad_(True)
    n, further = len(real), None
    if critic.keeps_images_apart and not r1:  # one pass is faster; R1 needs the gradient of the real images alone
        scores, logits = critic(torch.cat([real, fake]))
        on_real, on_fake = scores[:n], scores[n:]
        logits, of_fake = (None, None) if logits is None else (logits[:n], logits[n:])
    else:
        on_real, logits, further = critic.on_real(real)
        on_fake, of_fake = critic(fake)
    if observe is not None:
        observe(on_real, on_fake)
    on_real, on_fake = critic.given(on_real, logits, labels), critic.given(on_fake, of_fake, labels)
    loss: Tensor
    if config.loss == "wgan-gp":
        loss = on_fake.mean() - on_real.mean()
        if config.gradient_penalty:
            loss = loss + config.gradient_penalty * gradient_penalty(critic, real, fake, mix, labels)
    elif config.loss == "hinge":
        loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    else:
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        if r1:
            loss = loss + config.gradient_penalty / 2 * _norms(on_real, real).square().mean()
    if regularise is not None:
        loss = loss + regularise(on_real, on_fake)
    if logits is not None and labels is not None and not critic.projects:
        loss = loss + F.cross_entropy(logits, labels)
    return loss if further is None else loss + further


def lazy_r1(
    config: TrainingConfig, critic: Critic, real: Tensor, labels: Tensor | None, augment: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return R1 of images (N, 3, H, W) before their augmentation, for one step of `penalty_every` (Karras et al. 2020)."""
    real = real.detach().requires_grad_(True)
    scores, logits = critic(augment(real))
    norms = _norms(critic.given(scores, logits, labels), real)
    return config.gradient_penalty / 2 * config.penalty_every * norms.square().mean()


def generator_loss(config: TrainingConfig, critic: Critic, fake: Tensor, labels: Tensor | None) -> Tensor:
    """Return the generator's loss, a scalar; with AC-GAN's class head with the cross-entropy of the classes `labels`."""
    scores, logits = critic(fake)
    scores = critic.given(scores, logits, labels)
    loss: Tensor = F.softplus(-scores).mean() if config.loss == "non-saturating" else -scores.mean()
    if logits is not None and labels is not None and not critic.projects:
        loss = loss + F.cross_entropy(logits, labels)
    return loss


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return E[(||grad D(x)||_2 - 1)^2] at points x between real and generated images; for the arguments see `critic_loss`."""
    x = torch.lerp(real, fake, mix).requires_grad_(True)
    scores, logits = critic(x)
    penalty: Tensor = (_norms(critic.given(scores, logits, labels), x) - 1).square().mean()
    return penalty


def _norms(scores: Tensor, x: Tensor) -> Tensor:
    """Return the norms (N,) of the gradient of each image's score, or its mean over patches, with respect to its pixels."""
    scores = scores if scores.ndim == 1 else scores.mean(1)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(2, dim=1)
    return norms
