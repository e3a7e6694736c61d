"""Non-negative least squares and Student's t, without SciPy: its import takes as long as everything else of a small plan."""

import math
from functools import cache
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Degrees of freedom from which the asymptotic expansion of the quantile is exact to ten digits.
_MANY = 200


def non_negative(design: Array, target: Array) -> Array:
    """Return the least-squares solution without negative coefficients, float64 (K,), for a design (N, K) with a few columns.

    It is the best of the unconstrained solutions on subsets of the columns that have no negative coefficient.
    """
    columns = design.shape[1]
    best, least = np.zeros(columns), float(target @ target)
    for number in range(1, columns + 1):
        for subset in map(list, combinations(range(columns), number)):
            solution = np.linalg.lstsq(design[:, subset], target)[0]
            residual = target - design[:, subset] @ solution
            if (solution >= 0).all() and (squares := float(residual @ residual)) < least:
                best, least = np.zeros(columns), squares
                best[subset] = solution
    return best


@cache
def t_quantile(freedom: int, probability: float = 0.975) -> float:
    """Return the quantile of Student's t for a probability above 0.5 and whole degrees of freedom from 1."""
    z = NormalDist().inv_cdf(probability)
    if freedom >= _MANY:  # Abramowitz and Stegun 26.7.5
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + math.fsum(term / math.pow(freedom, power) for power, term in enumerate(terms, 1))
    low, high = 0.0, math.pi / 2
    while (angle := (low + high) / 2) not in (low, high):
        low, high = (angle, high) if _within(angle, freedom) < 2 * probability - 1 else (low, angle)
    return math.tan(high) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """Return P(|T| < sqrt(freedom) tan(angle)): Abramowitz and Stegun 26.7.3 and 26.7.4."""
    sine, cosine, odd = math.sin(angle), math.cos(angle), freedom % 2
    term, total, square = cosine if odd else 1.0, 0.0, cosine * cosine
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= square * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
