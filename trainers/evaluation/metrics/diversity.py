"""The diversity of generated images relative to real ones, and the diversity and the density of a domain.

The spread of a set is the root mean squared distance between two of its features. It equals (2 tr C)^(1/2) with C their
unbiased covariance, so all pairs count and one pass over the features suffices. It detects a collapse robustly: its square is
unbiased for any N, so sets of different sizes are comparable; it needs no invertible covariance, unlike a determinant; and it
is zero only if all features are equal.
"""

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Pairs


def diversity(reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return the spread of generated features (M, D) over that of reference features (N, D), N and M >= 2.

    1: as diverse as the real images; 0: all equal. The standard error, by the delta method, is from the sampling of both sets.

    Raises:
        ValueError: all reference features are equal.
    """
    real, fake = spread(reference), spread(generated)
    _check_spread(real)
    value = fake.value / real.value
    return Estimate(value, float(np.hypot(fake.standard_error, value * real.standard_error) / real.value))


def spread(features: np.ndarray) -> Estimate:
    """Return the root mean squared distance between two of the features (N, D), N >= 2: the diversity of a domain.

    The standard error is by the delta method. The unit is that of the features, so compare within an embedding.
    """
    value, influences = _spread(features)
    return Estimate(value, float(np.sqrt(influences.var(ddof=1) / len(features))))


def spacing(features: np.ndarray, k: int = 5) -> Estimate:
    """Return the mean distance from a feature to its k-th nearest neighbour over the spread, for features (N, D), N > k.

    It is a scale-free measure of a domain's density: smaller is denser; 0 if each feature has k copies, near 1 for features
    spread evenly in many dimensions. Measuring density by nearest-neighbour distances follows Clark & Evans (1954) and, for the
    k-th, Loftsgaarden & Quesenberry (1965). The distances shrink as N grows: compare for equal N and k.

    The standard error is by the delta method, with each feature's nearest neighbours held fixed.

    Raises:
        ValueError: all features are equal, or there are no k-th neighbours.
    """
    if len(features) <= k:
        raise ValueError(f"{len(features)} features have no {k}-th neighbours; take {k + 1} or more, or a lower k")
    whole, influences = _spread(features)
    _check_spread(Estimate(whole, 0))
    pairs = Pairs(features, features[:0])
    nearest = Nearest(pairs, "xx", k)
    pairs.read(nearest)
    distances = np.sqrt(nearest.squares)
    value = float(distances.mean() / whole)
    ratios = (distances - value * influences) / whole
    return Estimate(value, float(np.sqrt(ratios.var(ddof=1) / len(features))))


def _spread(features: np.ndarray) -> tuple[float, NDArray[np.float64]]:
    """Return the spread and, up to a constant, the influence (N,) of each feature on it."""
    centred = features - features[0].astype(np.float64)  # makes equal features exactly zero
    centred -= centred.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred) * len(features) / (len(features) - 1)
    value = float(np.sqrt(2 * squares.mean()))
    return value, squares / value if value else squares


def _check_spread(reference: Estimate) -> None:
    if not reference.value:
        raise ValueError("all reference features are equal, so their spread is 0 and nothing can be compared with it")
