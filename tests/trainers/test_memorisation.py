"""Memorisation against its definition pair by pair, known cases, and repeated draws."""

import numpy as np
import pytest

from tests.support.features import ill_conditioned, normal
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.memorisation import memorisation


def plain(train: np.ndarray, reference: np.ndarray, generated: np.ndarray) -> float:
    """Return the probability by counting all pairs of distances."""
    fresh, made = (np.linalg.norm(each[:, None] - train[None], axis=-1).min(1) for each in (reference, generated))
    return float(np.mean((made[:, None] < fresh) + (made[:, None] == fresh) / 2))


@pytest.mark.parametrize(("train", "reference", "generated"), [
    (normal(90, 6, 1), normal(50, 6, 2), normal(70, 6, 3)),
    (normal(9, 6, 1), normal(50, 6, 2), 1.2 * normal(70, 6, 3) + 1),
    (normal(40, 100, 1), normal(30, 100, 2), 0.8 * normal(20, 100, 3)),
    (ill_conditioned(40, 20, 1), ill_conditioned(30, 20, 2), 100 * ill_conditioned(20, 20, 3)),
    (normal(1350, 4, 1), normal(20, 4, 2), normal(1300, 4, 3)),
    (normal(9, 6, 1), normal(50, 6, 2), np.concatenate([normal(9, 6, 1), normal(50, 6, 2)[:20], normal(30, 6, 4)])),
], ids=["equal", "farther", "N<D", "ill-conditioned", "tiles", "some copies"])  # fmt: skip
def test_it_equals_its_definition(train: np.ndarray, reference: np.ndarray, generated: np.ndarray):
    assert memorisation(train, reference, generated).value == pytest.approx(plain(train, reference, generated), rel=1e-9)
    backwards = memorisation(train[::-1], reference[::-1], generated[::-1])
    found = memorisation(train, reference, generated)
    assert backwards.value == pytest.approx(found.value, rel=1e-9)
    assert backwards.standard_error == pytest.approx(found.standard_error, rel=1e-9)


def test_copies_are_certain_and_equal_sets_are_even():
    train, reference = 1e3 + normal(60, 8, 1), 1e3 + normal(50, 8, 2)
    assert memorisation(train, reference, np.concatenate([train, train[:7]])) == Estimate(1, 0)
    assert memorisation(train, reference, reference).value == pytest.approx(0.5, rel=1e-12)
    assert memorisation(train, train, train) == Estimate(0.5, 0)  # as constant features: all distances are nought
    assert memorisation(train, reference, reference + 1e5) == Estimate(0, 0)


def test_half_copies_and_half_fresh_images_are_three_quarters():
    train, reference, generated = normal(400, 3, 1), normal(400, 3, 1)[::2] + 0.5, normal(400, 3, 1)[1::2] + 0.5
    mixed = np.concatenate([train[:200], generated])
    fresh = memorisation(train, reference, generated).value
    assert memorisation(train, reference, mixed).value == pytest.approx((1 + fresh) / 2, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_its_standard_error_is_that_of_repeated_draws(scale: float):
    random = np.random.default_rng(0)
    train = random.normal(size=(40, 4))
    drawn = [memorisation(train, random.normal(size=(60, 4)), random.normal(0, scale, (80, 4))) for _ in range(300)]
    scatter = np.std([each.value for each in drawn])
    assert np.mean([each.standard_error for each in drawn]) == pytest.approx(scatter, rel=0.15)


@pytest.mark.parametrize(("sizes", "message"), [
    ((0, 5, 5), "0 training images are too few"),
    ((5, 1, 5), "1 reference images are too few"),
    ((5, 5, 1), "1 generated images are too few to measure memorisation; use 2 or more"),
])  # fmt: skip
def test_too_few_images_are_refused(sizes: tuple[int, int, int], message: str):
    with pytest.raises(ValueError, match=message):
        memorisation(*(normal(size, 3, 0) for size in sizes))
