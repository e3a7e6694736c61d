"""Whether ADA's signal rises with the overfitting of the critic."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.science.table import Row
from trainers.config.augmentations import get_augmentation
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.gan import Gan
from trainers.domains import get, subset

GAN = GanConfig(resolution=8, width=8, latent=16)
TRAINING = TrainingConfig(
    steps=200, batch=16, critic_steps=2, generator_lr=2e-3, critic_lr=2e-3, gradient_penalty=1.0
)  # fmt: skip

#: Decay of the running mean of the former signal, per critic step.
FORMER_MEMORY = 0.9


def study(quick: bool) -> Iterator[Row]:
    """Yield how much the former and the present signal rise as a critic is trained on 20 and on 1,000 images."""
    seeds = range(1 if quick else 3)
    few, many = (np.mean([_rise(signals(size, seed)) for seed in seeds], 0) for size in (20, 1000))
    before, after = (f"{on_few:+.2f} on 20, {on_many:+.2f} on 1,000" for on_few, on_many in zip(few, many, strict=True))
    yield Row(
        "ADA: rise of the signal from the first to the last 100 of 400 critic steps, letters", before, after,
        "above 0.3 on 20, at most half on 1,000", bool(few[1] > 0.3 and many[1] <= few[1] / 2),
    )  # fmt: skip


def _rise(path: np.ndarray) -> np.ndarray:
    """Return the mean of the last quarter of steps minus that of the first, (2,)."""
    quarter = len(path) // 4
    rise: np.ndarray = path[-quarter:].mean(0) - path[:quarter].mean(0)
    return rise


def signals(size: int, seed: int) -> np.ndarray:
    """Return the former signal and the present one after each critic step on `size` letters, (steps, 2).

    No image is transformed. The former one is the mean sign of D(real) - c, with c halfway between the mean scores of real and
    generated images.
    """
    letters = get("letters").load("train", GAN.resolution)
    images = letters.images[subset(letters.labels, len(letters.images), size, seed)]
    ada = get_augmentation("ada[target=1]")  # never reached, so no image is transformed
    gan = Gan(GAN, TRAINING, classes=0, seed=seed, augmentation=ada)
    former, path, update = torch.zeros(()), list[tuple[float, float]](), gan.augment.update

    def observe(on_train: Tensor, on_held_out: Tensor, on_generated: Tensor) -> None:
        centre = (on_train.mean() + on_generated.mean()) / 2
        former.lerp_((on_train - centre).sign().mean(), 1 - FORMER_MEMORY)
        update(on_train, on_held_out, on_generated)
        path.append((former.item(), gan.augment.signal.item()))

    gan.augment.update = observe  # type: ignore[method-assign]
    kept = size - ada.held_out(size)
    gan.train(images[:kept], None, TRAINING.steps, images[kept:])
    assert gan.augment.probability.item() == 0
    return np.array(path)
