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
    generator: Generator, critic: Critic, training: TrainingConfig, latent: int, seed: int, labels: np.ndarray | None = None
) -> dict[str, Tensor]:
    """Return the diagonal of the Fisher information by ``NETWORK.PARAMETER``, zero where the loss does not depend on it.

    The networks are not changed; `training` names the loss, and `seed` decides the latents. `labels` are the
    requested classes int64 (`SAMPLES`,), by default all in turn if the generator is conditional.
    """
    # Copies, since every pass in training updates running statistics and the power iterations of spectral norms.
    generator, critic = copy.deepcopy(generator).eval(), copy.deepcopy(critic).eval()
    networks = {"generator": generator, "critic": critic}
    named = {f"{name}.{key}": p for name, network in networks.items() for key, p in network.named_parameters()}
    for network in networks.values():
        set_low_gradients(network.requires_grad_(True), False)
    like = next(generator.parameters())
    random = torch.Generator().manual_seed(derive_seed("fisher", seed))
    if labels is None and generator.classes:
        labels = np.arange(SAMPLES) % generator.classes
    wanted = None if labels is None else torch.from_numpy(labels).to(like.device)
    sums = {key: torch.zeros_like(parameter, requires_grad=False) for key, parameter in named.items()}
    for start in range(0, SAMPLES, BATCH):
        z = torch.randn(BATCH, latent, generator=random).to(like)
        requested = None if wanted is None else wanted[start : start + BATCH]
        scores, logits = critic(generator(z, requested))
        scores = critic.given(scores, logits, requested)
        losses = F.softplus(-scores) if training.loss == "non-saturating" else -scores
        if logits is not None and requested is not None and not critic.projects:
            losses = losses + F.cross_entropy(logits, requested, reduction="none")
        for loss in losses:
            gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient, value=1 / SAMPLES)
    return sums
