"""Replicates of a metric: its values on other draws of the reference images.

All trials of a cell share their reference images, so part of the error of their metrics is common, and cancels in differences.
Replicate b of every trial therefore has the same weights of the reference images: those of a bootstrap (Efron 1979), which
depend on the number of images alone. A replicate is the metric's value plus the weighted mean of the images' influences on it
(Jaeckel's infinitesimal jackknife, 1972; Efron 1982, chapter 6). The differences between two trials' replicates vary as the
difference of their metrics over draws of the reference.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainers.common.seeds import derive_seed

#: Replicates of a metric. The relative error of a standard deviation from that many is 10 %.
REPLICATES = 50


def replicates(value: float, influences: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return replicates (B,) of a metric from the influence (N,) of each reference image, N >= 2, up to a constant.

    Their mean is the value, and their expected variance that of the mean of the influences, both apart from rounding.
    """
    values: NDArray[np.float32] = (value + weights(len(influences)) @ influences).astype(np.float32)
    return values


@lru_cache(maxsize=4)
def weights(n: int) -> NDArray[np.float64]:
    """Return the weights (B, N) of n reference images in each replicate: how often it is drawn, minus the mean, over n.

    Rows and columns sum to 0. The scale makes the variance unbiased.
    """
    random = np.random.default_rng(derive_seed("reference draws", REPLICATES, n))
    counts = np.stack([np.bincount(random.integers(n, size=n), minlength=n) for _ in range(REPLICATES)]).astype(float)
    centred: NDArray[np.float64] = (counts - counts.mean(0)) * np.sqrt(n / (n - 1)) / n
    return centred
