"""Precision, recall, density and coverage against the `prdc` package, by hand, and against repeated draws."""

from dataclasses import asdict

import numpy as np
import pytest

from tests.features import ill_conditioned, inception_like, normal
from trainers.evaluation.kid import kid
from trainers.evaluation.prdc import Prdc, kid_and_prdc, prdc


def values(found: Prdc) -> dict[str, float]:
    return {name: each["value"] for name, each in asdict(found).items()}


def theirs(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    from prdc import compute_prdc

    return compute_prdc(real, fake, k)


def copies(n: int, seed: int) -> np.ndarray:
    """Return features (n, 10), integers so that distances are exact, about a third of which occur twice."""
    features = np.random.default_rng(seed).integers(-9, 9, (n, 10)).astype(float)
    return np.concatenate([features[: n - n // 3], features[: n // 3]])


@pytest.mark.parametrize(("real", "fake"), [
    (normal(200, 8, 1), normal(200, 8, 1)[::-1] + 0.5),
    (normal(200, 8, 1), normal(90, 8, 2)),
    (normal(90, 8, 1), 0.5 * normal(200, 8, 1)[:150]),
    (normal(60, 200, 1), 0.9 * normal(60, 200, 1)[::2] + 0.1 * normal(30, 200, 2)),
    (ill_conditioned(150, 20, 1), ill_conditioned(150, 20, 2)),
    (1e3 + ill_conditioned(60, 100, 1), 1e3 + ill_conditioned(70, 100, 2)),
    (inception_like(150, 1), inception_like(130, 2)),
    (copies(200, 1), copies(150, 1) + 0.25),
    (copies(200, 1), copies(150, 1)),
], ids=["shifted", "more", "fewer", "N<D", "ill-conditioned", "ill-conditioned N<D", "inception", "copies", "shared copies"])  # fmt: skip
@pytest.mark.parametrize("k", [1, 5])
def test_prdc_equals_the_prdc_packages(real: np.ndarray, fake: np.ndarray, k: int):
    assert values(prdc(real, fake, k)) == pytest.approx(theirs(real, fake, k), rel=1e-12)
