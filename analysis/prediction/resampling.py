"""Intervals and tests of rank correlations by resampling: a bootstrap over clusters, permutations within blocks."""

import numpy as np
from scipy import stats

DRAWS = 2000
_SEED = 20180508  # fixed, so the same store gives the same page


def cluster_counts(clusters: int, draws: int = DRAWS) -> np.ndarray:
    """Return the counts (draws, clusters) of each cluster in bootstrap samples of all clusters with replacement."""
    return np.random.default_rng(_SEED).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)


def interval(estimate: float, draws: np.ndarray, clusters: int) -> tuple[float, float]:
    """Return a 95 % interval of a correlation from its bootstrap draws over clusters; NaN if these do not vary.

    With few clusters (targets or seeds) bootstrap percentiles are too narrow. The draws therefore give the standard error,
    corrected by sqrt(n / (n - 1)) for resampling n clusters, and Student's t with n - 1 degrees of freedom the quantile
    (Hesterberg 2015, "What teachers should know about the bootstrap", 4.4). The interval is symmetric on Fisher's scale
    (artanh), as the distribution of a correlation near 1 is skewed.

    `estimate` is the correlation over all clusters; `draws` (D,) are NaN without a defined correlation. With fewer than two
    clusters the interval is NaN.
    """
    finite = draws[np.isfinite(draws)]
    spread = finite.std() if clusters > 1 and len(finite) > 1 else 0.0
    if spread < 1e-9 or abs(estimate) > 1 - 1e-9:
        return np.nan, np.nan
    error = spread * np.sqrt(clusters / (clusters - 1)) / (1 - estimate**2)
    margin = stats.t.ppf(0.975, clusters - 1) * error
    return float(np.tanh(np.arctanh(estimate) - margin)), float(np.tanh(np.arctanh(estimate) + margin))


def weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation (D,) of x and y (N,) with each point repeated by its count in `weights` (D, N).

    It is NaN if either variable is constant over the points counted.
    """
    a, b = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    total = weights.sum(axis=1, keepdims=True)
    a, b = a - (weights * a).sum(axis=1, keepdims=True) / total, b - (weights * b).sum(axis=1, keepdims=True) / total
    scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    product = (weights * a * b).sum(axis=1)
    correlations: np.ndarray = np.divide(product, scale, out=np.full(len(weights), np.nan), where=scale > 1e-9)
    return correlations


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean rank of each point among the points counted, (D, N); ties share one rank."""
    _, place = np.unique(values, return_inverse=True)
    counts = np.zeros((len(weights), place.max() + 1))
    for point, distinct in enumerate(place):
        counts[:, distinct] += weights[:, point]
    ranks: np.ndarray = np.cumsum(counts, axis=1) - counts / 2
    return ranks[:, place]


def row_spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlations (D, G) of the rows of x (D, S) with those of y (G, S), 0 if a row is constant."""
    correlations: np.ndarray = _standard_ranks(x) @ _standard_ranks(y).T
    return correlations


def _standard_ranks(rows: np.ndarray) -> np.ndarray:
    """Return each row's ranks, centred and scaled to unit length; 0 for a constant row."""
    ranks = stats.rankdata(rows, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    standard: np.ndarray = np.divide(ranks, norm, out=np.zeros_like(ranks), where=norm > 0)
    return standard


def permutation_p(blocks: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the two-sided p-value of the mean within-group rank correlation under the null hypothesis of no association.

    Under the null hypothesis the sources of a target are exchangeable. Nearness is therefore permuted within each block, in the
    same way for all its groups, as they share the sources. Valid for any number of sources (Phipson & Smyth 2010), though with
    few of them p cannot be small.

    A block is the nearness (S,) of one target's sources and the gains (G, S) of its groups; NaN if a group lacks a source.
    """
    random = np.random.default_rng(_SEED)
    total, groups = np.zeros(DRAWS + 1), 0
    for nearness, gains in blocks:
        order = np.argsort(random.random((DRAWS, len(nearness))), axis=1)
        permuted = np.vstack([nearness, nearness[order]])
        present = np.isfinite(gains)
        for pattern in np.unique(present, axis=0):
            of_pattern = gains[(present == pattern).all(axis=1)][:, pattern]
            total += row_spearman(permuted[:, pattern], of_pattern).sum(axis=1)
            groups += len(of_pattern)
    strength = np.abs(total / groups)
    return float((strength >= strength[0] - 1e-9).mean())
