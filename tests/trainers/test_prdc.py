"""Precision, recall, density and coverage against the `prdc` package, by hand, and against repeated draws."""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from tests.support.features import ill_conditioned, inception_like, normal
from trainers.evaluation.metrics.kid import kid
from trainers.evaluation.metrics.prdc import Prdc, kid_and_prdc, prdc


def values(found: Prdc) -> dict[str, float]:
    return {name: each["value"] for name, each in asdict(found).items()}


def theirs(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    from prdc import compute_prdc

    return compute_prdc(real, fake, k)


def copies(n: int, seed: int) -> np.ndarray:
    """Return features (n, 10), integers so that distances are exact, about a third of which occur twice."""
    features = np.random.default_rng(seed).integers(-9, 9, (n, 10)).astype(float)
    return np.concatenate([features[: n - n // 3], features[: n // 3]])


SETS = {
    "shifted": (normal(200, 8, 1), normal(200, 8, 1)[::-1] + 0.5),
    "more": (normal(200, 8, 1), normal(90, 8, 2)),
    "fewer": (normal(90, 8, 1), 0.5 * normal(200, 8, 1)[:150]),
    "N < D": (normal(60, 200, 1), 0.9 * normal(60, 200, 1)[::2] + 0.1 * normal(30, 200, 2)),
    "ill-conditioned": (ill_conditioned(150, 20, 1), ill_conditioned(150, 20, 2)),
    "ill-conditioned, N < D": (1e3 + ill_conditioned(60, 100, 1), 1e3 + ill_conditioned(70, 100, 2)),
    "Inception's": (inception_like(150, 1), inception_like(130, 2)),
    "copies": (copies(200, 1), copies(150, 1) + 0.25),
    "shared copies": (copies(200, 1), copies(150, 1)),
}


@pytest.mark.parametrize(("real", "fake"), SETS.values(), ids=SETS)
@pytest.mark.parametrize("k", [1, 5])
def test_prdc_equals_the_prdc_packages(real: np.ndarray, fake: np.ndarray, k: int):
    assert values(prdc(real, fake, k)) == pytest.approx(theirs(real, fake, k), rel=1e-12)


def test_the_figures_on_a_line_are_those_by_hand():
    """With k = 1 the real balls are (-18, 0), (-1, 1), (0, 2) and the generated ones (-1, 2), (0.5, 3.5), (2, 5)."""
    found = prdc(np.array([[-9.0], [0], [1]]), np.array([[0.5], [2], [3.5]]), 1)
    assert values(found) == pytest.approx({"precision": 1 / 3, "recall": 2 / 3, "density": 2 / 3, "coverage": 2 / 3})
    assert found.precision.standard_error == pytest.approx(np.sqrt(1 / 3 * 2 / 3 / 3))
    assert found.density.standard_error == pytest.approx(np.std([2, 0, 0]) / np.sqrt(3))


@pytest.mark.parametrize("make", [normal, ill_conditioned])
def test_a_set_covers_itself(make: Callable[..., np.ndarray]):
    """Each ball contains its centre and the k - 1 nearest neighbours; the k-th lies on its surface."""
    x = make(120, 20, 1)
    ones = {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    for function in (lambda *sets: values(prdc(*sets)), theirs):
        assert function(x, x) == pytest.approx(ones)
    assert values(prdc(x, x[::-1].copy())) == pytest.approx(ones)  # the package's rims are blurred by rounding here


def test_balls_of_radius_nought_hold_nothing():
    """Constant features: the package agrees here; if its distances are rounding errors, they decide its values."""
    x = np.ones((20, 4))
    noughts = {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    assert values(prdc(x, x)) == theirs(x, x) == noughts
    x = np.full((20, 300), 0.1) * np.pi
    assert values(prdc(x, x.copy())) == noughts
    assert prdc(normal(20, 300, 1), x).recall.value == 0


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_with_its_balls_held_fixed_a_figure_varies_as_its_standard_error_says(shift: float):
    random = np.random.default_rng(0)

    def draw() -> np.ndarray:
        return random.normal(size=(80, 3))

    fixed = draw()
    generated = [prdc(fixed, draw() + shift) for _ in range(200)]
    real = [prdc(draw(), fixed + shift) for _ in range(200)]
    for drawn, name in ((generated, "precision"), (generated, "density"), (real, "recall")):
        estimates = [getattr(each, name) for each in drawn]
        scatter = np.std([each.value for each in estimates])
        assert np.mean([each.standard_error for each in estimates]) == pytest.approx(scatter, rel=0.25), name


def test_no_order_of_the_samples_and_no_tile_changes_prdc():
    x, y = normal(1350, 6, 1), normal(1300, 6, 2)
    found = values(prdc(x, y))
    assert values(prdc(np.random.default_rng(0).permutation(x), y[::-1])) == pytest.approx(found, rel=1e-12)
    assert found == pytest.approx(theirs(x, y), rel=1e-12)


def test_one_pass_gives_what_two_would():
    x, y = normal(70, 6, 1), normal(50, 6, 2)
    assert kid_and_prdc(x, y, 3) == (kid(x, y), prdc(x, y, 3))


@pytest.mark.parametrize(("n", "m", "whose"), [(5, 9, "5 real"), (9, 5, "5 generated")])
def test_a_set_without_kth_neighbours_is_refused(n: int, m: int, whose: str):
    with pytest.raises(ValueError, match=f"{whose} samples have no 5-th neighbours; take 6 samples or more, or a lower k"):
        prdc(normal(n, 2, 1), normal(m, 2, 2), 5)
    assert prdc(normal(n, 2, 1), normal(m, 2, 2), 4).precision.value >= 0
