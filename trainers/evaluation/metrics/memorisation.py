"""Memorisation: the data-copying test of Meehan et al. (2020), as a probability, over the whole feature space as one cell."""

import numpy as np

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Pairs


def memorisation(train: np.ndarray, reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return P[a generated sample is nearer to its nearest training image than a reference image is to its own].

    0.5: as far from the training images as fresh images of the domain are; 1: copies; below 0.5: farther than fresh ones, as
    from a generator that has not learnt the domain yet. Equal distances count half. It is the Mann-Whitney statistic, and its
    standard error that of DeLong et al. (1988), for these training images.

    Args:
        train: features (L, D) of the images trained on, L >= 1.
        reference: features (N, D) of images of the same domain that were not trained on, N >= 2.
        generated: features (M, D), M >= 2.

    Raises:
        ValueError: there are fewer.
    """
    for features, name, fewest in ((train, "training", 1), (reference, "reference", 2), (generated, "generated", 2)):
        if len(features) < fewest:
            raise ValueError(f"{len(features)} {name} images are too few to tell memorisation; take {fewest} or more")
    pairs = Pairs(np.concatenate([reference, generated]), train)
    nearest = Nearest(pairs, "xy", 1)
    pairs.read(nearest)
    # In float32 distances that differ by rounding alone are ties.
    distances = np.sqrt(nearest.squares).astype(np.float32)
    fresh, made = np.sort(distances[: len(reference)]), np.sort(distances[len(reference) :])
    of_made, of_fresh = 1 - _share_below(made, fresh), _share_below(fresh, made)
    variance = of_made.var(ddof=1) / len(made) + of_fresh.var(ddof=1) / len(fresh)
    return Estimate(float(of_made.mean()), float(np.sqrt(variance)))


def _share_below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return for each value the share of some ascending ones that are below it; equal ones count half."""
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2 * len(ordered))
