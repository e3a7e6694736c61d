"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), from k-nearest-neighbour balls.

The ball of a feature reaches to its k-th nearest neighbour in the same set; points on its surface are outside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.kid import KernelSums
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Of, Pairs, Tile

#: Squared distances that differ by less than this share are equal, so on the surface.
RIM = 1e-10


@dataclass(frozen=True)
class Prdc:
    """How well generated features cover the real ones, and vice versa.

    The standard errors are those of the means over the samples, with all balls held fixed: over the generated samples for
    precision and density, over the real ones for recall and coverage. They do not include the variation of the balls.
    """

    precision: Estimate
    """Share of the generated samples that lie in the ball of a real one, in [0, 1]."""
    recall: Estimate
    """Share of the real samples that lie in the ball of a generated one, in [0, 1]."""
    density: Estimate
    """Mean number of real balls that a generated sample lies in, over k: about 1 for equal distributions, at least 0."""
    coverage: Estimate
    """Share of the real samples whose ball contains a generated one, in [0, 1]."""


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Prdc:
    """Return precision, recall, density and coverage of generated features (M, D) for real ones (N, D).

    A feature with k or more copies has an empty ball of radius 0, so sets of equal features give 0.

    Raises:
        ValueError: a set has fewer than k + 1 features.
    """
    pairs = Pairs(real, fake)
    balls = Balls(pairs, k)
    pairs.read(*balls.readers)
    return balls.prdc()


def kid_and_prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[Estimate, Prdc]:
    """Return what `kid` and `prdc` return, in less time: by one pass over the pairs."""
    pairs = Pairs(real, fake)
    sums, balls = KernelSums(pairs), Balls(pairs, k)
    pairs.read(sums, *balls.readers)
    return sums.kid(), balls.prdc()


class Balls:
    """Counts which real features x and generated features y lie in each other's balls."""

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
        #: The readers that need the tiles, in this order.
        self.readers = self._real, self._generated, self

    def add(self, tile: Tile) -> None:
        """Add a tile; the radii are known, because tiles of `xx` and `yy` come first."""
        limits = _inside(self._real)[tile.rows, None], _inside(self._generated)[None, tile.columns]
        in_real, in_generated = self._pairs.below(tile, *limits)
        self._covered[tile.rows] |= in_real.any(1)
        self._balls[tile.columns] += in_real.sum(0)
        self._recalled[tile.rows] |= in_generated.any(1)

    def prdc(self) -> Prdc:
        """Return the four metrics, after all tiles have been added."""
        metrics = (self._balls > 0, self._recalled, self._balls / self._k, self._covered)
        return Prdc(*(Estimate(float(values.mean()), float(values.std() / np.sqrt(len(values)))) for values in metrics))


def _inside(nearest: Nearest) -> NDArray[np.float64]:
    """Return the squared distances (N,) below which a point is in a ball."""
    inside: NDArray[np.float64] = nearest.squares * (1 - RIM)
    return inside
