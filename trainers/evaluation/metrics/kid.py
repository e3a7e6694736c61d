"""Kernel inception distance (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / D + 1)^3."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from trainers.common.seeds import derive_seed
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.pairs import Of, Pairs, Tile, slices

#: Blocks that the standard error is estimated from; fewer where there are not two samples for each.
BLOCKS = 10

#: Terms that may be added up in float32 before their sum is in float64: its error is then that of a term.
FEW = 64

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
    """Reads the kernel's sums over all pairs, by the blocks of the jackknife that both ends are in.

    About the centre c, x.y is (x - c).(y - c) + (x - c).c + (y - c).c + c.c. So the kernel is the cube of h + q: of a height
    for either end, together h, and of the centred product over D, q. Of that cube h^3 + 3 h^2 q comes apart into sums over the
    features, in float64; the pairs one by one take only 3 h q^2 + q^3. That is small, and so is float32's error in it: on
    large sets KID is off float64's by less than a millionth, of itself or, where it is about 0, of its standard error.
    """

    of: tuple[Of, ...] = ("xx", "yy", "xy")

    def __init__(self, pairs: Pairs) -> None:
        sizes = {name: len(norms) for name, norms in pairs.norms.items()}
        assert min(sizes.values()) >= FEWEST
        self._blocks = min(BLOCKS, *(size // 2 for size in sizes.values()))
        order = np.random.default_rng(derive_seed("kid"))
        # Rows of ones and noughts, so that a product adds up by blocks.
        self._members = {
            name: np.eye(self._blocks)[:, np.argsort(order.permutation(size)) * self._blocks // size]
            for name, size in sizes.items()
        }
        self._dimensions = len(pairs.centre)
        sides = {name: _Side(pairs, name, self._members[name]) for name in sizes}
        self._heights = {name: side.heights for name, side in sides.items()}
        self._sums = {of: sides[of[0]].paired(sides[of[1]]) for of in self.of}

    def add(self, tile: Tile) -> None:
        """Take a tile in; what is computed pair by pair is of its products' type, and sums are float64."""
        x, y = tile.of
        kind = tile.products.dtype.type
        squares = tile.products / kind(self._dimensions)
        kernel = squares + (3 * self._heights[x][tile.rows, None]).astype(kind)
        kernel += (3 * self._heights[y][tile.columns]).astype(kind)
        squares *= squares
        kernel *= squares
        if tile.symmetric:
            np.fill_diagonal(kernel, 0)
        members, by_block = self._members[x][:, tile.rows].astype(kind), np.zeros((self._blocks, kernel.shape[1]))
        for part in slices(len(kernel), FEW):
            by_block += members[:, part] @ kernel[part]
        summed = by_block @ self._members[y][:, tile.columns].T
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


class _Side:
    """A set's heights (N,); by block, sums of their powers and of the features, over the root of D, times those."""

    def __init__(self, pairs: Pairs, name: str, members: NDArray[np.float64]) -> None:
        norms, dimensions = pairs.norms[name], len(pairs.centre)
        self.heights = np.empty(len(norms))
        self._powers = np.zeros((4, len(members)))
        self._moments = np.zeros((3, len(members), dimensions))
        for part in slices(len(norms)):
            features = pairs.features(name, part)
            self.heights[part] = (features @ pairs.centre + (pairs.centre @ pairs.centre + dimensions) / 2) / dimensions
            weights = members[:, part] * self.heights[part] ** np.arange(4)[:, None, None]
            self._powers += weights.sum(2)
            self._moments += (weights[:3].reshape(-1, len(features)) @ features).reshape(self._moments.shape)
        self._moments /= np.sqrt(dimensions)
        self._with_itself = members @ ((2 * self.heights) ** 3 + 3 * (2 * self.heights) ** 2 * norms / dimensions)

    def paired(self, other: "_Side") -> NDArray[np.float64]:
        """Return the sums (B, B) of h^3 + 3 h^2 q over the pairs with another set, or within this one: none with itself."""
        summed = np.zeros((len(self._with_itself), len(other._with_itself)))
        for i in range(4):
            summed += comb(3, i) * np.outer(self._powers[i], other._powers[3 - i])
        for i in range(3):
            summed += 3 * comb(2, i) * self._moments[i] @ other._moments[2 - i].T
        return summed - np.diag(self._with_itself) if other is self else summed
