"""The independent critic on real images with increasing degradation, and its checks."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from tests.support.endurance import repeats
from trainers.config.settings import GanConfig
from trainers.domains import get
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.iw import iw_score

pytestmark = pytest.mark.slow

GAN = GanConfig(resolution=16, width=4)


def digits() -> np.ndarray:
    return get("digits").load("reference", 16).images


def noisy(images: np.ndarray, level: float) -> np.ndarray:
    noise = level * np.random.default_rng(0).normal(size=images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in images])


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(repeats(1, full=3)))
def test_it_falls_with_noise_and_with_blur(seed: int):
    real, clean = digits()[::2], digits()[1::2]

    def distance(fake: np.ndarray) -> float:
        return -iw_score(real, fake, GAN, seed, steps=60).value

    nearest = distance(clean)
    for degraded in ([noisy(clean, level) for level in (60, 150)], [blurred(clean, radius) for radius in (1, 2)]):
        distances = [nearest, *map(distance, degraded)]
        assert all(later > earlier + 0.5 for earlier, later in pairwise(distances)), distances


def test_the_value_is_determined_by_the_seed():
    real, fake = digits()[:40], noisy(digits()[40:90], 60)
    state = torch.get_rng_state()
    distance = iw_score(real, fake, GAN, seed=0, steps=3)
    assert iw_score(real, fake, GAN, seed=0, steps=3) == distance
    assert iw_score(real, fake, GAN, seed=1, steps=3) != distance
    assert torch.equal(torch.get_rng_state(), state)


def test_memorised_images_do_not_increase_the_distance():
    """The critic's scores of the eight real and eight generated images that it trains on, all digits, differ by about 3."""
    real, fake = digits()[:16], digits()[16:32]
    distances = [iw_score(real, fake, GAN, seed, steps=40) for seed in range(3)]
    assert max(abs(distance.value) for distance in distances) < 1.5


@pytest.mark.parametrize("family", ["sngan", "dcgan"])
def test_the_critic_does_not_depend_on_the_gans_family(family: str):
    real, fake = digits()[:40], noisy(digits()[40:90], 60)
    other = GAN.model_copy(update={"family": family})
    assert iw_score(real, fake, other, seed=0, steps=2) == iw_score(real, fake, GAN, seed=0, steps=2)


def test_the_distance_of_equal_sets_by_an_untrained_critic_is_zero():
    constant = np.full((8, 16, 16, 3), 99, np.uint8)
    assert iw_score(constant, constant, GAN, seed=0, steps=0) == Estimate(0, 0)


def test_the_order_of_the_images_has_little_effect():
    """The order decides which half each image is in."""
    real, fake = digits()[::2], noisy(digits()[1::2], 150)
    forward, backward = (iw_score(real[::step], fake[::step], GAN, seed=0, steps=40) for step in (1, -1))
    assert abs(forward.value - backward.value) < 0.25 * abs(forward.value)


@pytest.mark.parametrize(("n", "m", "message"), [(3, 9, "3 real images are too few"), (9, 3, "3 generated images are too few")])
def test_too_few_images_are_refused(n: int, m: int, message: str):
    with pytest.raises(ValueError, match=message):
        iw_score(digits()[:n], digits()[:m], GAN, seed=0, steps=1)
