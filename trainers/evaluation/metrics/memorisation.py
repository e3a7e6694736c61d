"""Memorisation: the data-copying test of Meehan et al. (2020) as a probability, with the whole feature space as one cell."""

import numpy as np

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Pairs


def memorisation(train: np.ndarray, reference: np.ndarray, generated: np.ndarray) -> Estimate:
    """Return P[a generated image is nearer to its nearest training image than a reference image is to its nearest one].

    0.5: generated images are as far from the training images as new images of the domain are; 1: they are copies; below 0.5:
    they are farther, as from a generator that has not learnt the domain yet. Equal distances count half. This is the
    Mann-Whitney statistic; its standard error is that of DeLong et al. (1988), for these training images.

    Args:
        train: features (L, D) of the images trained on, L >= 1.
        reference: features (N, D) of images of the same domain that were not trained on, N >= 2.
        generated: features (M, D), M >= 2.

    Raises:
        ValueError: there are fewer images.
    """
    for features, name, fewest in ((train, "training", 1), (reference, "reference", 2), (generated, "generated", 2)):
        if len(features) < fewest:
            raise ValueError(f"{len(features)} {name} images are too few to measure memorisation; use {fewest} or more")
    pairs = Pairs(np.concatenate([reference, generated]), train)
    nearest = Nearest(pairs, "xy", 1)
    pairs.read(nearest)
    # In float32, distances that differ only by rounding are ties.
    distances = np.sqrt(nearest.squares).astype(np.float32)
    new, fake = np.sort(distances[: len(reference)]), np.sort(distances[len(reference) :])
    of_fake, of_new = 1 - _share_below(fake, new), _share_below(new, fake)
    variance = of_fake.var(ddof=1) / len(fake) + of_new.var(ddof=1) / len(new)
    return Estimate(float(of_fake.mean()), float(np.sqrt(variance)))


def _share_below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return for each value the share of `ordered`, ascending, that is below it; equal values count half."""
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2 * len(ordered))
