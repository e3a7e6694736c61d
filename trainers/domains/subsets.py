"""Nested, class-balanced subsets: the 100 are in the 1,000."""

import numpy as np

from trainers.common.seeds import derive_seed


def subset(labels: np.ndarray | None, total: int, size: int, seed: int) -> np.ndarray:
    """Return the indices, int64 (size,), of a subset of `total` images.

    Subsets of one seed are nested: each is the beginning of every larger one. With labels int64 (total,), the classes' counts
    in every subset differ by at most one, until a class has no more images.
    """
    assert 0 < size <= total
    random = np.random.default_rng(derive_seed("subset", seed))
    order = random.permutation(total)
    if labels is not None:
        # Deal the classes out in rounds: the k-th image of every class comes before the (k+1)-th of any.
        shuffled = labels[order]
        rounds = np.empty(total, np.int64)
        for label in np.unique(shuffled):
            members = np.flatnonzero(shuffled == label)
            rounds[members] = np.arange(len(members))
        order = order[np.argsort(rounds, kind="stable")]
    return order[:size].astype(np.int64)
