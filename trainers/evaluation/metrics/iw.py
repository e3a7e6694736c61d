"""The independent Wasserstein critic (Danihelka et al. 2017), by which Wang et al. (2018) evaluate transferred GANs.

A new critic is trained to separate held-out real images from generated ones. The generator's own critic is unsuitable: it may
have memorised the training images, and the generator was trained against it.
"""

import numpy as np
import torch
from torch import Tensor

from trainers.common.seeds import derive_seed
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.adam import Adam
from trainers.core.gan import to_device
from trainers.core.losses import critic_loss
from trainers.evaluation.metrics.estimate import Estimate
from trainers.networks import Critic, make_critic

#: WGAN-GP, whatever the generator's loss, so that distances are comparable. The learning rate is higher than in the training of
#: a GAN, because these images do not change.
TRAINING = TrainingConfig(loss="wgan-gp", batch=32, critic_lr=1e-3)

#: Images scored at a time.
SCORING_BATCH = 250


def iw_score(
    real: np.ndarray, fake: np.ndarray, gan: GanConfig, seed: int, steps: int, device: str | torch.device = "cpu"
) -> Estimate:
    """Return the mean score of generated images minus that of real ones, by a critic trained to minimise it.

    This is minus the distance, as the paper prints it: the value is negative, and higher is better.

    The critic is a ResNet of the GAN's resolution, width and depth, whatever the GAN's family. It is trained on one half of
    each set and scores the other half, so memorised images do not count. The value is near 0 or above if the sets cannot be
    told apart; it falls as the distance grows, and with `steps` up to the critic's optimum. Compare it for equal steps, images
    and networks. The standard error is from the sampling of the scored images, for this critic.

    Args:
        real: uint8 (N, H, W, 3), images that no generator was trained on; N >= 4.
        fake: uint8 (M, H, W, 3), generated images; M >= 4.
        gan: the size of the critic.
        seed: decides the halves, the critic's initialisation and its batches.

    Raises:
        ValueError: there are fewer images.
    """
    for images, name in ((real, "real"), (fake, "generated")):
        if len(images) < 4:
            raise ValueError(f"{len(images)} {name} images are too few to train and test a critic; use 4 or more")
    device = torch.device(device)
    random = torch.Generator(device).manual_seed(derive_seed("iw", "batches", seed))
    (real_train, real_test), (fake_train, fake_test) = (_halves(images, seed, device) for images in (real, fake))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("iw", "initialisation", seed))
        critic = to_device(make_critic(gan.model_copy(update={"family": "resnet"})), device)
    optimiser = Adam(critic.parameters(), TRAINING.critic_lr, TRAINING.betas)

    def batch(images: Tensor) -> Tensor:
        return _floats(images[torch.randint(len(images), (TRAINING.batch,), generator=random, device=device)])

    for _ in range(steps):
        mix = torch.rand(TRAINING.batch, 1, 1, 1, generator=random, device=device)
        loss = critic_loss(TRAINING, critic, batch(real_train), None, batch(fake_train), mix)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    on_real, on_fake = _scores(critic, real_test), _scores(critic, fake_test)
    variance = on_real.var() / len(on_real) + on_fake.var() / len(on_fake)
    return Estimate(float(on_fake.mean() - on_real.mean()), float(variance.sqrt()))


def _halves(images: np.ndarray, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return two halves of the shuffled images, uint8 (., 3, H, W), on a device."""
    order = np.random.default_rng(derive_seed("iw", "halves", seed)).permutation(len(images))
    pixels = torch.from_numpy(images[order].transpose(0, 3, 1, 2).copy()).to(device)
    return pixels[: len(images) // 2], pixels[len(images) // 2 :]


def _floats(images: Tensor) -> Tensor:
    """Return images uint8 as float in [-1, 1]."""
    return images.float().div(127.5).sub(1)


@torch.no_grad()
def _scores(critic: Critic, images: Tensor) -> Tensor:
    """Return the critic's scores, float64 (N,)."""
    return torch.cat([critic(_floats(batch))[0] for batch in torch.split(images, SCORING_BATCH)]).double()
