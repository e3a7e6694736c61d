"""The Fisher information of a pre-trained generator and critic on the generator's samples (Li et al. 2020).

As there, the generator's loss on a sample replaces its negative log-likelihood: F = E[(d loss(D(G(z))) / d parameter)^2] for
the parameters of both networks, with the gradient of each sample squared separately.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.common.seeds import derive_seed
from trainers.config.settings import TrainingConfig
from trainers.networks import Critic, Generator, set_low_gradients

#: Samples for the expectation, and samples per batch, from which batch norm takes its statistics.
SAMPLES, BATCH = 128, 16


def fisher(
    generator: Generator, critic: Critic, training: TrainingConfig, latent: int, seed: int, labels: np.ndarray | None = None,
    real: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the diagonal of the Fisher information by ``NETWORK.PARAMETER``, zero where the loss does not depend on it.

    The networks are not changed; `training` names the loss, and `seed` decides the latents. `labels` are the
    requested classes int64 (`SAMPLES`,), by default all in turn if the generator is conditional. With `real` images in [-1, 1],
    (N, 3, H, W), of the classes `labels`, there are N samples, a multiple of `BATCH`, and the critic's information is that of
    its own loss on a real image and a sample (Zhao et al. 2022).
    """
    # Copies, since every pass in training updates running statistics and the power iterations of spectral norms.
    generator, critic = copy.deepcopy(generator).eval(), copy.deepcopy(critic).eval()
    networks = {"generator": generator, "critic": critic}
    named = {f"{name}.{key}": p for name, network in networks.items() for key, p in network.named_parameters()}
    for network in networks.values():
        set_low_gradients(network.requires_grad_(True), False)
    like = next(generator.parameters())
    random = torch.Generator().manual_seed(derive_seed("fisher", seed))
    samples = SAMPLES if real is None else len(real)
    if labels is None and generator.classes:
        labels = np.arange(samples) % generator.classes
    wanted = None if labels is None else torch.from_numpy(labels).to(like.device)
    sums = {key: torch.zeros_like(parameter, requires_grad=False) for key, parameter in named.items()}
    for start in range(0, samples, BATCH):
        z = torch.randn(BATCH, latent, generator=random).to(like)
        requested = None if wanted is None else wanted[start : start + BATCH]
        scores, logits = critic(generator(z, requested))
        scores = critic.given(scores, logits, requested)
        losses = F.softplus(-scores) if training.loss == "non-saturating" else -scores
        if logits is not None and requested is not None and not critic.projects:
            losses = losses + F.cross_entropy(logits, requested, reduction="none")
        of_losses = [(losses, named)]
        if real is not None:
            by_network = [{key: p for key, p in named.items() if key.startswith(f"{name}.")} for name in networks]
            on_real, of_real = critic(real[start : start + BATCH])
            on_real = critic.given(on_real, of_real, requested)
            of_losses = list(zip((losses, _critic_losses(training, on_real, scores)), by_network, strict=True))
        for each, parameters in of_losses:
            for loss in each:
                gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
                for key, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        sums[key].addcmul_(gradient, gradient, value=1 / samples)
    return sums


def _critic_losses(training: TrainingConfig, on_real: Tensor, on_fake: Tensor) -> Tensor:
    """Return the critic's loss (N,) on each pair of a real and a generated image, without penalties and class terms."""
    if training.loss == "wgan-gp":
        return on_fake - on_real
    if training.loss == "hinge":
        return F.relu(1 - on_real) + F.relu(1 + on_fake)
    return F.softplus(-on_real) + F.softplus(on_fake)
