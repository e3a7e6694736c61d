"""Rank correlations of many rows at once, their permutations, and a conservative interval."""

from itertools import permutations

import numpy as np
from scipy import stats

DRAWS = 2000
_SEED = 20180508  # fixed, so the same store gives the same page
_ENUMERATED = 7  # labels; up to this number, all permutations are tried


def interval(permuted: np.ndarray, sources: int) -> tuple[float, float]:
    """Return a 95 % interval of a mean rank correlation from its values under all `orders` of the sources, the observed first.

    For one group it is Fisher's interval of Spearman's correlation over `sources` points (Fieller, Hartley & Pearson 1957); for
    several its standard error is reduced as the spread over the permutations is, which vanishes only if all sources are equally
    near. It is conservative with few sources. A correlation of 1 counts as half-way to the next lower one. NaN with fewer than
    four sources.
    """
    rho, spread = float(permuted[0]), float(permuted.std())
    if sources < 4 or spread < 1e-9:
        return np.nan, np.nan
    most = 1 - 6 / (sources**3 - sources)
    middle = np.arctanh(np.clip(rho, -most, most))
    margin = stats.norm.ppf(0.975) * spread * np.sqrt(1.06 * (sources - 1) / (sources - 3))
    low, high = np.tanh([middle - margin, middle + margin])
    return (float(low) if rho > -most else -1.0), (float(high) if rho < most else 1.0)


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


def orders(labels: int) -> np.ndarray:
    """Return permutations (D, labels) of 0 to `labels` - 1, the identity first: all of them if they are few, else `DRAWS`."""
    if labels <= _ENUMERATED:
        return np.array(list(permutations(range(labels))))
    drawn = np.argsort(np.random.default_rng(_SEED).random((DRAWS - 1, labels)), axis=1)
    return np.vstack([np.arange(labels), drawn])


def mean_correlations(blocks: list[tuple[np.ndarray, np.ndarray]], order: np.ndarray) -> np.ndarray:
    """Return the mean rank correlation of nearness with gain over all groups, for each permutation of the sources (D,).

    Nearness is permuted in the same way for all targets: a source that is good for another reason than its distance is good on
    all of them, so the sources are exchangeable, and those of one target are not.

    Args:
        blocks: per target the nearness (S,) of the sources and the gains (G, S) of its groups, NaN if a group lacks a source.
        order: permutations (D, S).
    """
    total, groups = np.zeros(len(order)), 0
    for nearness, gains in blocks:
        permuted = nearness[order]
        present = np.isfinite(gains)
        for pattern in np.unique(present, axis=0):
            of_pattern = gains[(present == pattern).all(axis=1)][:, pattern]
            total += row_spearman(permuted[:, pattern], of_pattern).sum(axis=1)
            groups += len(of_pattern)
    mean: np.ndarray = total / groups
    return mean
