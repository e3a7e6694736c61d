"""How diverse generated images are beside real ones, and how diverse and how dense a domain is by itself.

A set's spread is the root mean squared distance between two of its features, which is (2 tr C)^(1/2) with C their unbiased
covariance: all pairs count, in the time of one reading. Of the measures of spread this is the robust one to tell a collapse
by: its square is unbiased whatever N is, so that sets of different sizes compare; it does not ask for an invertible
covariance, as determinants do; and it is nought for equal features and no others.
"""

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Pairs


def diversity(reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return the spread of generated features (M, D) over that of reference features (N, D), N and M >= 2.

    1: as diverse as the real images; 0: all equal. The standard error is by the delta method, from both sides' sampling.

    Raises:
        ValueError: all reference features are equal.
    """
    real, made = spread(reference), spread(generated)
    _check_spread(real)
    value = made.value / real.value
    return Estimate(value, float(np.hypot(made.standard_error, value * real.standard_error) / real.value))


def spread(features: np.ndarray) -> Estimate:
    """Return the root mean squared distance between two of the features (N, D), N >= 2: a domain's own diversity.

    The standard error is by the delta method. In units of the features, so compare within an embedding.
    """
    value, influences = _spread(features)
    return Estimate(value, float(np.sqrt(influences.var(ddof=1) / len(features))))


def spacing(features: np.ndarray, k: int = 5) -> Estimate:
    """Return the mean distance from a feature to its k-th nearest other over the spread, for features (N, D), N > k.

    It tells a domain's density, free of scale: smaller is denser; 0 where all have k copies, near 1 for features spread evenly
    in many dimensions. Nearest-neighbour distances as a measure of density are Clark & Evans' (1954) and, for the k-th,
    Loftsgaarden & Quesenberry's (1965). They shrink as N grows: compare for equal N and k.

    The standard error is by the delta method, with each feature's nearest others held fixed.

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
    own = (distances - value * influences) / whole
    return Estimate(value, float(np.sqrt(own.var(ddof=1) / len(features))))


def _spread(features: np.ndarray) -> tuple[float, NDArray[np.float64]]:
    """Return the spread and, up to a constant, each feature's influence on it (N,)."""
    centred = features - features[0].astype(np.float64)  # so that equal features are all exactly nought
    centred -= centred.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred) * len(features) / (len(features) - 1)
    value = float(np.sqrt(2 * squares.mean()))
    return value, squares / value if value else squares


def _check_spread(reference: Estimate) -> None:
    if not reference.value:
        raise ValueError("all reference features are equal; there is no spread to compare with")
