"""Kernel inception distance (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / D + 1)^3."""

import numpy as np

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
        # About the centre c, x.y is (x - c).(y - c) + (x - c).c + (y - c).c + c.c.
        self._dimensions = len(pairs.centre)
        shifts = (pairs.x @ pairs.centre, pairs.y @ pairs.centre)
        self._shifts = {name: each / self._dimensions for name, each in zip("xy", shifts, strict=True)}
        self._constant = pairs.centre @ pairs.centre / self._dimensions + 1

    def add(self, tile: Tile) -> None:
        """Take a tile in."""
        x, y = tile.of
        argument = tile.products / self._dimensions
        argument += (self._shifts[x][tile.rows] + self._constant)[:, None]
        argument += self._shifts[y][tile.columns]
        kernel = argument * argument
        kernel *= argument
        if tile.symmetric:
            np.fill_diagonal(kernel, 0)
        summed = self._members[x][:, tile.rows] @ kernel @ self._members[y][:, tile.columns].T
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
