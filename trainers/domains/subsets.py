"""Nested, class-balanced subsets: the subset of 100 images is part of the subset of 1,000."""

import numpy as np

from trainers.common.seeds import derive_seed


def subset(labels: np.ndarray | None, total: int, size: int, seed: int) -> np.ndarray:
    """Return the indices, int64 (size,), of a subset of `total` images.

    Subsets with the same seed are nested: each is a prefix of every larger one. With labels int64 (total,), the numbers of
    images per class differ by at most one in every subset, until all images of a class are used.
    """
    assert 0 < size <= total
    random = np.random.default_rng(derive_seed("subset", seed))
    order = random.permutation(total)
    if labels is not None:
        # Order by rank within the class: the k-th image of every class comes before the (k+1)-th of any class.
        shuffled = labels[order]
        ranks = np.empty(total, np.int64)
        for label in np.unique(shuffled):
            members = np.flatnonzero(shuffled == label)
            ranks[members] = np.arange(len(members))
        order = order[np.argsort(ranks, kind="stable")]
    return order[:size].astype(np.int64)
