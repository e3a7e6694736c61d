"""Intervals and tests of rank correlations by resampling: the bootstrap over clusters, and permutations within blocks."""

import numpy as np
from scipy import stats

DRAWS = 2000
_SEED = 20180508  # of the draws: the same store gives the same page


def cluster_counts(clusters: int, draws: int = DRAWS) -> np.ndarray:
    """Return how often each cluster is drawn, (draws, clusters), when as many as there are are drawn with replacement."""
    return np.random.default_rng(_SEED).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)


def interval(estimate: float, draws: np.ndarray, clusters: int) -> tuple[float, float]:
    """Return a 95 % interval for a correlation from its bootstrap draws over clusters; NaN where these tell of no spread.

    The clusters (targets, or seeds) are few, and percentiles of their bootstrap are then too narrow. So the draws give the
    standard error, with the factor sqrt(n / (n - 1)) that resampling n clusters loses, and Student's t with n - 1 degrees of
    freedom the quantile (Hesterberg 2015, "What teachers should know about the bootstrap", 4.4). The interval is taken on
    Fisher's scale, artanh, where a correlation near 1 is not as lopsided.

    Args:
        estimate: from all clusters.
        draws: (D,), NaN where a draw allows no correlation.
        clusters: n; fewer than two have no spread, nor have those that all agree.
    """
    known = draws[np.isfinite(draws)]
    spread = known.std() if clusters > 1 and len(known) > 1 else 0.0
    if spread < 1e-9 or abs(estimate) > 1 - 1e-9:
        return np.nan, np.nan
    error = spread * np.sqrt(clusters / (clusters - 1)) / (1 - estimate**2)
    reach = stats.t.ppf(0.975, clusters - 1) * error
    return float(np.tanh(np.arctanh(estimate) - reach)), float(np.tanh(np.arctanh(estimate) + reach))


def weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of points that count several times, for many such counts at once.

    Args:
        x: (N,).
        y: (N,).
        weights: (D, N), how often each point is there.

    Returns:
        (D,), NaN where all that is there is equal.
    """
    a, b = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    total = weights.sum(axis=1, keepdims=True)
    a, b = a - (weights * a).sum(axis=1, keepdims=True) / total, b - (weights * b).sum(axis=1, keepdims=True) / total
    scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    product = (weights * a * b).sum(axis=1)
    found: np.ndarray = np.divide(product, scale, out=np.full(len(weights), np.nan), where=scale > 1e-9)
    return found


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean rank of each point, equal ones sharing theirs."""
    _, place = np.unique(values, return_inverse=True)
    each = np.zeros((len(weights), place.max() + 1))
    for point, own in enumerate(place):
        each[:, own] += weights[:, point]
    middle: np.ndarray = np.cumsum(each, axis=1) - each / 2
    return middle[:, place]


def row_spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each row of `x` with each row of `y`, 0 where all of either are equal.

    Args:
        x: (D, S).
        y: (G, S).

    Returns:
        (D, G).
    """
    a, b = _standard_ranks(x), _standard_ranks(y)
    found: np.ndarray = a @ b.T
    return found


def _standard_ranks(rows: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(rows, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    found: np.ndarray = np.divide(ranks, size, out=np.zeros_like(ranks), where=size > 0)
    return found


def permutation_p(blocks: list[tuple[np.ndarray, np.ndarray]], draws: int = DRAWS) -> float:
    """Return the two-sided p-value of the mean within-group rank correlation, were nearness of no consequence.

    Then the sources of a target could be exchanged: within each block nearness is permuted, in all its groups alike, as they
    share the sources. Valid however few the sources are (Phipson & Smyth 2010), if then never small.

    Args:
        blocks: per target (nearness (S,), gains (G, S) of its groups; NaN where a group lacks a source).
        draws: permutations.
    """
    random = np.random.default_rng(_SEED)
    total, groups = np.zeros(draws + 1), 0
    for nearness, gains in blocks:
        order = np.argsort(random.random((draws, len(nearness))), axis=1)
        permuted = np.vstack([nearness, nearness[order]])
        there = np.isfinite(gains)
        for pattern in np.unique(there, axis=0):
            own = gains[(there == pattern).all(axis=1)][:, pattern]
            total += row_spearman(permuted[:, pattern], own).sum(axis=1)
            groups += len(own)
    strength = np.abs(total / groups)
    return float((strength >= strength[0] - 1e-9).mean())
