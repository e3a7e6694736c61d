"""Nested subsets of training images: the subset of 100 images is part of the subset of 1,000."""

import numpy as np

from trainers.common.seeds import derive_seed


def subset(labels: np.ndarray | None, total: int, size: int, seed: int, *, balanced: bool = False) -> np.ndarray:
    """Return the indices, int64 (size,), of a subset of `total` images.

    Subsets with the same seed are nested: each is a prefix of every larger one. Within a class all images are equally likely.

    Args:
        labels: int64 (total,), the classes of the images; None for a plain random subset.
        balanced: False: in every subset the shares of the classes are about those in all images. True: the numbers of images
            per class differ by at most one, until all images of a class are used; if there are fewer images than classes, the
            seed does not decide which classes have one.
    """
    assert 0 < size <= total
    random = np.random.default_rng(derive_seed("subset", seed))
    order = random.permutation(total)
    if labels is not None:
        classes, numbers, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
        ranks = _ranks(numbers, counts)
        if balanced:
            # The k-th image of every class comes before the (k+1)-th of any class. From the second on their order is random.
            places = np.random.default_rng(derive_seed("classes", len(classes))).permutation(len(classes))
            order = order[np.lexsort((np.where(ranks == 0, places[numbers], np.arange(total)), ranks))]
        else:
            # The images of a class are evenly spaced from a random start: systematic sampling, stratified by class.
            starts = random.random(len(classes))
            order = order[np.argsort((ranks + starts[numbers]) / counts[numbers], kind="stable")]
    return order[:size].astype(np.int64)


def _ranks(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return how many earlier items have the same number, int64 (N,), for numbers in [0, K) with their counts int64 (K,)."""
    ranks = np.empty(len(numbers), np.int64)
    grouped = np.argsort(numbers, kind="stable")
    ranks[grouped] = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
