"""Frechet inception distance (Heusel et al. 2017) between features of any embedding.

Also its standard error (the infinitesimal jackknife, Jaeckel 1972) and its extrapolation to infinitely many samples (Chong &
Forsyth 2020).

Covariances are factored by Cholesky's decomposition instead of eigenvectors or a general matrix square root: it is cheaper, and
small eigenvalues keep their relative accuracy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh, solve_triangular, svdvals
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpstrf

from trainers.common.seeds import derive_seed
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.reference_draws import replicates

#: Features that are added to a covariance at a time: a float64 copy of all of them would take long to page in.
AT_A_TIME = 1024

#: Features whose influences are computed at a time: a train split may have a million.
ROWS = 2**15

#: Rows of a covariance's triangle that are mirrored at a time.
BLOCK = 128

#: `fid_infinity` splits the features into 1, 2, ... `PARTS` parts.
PARTS = 4

#: Fewest features for `fid_infinity`: two in each part.
FEWEST = 2 * PARTS

#: Most reference features that are left out one by one for the replicates.
FEW = 100


@dataclass(frozen=True)
class Statistics:
    """Mean float64 (D,) and unbiased covariance float64 (D, D) of `samples` feature vectors."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    samples: int


def statistics(features: np.ndarray) -> Statistics:
    """Return the statistics of features (N, D), N >= 2, in float64."""
    mean = features.mean(0, dtype=np.float64)
    scatter = np.zeros((len(mean), len(mean)), order="F")
    for start in range(0, len(features), AT_A_TIME):
        centred = features[start : start + AT_A_TIME] - mean
        scatter = dsyrk(1 / (len(features) - 1), centred.T, 1, scatter, overwrite_c=1)  # updates the upper triangle
    for start in range(0, len(mean), BLOCK):
        part, rest = slice(start, start + BLOCK), slice(start + BLOCK, None)
        scatter[rest, part] = scatter[part, rest].T
        scatter[part, part] += np.triu(scatter[part, part], 1).T
    return Statistics(mean, scatter.T, len(features))


def fid(a: Statistics, b: Statistics) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), at least 0; also exact for singular covariances."""
    gap = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(gap @ gap + traces - 2 * _root_trace(a, b)))


def fid_estimate(x: np.ndarray, y: np.ndarray, of_x: Statistics | None = None) -> Estimate:
    """Return the FID between features (N, D) and (M, D), N and M >= 2, with the standard error from the sampling of both sets.

    The standard error is the infinitesimal jackknife's, from each sample's influence on the distance in closed form. It
    estimates the spread over repeated draws, not the bias: FID is too large by about a constant over N. If both sets come from
    one distribution, FID is mostly bias, and the standard error is only of that order. `of_x`: statistics of x, if known.

    The replicates are over draws of x, the reference. If it has fewer features than dimensions, the infinitesimal jackknife is
    too small; up to `FEW` features the replicates are from the plain one.
    """
    a, b = of_x or statistics(x), statistics(y)
    to_b, to_a = _transports(a, b)
    of_reference = _influences(x, a, b, to_b)
    variance = of_reference.var(ddof=1) / len(x) + _influences(y, b, a, to_a).var(ddof=1) / len(y)
    value = fid(a, b)
    if 2 < len(x) <= min(FEW, len(a.mean)):
        of_reference = _jackknife(x, a, b)
    return Estimate(value, float(np.sqrt(variance)), replicates(value, of_reference))


def fid_infinity(reference: Statistics, features: np.ndarray, seed: int) -> Estimate:
    """Return the FID to the reference extrapolated to infinitely many samples from features (N, D), N >= 8; it may be below 0.

    FID's bias is about a constant over the number of samples, so a line in 1 / n is fitted to FID at n = N, N / 2, N / 3 and
    N / 4, and evaluated at 1 / n = 0. FID at each n is the mean over all disjoint parts of a seeded shuffle: all sizes then use
    all samples, and sampling shifts the line more than it tilts it. The line fits well if even N / 4 is well above D. The bias
    from the reference's finite sample remains.

    The standard error is that of FID from the sampling of the generated side (see `fid_estimate`): the line shifts as much.

    Raises:
        ValueError: fewer than 8 features.
    """
    if len(features) < FEWEST:
        raise ValueError(f"FID cannot be extrapolated from {len(features)} samples; it takes {FEWEST} or more")
    shuffled = np.random.default_rng(derive_seed("fid infinity", seed)).permutation(features)
    parts = np.arange(1, PARTS + 1)
    means = [np.mean([fid(reference, statistics(part)) for part in np.array_split(shuffled, count)]) for count in parts]
    # The line's value at 1 / n = 0 is a weighted sum of the means.
    weights = np.linalg.pinv(np.stack([np.ones(PARTS), parts / len(features)], 1))[0]
    whole = statistics(features)
    influences = _influences(features, whole, reference, _transports(reference, whole)[1])
    return Estimate(float(weights @ means), float(np.sqrt(influences.var(ddof=1) / len(features))))


def _root_trace(a: Statistics, b: Statistics) -> float:
    """Return tr (A B)^(1/2), the sum of the square roots of the eigenvalues of B A."""
    if _may_be_regular(a, b):
        try:
            squares = eigh(b.covariance, a.covariance, type=2, eigvals_only=True, driver="gv")
            return float(np.sqrt(squares.clip(0)).sum())
        except LinAlgError:  # A is singular nevertheless
            pass
    # With A = F F' and B = G G' it is the nuclear norm of F' G, which takes no square roots of values that should be zero.
    return float(svdvals(_factor(a)[0].T @ _factor(b)[0]).sum())


def _transports(a: Statistics, b: Statistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return roots R (D, K) of the matrices R R' of the optimal transport maps from a to b and from b to a, each on its range.

    With A = F F' and F' B F = U S^2 U' they are T = Z S Z' with Z = F'^-1 U, and its inverse A Z S^-1 Z' A. The columns of
    Z are the eigenvectors of B A.
    """
    try:
        if not _may_be_regular(a, b):
            raise LinAlgError
        squares, z = eigh(b.covariance, a.covariance, type=2, driver="gvd")
    except LinAlgError:
        factor, triangle = _factor(a)
        squares, vectors = eigh(factor.T @ b.covariance @ factor)
        z = np.zeros_like(factor)
        z[triangle] = solve_triangular(factor[triangle], vectors, lower=True, trans="T")
    # Below this an eigenvalue is rounding error, and so is its contribution.
    real = squares > len(squares) * np.finfo(float).eps * squares.max(initial=0)
    quarter, z = squares[real] ** 0.25, z[:, real]
    return z * quarter, a.covariance @ (z / quarter)


def _may_be_regular(a: Statistics, b: Statistics) -> bool:
    return min(a.samples, b.samples) > len(a.mean)


def _factor(a: Statistics) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return F (D, R) with A = F F', and R rows of F that form a lower triangle; R is A's rank."""
    lower, pivots, rank, _ = dpstrf(a.covariance, lower=1, tol=np.finfo(float).eps * a.covariance.diagonal().max())
    rank = min(rank, a.samples - 1)
    pivots = pivots - 1  # LAPACK counts from 1
    factor = np.empty((len(pivots), rank))
    factor[pivots] = np.tril(lower[:, :rank])
    return factor, pivots[:rank]


def _influences(
    features: np.ndarray, statistics_of: Statistics, other: Statistics, transport: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the influence (N,) of each sample on the distance, up to a constant: its derivative by the sample's weight."""
    unbiased = statistics_of.samples / (statistics_of.samples - 1)  # as in the covariance
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(features), ROWS):
        centred = features[start : start + ROWS] - statistics_of.mean
        strain = np.square(centred).sum(1) - np.square(centred @ transport).sum(1)
        parts.append(2 * centred @ (statistics_of.mean - other.mean) + unbiased * strain)
    return np.concatenate(parts)


def _jackknife(features: np.ndarray, a: Statistics, b: Statistics) -> NDArray[np.float64]:
    """Return the influence (N,) of each sample on the distance from that without it (Tukey 1958), up to a constant; N >= 3.

    With centred features X, tr (A B)^(1/2) is the sum of the roots of the eigenvalues of X B X' / (N - 1), which is small.
    """
    n, centred = len(features), features - a.mean
    gaps = a.mean - centred / (n - 1) - b.mean
    norms = np.square(centred).sum(1)
    traces = (norms.sum() - n / (n - 1) * norms) / (n - 2) + np.trace(b.covariance)
    products = centred @ b.covariance @ centred.T
    without = np.stack([np.delete(np.delete(products, i, 0), i, 1) for i in range(n)])
    without -= without.mean(1, keepdims=True)
    without -= without.mean(2, keepdims=True)
    roots = np.sqrt(np.linalg.eigvalsh(without / (n - 2)).clip(0)).sum(1)
    influences: NDArray[np.float64] = -(n - 1) * (np.square(gaps).sum(1) + traces - 2 * roots)
    return influences
