"""The upper tail of the studentized range, by quadrature with fixed nodes.

SciPy integrates the same formula adaptively, which takes a hundred times as long and fails for large statistics. A report of
many cells needs thousands of tails.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from scipy import special

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Nodes and weights on [-1, 1] for the normal deviate and for the scale.
_DEVIATES, _SCALES = np.polynomial.legendre.leggauss(120), np.polynomial.legendre.leggauss(160)

#: Nodes with a smaller share of the largest weight are not evaluated where what they weigh is no larger than at that one.
_NOTHING = 1e-25

#: Beyond this many standard deviations a normal distribution has nothing that counts, nor the range of normal deviates.
_FAR, _WIDEST = 9.0, 18.0


def upper_tail(statistic: float, means: int, freedom: float) -> float:
    """Return the probability that the studentized range of `means` means is above `statistic`.

    Args:
        statistic: the range over the standard error of a mean, 0 or more, also infinite.
        means: number of means, from 2.
        freedom: degrees of freedom of the standard error, from 1.
    """
    if not 0 < statistic < math.inf:
        return float(statistic == 0)
    # The standard error over its expectation, s, is chi / sqrt(freedom); above _WIDEST / statistic the tail given s is 0.
    spread = _FAR / math.sqrt(2 * freedom)
    low, high = max(0.0, 1 - 1.5 * spread), 1 + 1.5 * spread
    end = min(high, _WIDEST / statistic)
    scales, weights = _on(_SCALES, low if low < end else 0.0, end)
    log_density = math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    weights = weights * np.exp(log_density + (freedom - 1) * np.log(scales) - freedom / 2 * scales**2)
    # The tail falls with the scale.
    tails, count = np.zeros(len(scales)), len(scales) - _negligible(weights[::-1])
    tails[:count] = _normal_tail(statistic * scales[:count], means)
    return min(1.0, float(np.sum(weights * tails)))


def _normal_tail(ranges: Array, means: int) -> Array:
    """Return the probabilities that the range of `means` standard normal deviates is above `ranges`, float64 (N,).

    With z for the largest deviate and n = means - 1, it is the integral of
    means * phi(z) (Phi(z)^n - (Phi(z) - Phi(z - range))^n).
    """
    deviates, below, density = _largest(means)
    share = np.clip(special.ndtr(deviates - ranges[:, None]) / below, 0.0, 1.0)
    with np.errstate(divide="ignore"):  # for a range of 0 the share is 1
        missing = -np.expm1((means - 1) * np.log1p(-share))
    tails: Array = missing @ density
    return tails


def _negligible(weights: Array) -> int:
    """Return how many weights at the beginning, before the largest, are negligible."""
    return int(np.argmax(weights >= _NOTHING * weights.max()))


@cache
def _largest(means: int) -> tuple[Array, Array, Array]:
    """Return the nodes of the largest of `means` deviates, Phi at each, and its density there times the weight of the rule."""
    deviates, weights = _on(_DEVIATES, -_FAR, _FAR + 6)
    below = special.ndtr(deviates)
    weights = weights * (means * np.exp(-(deviates**2) / 2) / math.sqrt(2 * math.pi) * below ** (means - 1))
    # The share that is missing rises with the deviate.
    counting = slice(_negligible(weights), None)
    return deviates[counting], below[counting], weights[counting]


def _on(rule: tuple[Array, Array], low: float, high: float) -> tuple[Array, Array]:
    """Return the nodes and weights of a rule on [-1, 1] for another interval."""
    nodes, weights = rule
    half = (high - low) / 2
    return low + half * (nodes + 1), half * weights
