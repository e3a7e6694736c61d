"""Frechet inception distance (Heusel et al. 2017), in whatever embedding the features come from.

Also its standard error (the infinitesimal jackknife, Jaeckel 1972) and its extrapolation to infinitely many samples (Chong &
Forsyth 2020).

Covariances are taken apart by Cholesky's decomposition, not by their eigenvectors or by a general matrix square root: it is
cheaper, and small eigenvalues keep their relative accuracy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh, solve_triangular, svdvals
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpstrf

from trainers.common.seeds import derive_seed
from trainers.evaluation.metrics.estimate import Estimate

#: Features that a covariance takes in at a time: a copy of all, in float64, costs time to page in.
AT_A_TIME = 1024

#: Rows of a covariance's triangle that are mirrored at a time.
BLOCK = 128

#: `fid_infinity` splits the features into 1, 2, ... so many parts.
PARTS = 4

#: Fewest features that `fid_infinity` can split so: two in each part.
FEWEST = 2 * PARTS


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
        scatter = dsyrk(1 / (len(features) - 1), centred.T, 1, scatter, overwrite_c=1)  # adds to the upper triangle
    for start in range(0, len(mean), BLOCK):
        part, rest = slice(start, start + BLOCK), slice(start + BLOCK, None)
        scatter[rest, part] = scatter[part, rest].T
        scatter[part, part] += np.triu(scatter[part, part], 1).T
    return Statistics(mean, scatter.T, len(features))


def fid(a: Statistics, b: Statistics) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), at least 0; exact for singular covariances, too."""
    gap = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(gap @ gap + traces - 2 * _root_trace(a, b)))


def fid_estimate(x: np.ndarray, y: np.ndarray, of_x: Statistics | None = None) -> Estimate:
    """Return the FID between features (N, D) and (M, D), N and M >= 2, with the standard error from both sides' sampling.

    The standard error is the infinitesimal jackknife's: each sample's influence on the distance in closed form. It holds the
    distance's spread over repeated draws, not its bias: FID is too large by about a constant over N. Where both sides come
    from one distribution FID is bias and little else, and the standard error is of that order only. `of_x` are the statistics
    of x, where they are known.
    """
    a, b = of_x or statistics(x), statistics(y)
    to_b, to_a = _transports(a, b)
    variance = _influences(x, a, b, to_b).var(ddof=1) / len(x) + _influences(y, b, a, to_a).var(ddof=1) / len(y)
    return Estimate(fid(a, b), float(np.sqrt(variance)))


def fid_infinity(reference: Statistics, features: np.ndarray, seed: int) -> Estimate:
    """Return the FID of infinitely many samples like features (N, D) to the reference, N >= 8; it may be below 0.

    FID's bias is about a constant over the number of samples, so FID is fitted by a line in 1 / n at n = N, N / 2, N / 3 and
    N / 4, and told where 1 / n is nought. At each n it is the mean over all disjoint parts of a seeded shuffle: every size
    then sees every sample, and sampling moves the line as a whole more than it tilts it. The line is a good fit where even
    N / 4 is well above D. The reference's own bias stays in.

    The standard error is that of FID from the generated samples' side (see `fid_estimate`): the line moves as much.

    Raises:
        ValueError: fewer than 8 features.
    """
    if len(features) < FEWEST:
        raise ValueError(f"FID cannot be extrapolated from {len(features)} samples; it takes {FEWEST} or more")
    shuffled = np.random.default_rng(derive_seed("fid infinity", seed)).permutation(features)
    parts = np.arange(1, PARTS + 1)
    means = [np.mean([fid(reference, statistics(part)) for part in np.array_split(shuffled, count)]) for count in parts]
    # The line's value where 1 / n is 0 is a weighted sum of the means.
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
        except LinAlgError:  # A is singular all the same
            pass
    # With A = F F' and B = G G' it is the nuclear norm of F' G; that takes no square root of what should be nought.
    return float(svdvals(_factor(a)[0].T @ _factor(b)[0]).sum())


def _transports(a: Statistics, b: Statistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return roots R (D, K) of the optimal transports' matrices R R' from a to b and from b to a, each on its own range.

    With A = F F' and F' B F = U S^2 U' they are T = Z S Z' with Z = F'^-1 U, and its inverse A Z S^-1 Z' A. Z has the
    eigenvectors of B A.
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
    # Below this an eigenvalue is rounding error; so is what it would add.
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
    features: np.ndarray, own: Statistics, other: Statistics, transport: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each sample's influence (N,) on the distance, up to a constant: its first derivative by the sample's weight."""
    centred = features - own.mean
    strain = np.square(centred).sum(1) - np.square(centred @ transport).sum(1)
    unbiased = own.samples / (own.samples - 1)  # as the covariance is
    influences: NDArray[np.float64] = 2 * centred @ (own.mean - other.mean) + unbiased * strain
    return influences
