"""The diversity of generated images relative to real ones, and the diversity and the density of a domain.

The spread of a set is the root mean squared distance between two of its features. It equals (2 tr C)^(1/2) with C their
unbiased covariance, so all pairs count and one pass over the features suffices. It detects a collapse robustly: its square is
unbiased for any N, so sets of different sizes are comparable; it needs no invertible covariance, unlike a determinant; and it
is zero only if all features are equal.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Pairs


def diversity(reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return the spread of generated features (M, D) over that of reference features (N, D), N and M >= 2.

    1: as diverse as the real images; 0: all equal. The standard error, by the delta method, is from the sampling of both sets.

    Raises:
        ValueError: all reference features are equal.
    """
    real, fake = spread(reference), spread(generated)
    _check_spread(real)
    value = fake.value / real.value
    return Estimate(value, float(np.hypot(fake.standard_error, value * real.standard_error) / real.value))


def intra_diversity(train: np.ndarray, reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return the spread of generated images that are nearest to the same training image, over that of reference images.

    This is the intra-cluster diversity of Ojha et al. (2021) in an embedding instead of LPIPS, and relative to real images. 0:
    each training image has generated copies of one image only, as a generator that has memorised its few training images does,
    however diverse they are. Clusters with fewer than two images are left out, and the others count equally.

    The standard error takes the clusters as the units, and the reference's spread as known. With one cluster it is that of the
    cluster's spread.

    Args:
        train: features (L, D) of the images trained on, L >= 1; the fewer, the more images a cluster has.
        reference: features (N, D), N >= 2.
        generated: features (M, D), of which two or more are nearest to the same training image; certain if M > L.

    Raises:
        ValueError: all reference features are equal, or no cluster has two images.
    """
    real = spread(reference)
    _check_spread(real)
    nearest = cdist(generated.astype(np.float64), train.astype(np.float64)).argmin(1)
    clusters = (generated[nearest == i] for i in range(len(train)))
    spreads = [spread(cluster) for cluster in clusters if len(cluster) > 1]
    if not spreads:
        raise ValueError(f"no two of {len(generated)} generated images are nearest to the same training image; use more")
    values = np.array([estimate.value for estimate in spreads]) / real.value
    many = len(spreads) > 1
    error = values.std(ddof=1) / np.sqrt(len(values)) if many else spreads[0].standard_error / real.value
    return Estimate(float(values.mean()), float(error))


def spread(features: np.ndarray) -> Estimate:
    """Return the root mean squared distance between two of the features (N, D), N >= 2: the diversity of a domain.

    The standard error is by the delta method. The unit is that of the features, so compare within an embedding.
    """
    value, influences = _spread(features)
    return Estimate(value, float(np.sqrt(influences.var(ddof=1) / len(features))))


def spacing(features: np.ndarray, k: int = 5) -> Estimate:
    """Return the mean distance from a feature to its k-th nearest neighbour over the spread, for features (N, D), N > k.

    It is a scale-free measure of a domain's density: smaller is denser; 0 if each feature has k copies, near 1 for features
    spread evenly in many dimensions. Measuring density by nearest-neighbour distances follows Clark & Evans (1954) and, for the
    k-th, Loftsgaarden & Quesenberry (1965). The distances shrink as N grows: compare for equal N and k.

    The standard error is by the delta method, with each feature's nearest neighbours held fixed.

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
    ratios = (distances - value * influences) / whole
    return Estimate(value, float(np.sqrt(ratios.var(ddof=1) / len(features))))


def _spread(features: np.ndarray) -> tuple[float, NDArray[np.float64]]:
    """Return the spread and, up to a constant, the influence (N,) of each feature on it."""
    centred = features - features[0].astype(np.float64)  # makes equal features exactly zero
    centred -= centred.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred) * len(features) / (len(features) - 1)
    value = float(np.sqrt(2 * squares.mean()))
    return value, squares / value if value else squares


def _check_spread(reference: Estimate) -> None:
    if not reference.value:
        raise ValueError("all reference features are equal, so their spread is 0 and nothing can be compared with it")
