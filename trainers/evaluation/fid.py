"""Frechet inception distance (Heusel et al. 2017), in whatever embedding the features come from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Statistics:
    """Mean float64 (D,) and unbiased covariance float64 (D, D) of `samples` feature vectors."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    samples: int


def statistics(features: np.ndarray) -> Statistics:
    """Return the statistics of features (N, D), N >= 2, in float64."""
    wide = features.astype(np.float64)
    return Statistics(wide.mean(0), np.cov(wide, rowvar=False).reshape(wide.shape[1], -1), len(wide))


def fid(a: Statistics, b: Statistics) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), at least 0.

    The square root's trace is that of (A^(1/2) B A^(1/2))^(1/2), a symmetric matrix with the same eigenvalues as A B: two
    symmetric eigen-decompositions, no imaginary parts, and exact for singular covariances.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(cross.clip(0)).sum()
    gap = a.mean - b.mean
    return max(0.0, float(gap @ gap + trace))
