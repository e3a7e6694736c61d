"""Kernel inception distance (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / D + 1)^3."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.estimate import Estimate
from trainers.evaluation.pairs import Of, Pairs, Tile
from trainers.seeds import derive_seed

#: Blocks that the standard error is estimated from; fewer where there are not two samples for each.
BLOCKS = 10

#: Fewest samples on either side: two blocks of two.
FEWEST = 4


def kid(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Return the KID between features (N, D) and (M, D), N and M at least 4; near 0, even below, for equal ones.

    The value is over all pairs. The standard error is the delete-a-block jackknife's (Kunsch 1989) over ten blocks of both
    sets (fewer for fewer than twenty samples), which the features are dealt to in a fixed pseudo-random order.
    """
    pairs = Pairs(x, y)
    sums = KernelSums(pairs)
    pairs.read(sums)
    return sums.kid()


class KernelSums:
    """Reads the kernel's sums over all pairs, by the blocks of the jackknife that both ends are in."""

    of: tuple[Of, ...] = ("xx", "yy", "xy")

    def __init__(self, pairs: Pairs) -> None:
        sizes = len(pairs.x), len(pairs.y)
        assert min(sizes) >= FEWEST
        self._blocks = min(BLOCKS, *(size // 2 for size in sizes))
        order = np.random.default_rng(derive_seed("kid"))
        # Rows of ones and noughts, so that a product adds up by blocks.
        self._members = {
            name: np.eye(self._blocks)[:, np.argsort(order.permutation(size)) * self._blocks // size]
            for name, size in zip("xy", sizes, strict=True)
        }
        self._sums = {of: np.zeros((self._blocks, self._blocks)) for of in self.of}
        # About the centre c, x.y is (x - c).(y - c) + (x - c).c + (y - c).c + c.c. So the kernel's argument is a sum of the
        # tile's product q, over D, and of a height for either end; only q^2 and q^3 in its cube take the pairs one by one.
        self._pairs = pairs
        self._dimensions = len(pairs.centre)
        half = (pairs.centre @ pairs.centre / self._dimensions + 1) / 2
        sets = {"x": pairs.x, "y": pairs.y}
        self._heights = {name: each @ pairs.centre / self._dimensions + half for name, each in sets.items()}
        for of in self.of:
            self._sums[of] += self._apart(of)

    def _apart(self, of: Of) -> NDArray[np.float64]:
        """Return the sums (B, B) of h^3 + 3 h^2 q over the pairs, for h the sum of both heights."""
        powers = [[self._members[name] * self._heights[name] ** power for power in range(4)] for name in of]
        counts = [[each.sum(1) for each in of_set] for of_set in powers]
        features = [[each @ getattr(self._pairs, name) for each in of_set[:3]] for name, of_set in zip(of, powers, strict=True)]
        cubes = sum(comb(3, i) * np.outer(counts[0][i], counts[1][3 - i]) for i in range(4))
        mixed = sum(comb(2, i) * features[0][i] @ features[1][2 - i].T for i in range(3))
        summed: NDArray[np.float64] = cubes + 3 / self._dimensions * mixed
        if of != "xy":  # no feature is paired with itself
            heights, norms = 2 * self._heights[of[0]], self._pairs.norms[of[0]] / self._dimensions
            summed -= np.diag(self._members[of[0]] @ (heights**3 + 3 * heights**2 * norms))
        return summed

    def add(self, tile: Tile) -> None:
        """Take a tile in: add up 3 h q^2 + q^3, of the products' type pair by pair and in float64 from there."""
        x, y = tile.of
        kind = tile.products.dtype
        squares = tile.products / kind.type(self._dimensions)
        kernel = squares + (3 * self._heights[x][tile.rows, None]).astype(kind)
        kernel += (3 * self._heights[y][tile.columns]).astype(kind)
        squares *= squares
        kernel *= squares
        if tile.symmetric:
            np.fill_diagonal(kernel, 0)
        summed = self._members[x][:, tile.rows] @ kernel.astype(np.float64, copy=False) @ self._members[y][:, tile.columns].T
        self._sums[tile.of] += summed
        if tile.of != "xy" and not tile.symmetric:
            self._sums[tile.of] += summed.T

    def kid(self) -> Estimate:
        """Return the distance, once all tiles are in."""
        jackknife = np.array([self._mmd(block) for block in range(self._blocks)])
        variance = (self._blocks - 1) / self._blocks * np.square(jackknife - jackknife.mean()).sum()
        return Estimate(self._mmd(None), float(np.sqrt(variance)))

    def _mmd(self, without: int | None) -> float:
        """Return the unbiased MMD^2 of the features that are not in a block."""
        keep = np.array([block != without for block in range(self._blocks)])
        xx, yy, xy = (self._sums[of][np.ix_(keep, keep)].sum() for of in self.of)
        n, m = (int(self._members[name][keep].sum()) for name in "xy")
        return float(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))
