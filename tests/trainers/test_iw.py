"""The independent critic on increasingly corrupted real images, and its errors."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from trainers.config.settings import GanConfig
from trainers.domains import get
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.iw import iw_distance

GAN = GanConfig(resolution=16, width=4)


def digits() -> np.ndarray:
    return get("digits").load("reference", 16).images


def noisy(images: np.ndarray, level: float) -> np.ndarray:
    noise = level * np.random.default_rng(0).normal(size=images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    smear = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image).filter(smear)) for image in images])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_grows_with_noise_and_with_blur(seed: int):
    real, clean = digits()[::2], digits()[1::2]

    def distance(fake: np.ndarray) -> float:
        return iw_distance(real, fake, GAN, seed, steps=60).value

    nearest = distance(clean)
    for spoilt in ([noisy(clean, level) for level in (60, 150)], [blurred(clean, radius) for radius in (1, 2)]):
        distances = [nearest, *map(distance, spoilt)]
        assert all(later > earlier + 0.5 for earlier, later in pairwise(distances)), distances


def test_the_same_seed_gives_the_same_value_and_another_seed_another():
    real, fake = digits()[:40], noisy(digits()[40:90], 60)
    state = torch.get_rng_state()
    found = iw_distance(real, fake, GAN, seed=0, steps=3)
    assert iw_distance(real, fake, GAN, seed=0, steps=3) == found
    assert iw_distance(real, fake, GAN, seed=1, steps=3) != found
    assert torch.equal(torch.get_rng_state(), state)


def test_what_the_critic_learns_by_heart_does_not_count():
    """On the eight and eight images of one domain that it is trained on the critic's scores come to lie about 3 apart."""
    real, fake = digits()[:16], digits()[16:32]
    learnt = [iw_distance(real, fake, GAN, seed, steps=40) for seed in range(3)]
    assert max(abs(each.value) for each in learnt) < 1.5


@pytest.mark.parametrize("family", ["sngan", "dcgan"])
def test_the_critic_is_the_same_whatever_the_gans_family(family: str):
    real, fake = digits()[:40], noisy(digits()[40:90], 60)
    other = GAN.model_copy(update={"family": family})
    assert iw_distance(real, fake, other, seed=0, steps=2) == iw_distance(real, fake, GAN, seed=0, steps=2)


def test_an_untrained_critic_finds_no_distance_between_equal_sets():
    constant = np.full((8, 16, 16, 3), 99, np.uint8)
    assert iw_distance(constant, constant, GAN, seed=0, steps=0) == Estimate(0, 0)


def test_no_order_of_the_images_changes_much():
    """The order decides the halves, and those the value, but little of it."""
    real, fake = digits()[::2], noisy(digits()[1::2], 150)
    found, again = (iw_distance(real[::way], fake[::way], GAN, seed=0, steps=40) for way in (1, -1))
    assert abs(found.value - again.value) < 0.25 * found.value


@pytest.mark.parametrize(("n", "m", "message"), [(3, 9, "3 real images are too few"), (9, 3, "3 generated images are too few")])
def test_too_few_images_are_refused(n: int, m: int, message: str):
    with pytest.raises(ValueError, match=message):
        iw_distance(digits()[:n], digits()[:m], GAN, seed=0, steps=1)
