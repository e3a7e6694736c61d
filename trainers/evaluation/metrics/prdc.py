"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), from k-nearest-neighbour balls.

Around each feature is a ball that reaches to its k-th nearest neighbour within its own set; what lies on the rim is outside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.kid import KernelSums
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Of, Pairs, Tile

#: Squared distances that differ by less than this share are equal: on the rim.
RIM = 1e-10


@dataclass(frozen=True)
class Prdc:
    """How well generated features cover the real ones, and the other way round.

    The standard errors are those of the means over the samples, with all balls held fixed: over the generated samples for
    precision and density, over the real ones for recall and coverage. How the balls vary from draw to draw is not in them.
    """

    precision: Estimate
    """Share of the generated samples that lie in some real one's ball, in [0, 1]."""
    recall: Estimate
    """Share of the real samples that lie in some generated one's ball, in [0, 1]."""
    density: Estimate
    """Mean number of real balls that a generated sample lies in, over k: about 1 for equal distributions, at least 0."""
    coverage: Estimate
    """Share of the real samples in whose ball some generated one lies, in [0, 1]."""


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Prdc:
    """Return precision, recall, density and coverage of generated features (M, D) for real ones (N, D).

    A set with k or more copies of one feature has a ball of radius 0 there, with nothing in it: sets of equal features give 0.

    Raises:
        ValueError: a set has no k-th neighbours; it takes k + 1 features.
    """
    pairs = Pairs(real, fake)
    balls = Balls(pairs, k)
    pairs.read(*balls.readers)
    return balls.prdc()


def kid_and_prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[Estimate, Prdc]:
    """Return what `kid` and `prdc` do, in less time: from one pass over the pairs."""
    pairs = Pairs(real, fake)
    sums, balls = KernelSums(pairs), Balls(pairs, k)
    pairs.read(sums, *balls.readers)
    return sums.kid(), balls.prdc()


class Balls:
    """Reads which of the real features x and the generated ones y lie in whose balls."""

    of: tuple[Of, ...] = ("xy",)

    def __init__(self, pairs: Pairs, k: int) -> None:
        n, m = (len(pairs.norms[name]) for name in "xy")
        for size, name in ((n, "real"), (m, "generated")):
            if size <= k:
                raise ValueError(f"{size} {name} samples have no {k}-th neighbours; take {k + 1} samples or more, or a lower k")
        self._pairs, self._k = pairs, k
        self._real, self._generated = Nearest(pairs, "xx", k), Nearest(pairs, "yy", k)
        self._covered, self._recalled = np.zeros(n, bool), np.zeros(n, bool)
        self._balls = np.zeros(m, int)
        #: All that has to read the pairs, in this order.
        self.readers = self._real, self._generated, self

    def add(self, tile: Tile) -> None:
        """Take in a tile; the radii are known by now."""
        limits = _inside(self._real)[tile.rows, None], _inside(self._generated)[None, tile.columns]
        in_real, in_generated = self._pairs.below(tile, *limits)
        self._covered[tile.rows] |= in_real.any(1)
        self._balls[tile.columns] += in_real.sum(0)
        self._recalled[tile.rows] |= in_generated.any(1)

    def prdc(self) -> Prdc:
        """Return the figures, once all tiles are in."""
        of_samples = (self._balls > 0, self._recalled, self._balls / self._k, self._covered)
        return Prdc(*(Estimate(float(each.mean()), float(each.std() / np.sqrt(len(each)))) for each in of_samples))


def _inside(nearest: Nearest) -> NDArray[np.float64]:
    """Return the squared distances (N,) below which something is in a ball."""
    inside: NDArray[np.float64] = nearest.squares * (1 - RIM)
    return inside
