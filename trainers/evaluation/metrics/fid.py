"""Frechet inception distance (Heusel et al. 2017) between features of any embedding.

Also its standard error (the infinitesimal jackknife, Jaeckel 1972) and its extrapolation to infinitely many samples (Chong &
Forsyth 2020).

Covariances are factored by Cholesky's decomposition instead of eigenvectors or a general matrix square root: it is cheaper, and
small eigenvalues keep their relative accuracy. Of features that are no more than their dimensions no covariance is made: the
centred features are a factor of it, so everything follows from the singular values of a matrix of that many rows or columns.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh, solve_triangular, svd, svdvals
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


class Statistics:
    """Mean and unbiased covariance of feature vectors.

    Attributes:
        mean: float64 (D,).
        samples: number of the feature vectors.
        centred: float64 (samples, D), the centred features over (samples - 1)^(1/2); the covariance is the product of their
            transpose and them. None for more than D samples.
    """

    def __init__(
        self, mean: NDArray[np.float64], covariance: NDArray[np.float64] | None, samples: int,
        centred: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip
        """Take the covariance float64 (D, D), symmetric, or `centred`, from which it is computed on demand."""
        self.mean, self.samples, self.centred = mean, samples, centred
        if covariance is not None:
            self.covariance = covariance

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance float64 (D, D)."""
        assert self.centred is not None
        return _symmetric(dsyrk(1, self.centred.T))

    @property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float(np.trace(self.covariance) if self.centred is None else np.square(self.centred).sum())

    @cached_property
    def factor(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """F (D, R) with the covariance F F', and R rows of F that form a lower triangle; R is its rank. Needs a covariance."""
        assert self.centred is None
        tolerance = np.finfo(float).eps * self.covariance.diagonal().max()
        lower, pivots, rank, _ = dpstrf(self.covariance, lower=1, tol=tolerance)
        rank = min(rank, self.samples - 1)
        pivots = pivots - 1  # LAPACK counts from 1
        factor = np.empty((len(pivots), rank))
        factor[pivots] = np.tril(lower[:, :rank])
        return factor, pivots[:rank]

    @property
    def root(self) -> NDArray[np.float64]:
        """A matrix (D, R) whose product with its transpose is the covariance, with R at most D."""
        return self.factor[0] if self.centred is None else self.centred.T


def statistics(features: np.ndarray) -> Statistics:
    """Return the statistics of features (N, D), N >= 2, in float64."""
    mean = features.mean(0, dtype=np.float64)
    if len(features) <= len(mean):
        return Statistics(mean, None, len(features), (features - mean) / np.sqrt(len(features) - 1))
    scatter = np.zeros((len(mean), len(mean)), order="F")
    for start in range(0, len(features), AT_A_TIME):
        centred = features[start : start + AT_A_TIME] - mean
        scatter = dsyrk(1 / (len(features) - 1), centred.T, 1, scatter, overwrite_c=1)
    return Statistics(mean, _symmetric(scatter), len(features))


def _symmetric(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mirror the upper triangle of a matrix (D, D) in Fortran's order, in place; return it in C's order."""
    for start in range(0, len(upper), BLOCK):
        part, rest = slice(start, start + BLOCK), slice(start + BLOCK, None)
        upper[rest, part] = upper[part, rest].T
        upper[part, part] += np.triu(upper[part, part], 1).T
    return upper.T


def fid(a: Statistics, b: Statistics) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), at least 0; also exact for singular covariances."""
    return _distance(a, b, _root_trace(a, b))


def fid_estimate(x: np.ndarray, y: np.ndarray, of_x: Statistics | None = None) -> Estimate:
    """Return the FID between features (N, D) and (M, D), N and M >= 2, with the standard error from the sampling of both sets.

    The standard error is the infinitesimal jackknife's, from each sample's influence on the distance in closed form. It
    estimates the spread over repeated draws, not the bias: FID is too large by about a constant over N. If both sets come from
    one distribution, FID is mostly bias, and the standard error is only of that order. `of_x`: statistics of x, if known.

    The replicates are over draws of x, the reference. If it has fewer features than dimensions, the infinitesimal jackknife is
    too small; up to `FEW` features the replicates are from the plain one.
    """
    a, b = of_x or statistics(x), statistics(y)
    root_trace, pull_to_b, pull_to_a = _pulls(x, y, a, b)
    value = _distance(a, b, root_trace)
    of_reference = _influences(x, a, b, pull_to_b)
    variance = of_reference.var(ddof=1) / len(x) + _influences(y, b, a, pull_to_a).var(ddof=1) / len(y)
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
    influences = _influences(features, whole, reference, _pulls(None, features, reference, whole)[2])
    return Estimate(float(weights @ means), float(np.sqrt(influences.var(ddof=1) / len(features))))


def _distance(a: Statistics, b: Statistics, root_trace: float) -> float:
    gap = a.mean - b.mean
    return max(0.0, float(gap @ gap + (a.trace + b.trace) - 2 * root_trace))


def _root_trace(a: Statistics, b: Statistics) -> float:
    """Return tr (A B)^(1/2), the sum of the square roots of the eigenvalues of B A."""
    if a.centred is None and b.centred is None:
        try:
            # The transposes are equal, and in the order that LAPACK takes without a copy.
            squares = eigh(b.covariance.T, a.covariance.T, type=2, eigvals_only=True, driver="gv", check_finite=False)
            return float(np.sqrt(squares.clip(0)).sum())
        except LinAlgError:  # A is singular nevertheless
            pass
    # With A = F F' and B = G G' it is the nuclear norm of F' G, which takes no square roots of values that should be zero.
    return float(svdvals(a.root.T @ b.root).sum())


def _pulls(
    x: np.ndarray | None, y: np.ndarray, a: Statistics, b: Statistics
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return tr (A B)^(1/2) and, by sample of each side, the square of its part along the optimal transport to the other side.

    These are v' T v for the centred samples v, with T the matrix of the transport on the range of its side's covariance, and
    empty for a side whose samples are None. With A = F F', B = G G' and F' G = U S V' the two matrices are Z S Z' with
    Z = F'^-1 U, and the same with G and V. For centred samples F, Z is not needed: F' T F = U S U'.
    """
    if a.centred is None and b.centred is None:
        try:
            squares, z = eigh(b.covariance.T, a.covariance.T, type=2, driver="gvd", check_finite=False)
        except LinAlgError:
            pass
        else:
            # The eigenvectors of B A are Z. Below this an eigenvalue is rounding error, and so is its contribution.
            real = squares > len(squares) * np.finfo(float).eps * squares.max(initial=0)
            quarter, z = squares[real] ** 0.25, z[:, real]
            along = _squares(x, a.mean, z * quarter), _squares(y, b.mean, a.covariance @ (z / quarter))
            return _root_trace(a, b), *along
    u, singular, v = svd(a.root.T @ b.root, full_matrices=False, check_finite=False)
    return float(singular.sum()), _pull(x, a, u, singular), _pull(y, b, v.T, singular)


def _pull(
    features: np.ndarray | None, own: Statistics, vectors: NDArray[np.float64], singular: NDArray[np.float64]
) -> NDArray[np.float64]:
    if own.centred is not None:
        return (own.samples - 1) * (np.square(vectors) @ singular)
    factor, triangle = own.factor
    z = np.zeros((len(factor), len(singular)))
    z[triangle] = solve_triangular(factor[triangle], vectors * np.sqrt(singular), lower=True, trans="T")
    return _squares(features, own.mean, z)


def _squares(features: np.ndarray | None, mean: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared norms (N,) of the centred features (N, D) times z (D, K)."""
    if features is None:
        return np.empty(0)
    squares = np.empty(len(features))
    for start in range(0, len(features), ROWS):
        part = slice(start, start + ROWS)
        squares[part] = np.square((features[part] - mean) @ z).sum(1)
    return squares


def _influences(
    features: np.ndarray, statistics_of: Statistics, other: Statistics, pull: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the influence (N,) of each sample on the distance, up to a constant: its derivative by the sample's weight."""
    unbiased = statistics_of.samples / (statistics_of.samples - 1)  # as in the covariance
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(features), ROWS):
        centred = features[start : start + ROWS] - statistics_of.mean
        strain = np.square(centred).sum(1) - pull[start : start + ROWS]
        parts.append(2 * centred @ (statistics_of.mean - other.mean) + unbiased * strain)
    return np.concatenate(parts)


def _jackknife(features: np.ndarray, a: Statistics, b: Statistics) -> NDArray[np.float64]:
    """Return the influence (N,) of each sample on the distance from that without it (Tukey 1958), up to a constant; N >= 3.

    With centred features X, tr (A B)^(1/2) is the sum of the roots of the eigenvalues of X B X' / (N - 1), which is small.
    """
    n, centred = len(features), features - a.mean
    gaps = a.mean - centred / (n - 1) - b.mean
    norms = np.square(centred).sum(1)
    traces = (norms.sum() - n / (n - 1) * norms) / (n - 2) + b.trace
    if b.centred is None:
        products = centred @ b.covariance @ centred.T
    else:
        half = centred @ b.centred.T
        products = half @ half.T
    without = np.stack([np.delete(np.delete(products, i, 0), i, 1) for i in range(n)])
    without -= without.mean(1, keepdims=True)
    without -= without.mean(2, keepdims=True)
    roots = np.sqrt(np.linalg.eigvalsh(without / (n - 2)).clip(0)).sum(1)
    influences: NDArray[np.float64] = -(n - 1) * (np.square(gaps).sum(1) + traces - 2 * roots)
    return influences
