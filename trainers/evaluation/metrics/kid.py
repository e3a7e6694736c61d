"""Kernel inception distance (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / D + 1)^3."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from trainers.common.seeds import derive_seed
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.pairs import Of, Pairs, Tile, slices
from trainers.evaluation.metrics.reference_draws import replicates

#: Blocks of the jackknife that estimates the standard error; fewer if a set has less than two samples for each.
BLOCKS = 10

#: Most terms summed in float32 before the sum is added in float64: few enough that its error is about that of one term.
FEW = 64

#: Fewest samples in either set: two blocks of two.
FEWEST = 4


def kid(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Return the KID between features (N, D) and (M, D), N and M at least 4; near 0 or below for equal distributions.

    The value is over all pairs. The standard error is from the delete-a-block jackknife (Kunsch 1989) over ten blocks of both
    sets (fewer for fewer than twenty samples), to which the features are assigned in a fixed pseudo-random order. The
    replicates are over draws of x, the reference.
    """
    pairs = Pairs(x, y)
    sums = KernelSums(pairs)
    pairs.read(sums)
    return sums.kid()


class KernelSums:
    """Sums the kernel over all pairs, by the jackknife blocks of both features of a pair.

    With a centre c, x.y = (x - c).(y - c) + (x - c).c + (y - c).c + c.c. So the kernel is (h + q)^3: h is the sum of a height
    of each feature, and q the centred product over D. Of the cube, h^3 + 3 h^2 q factors into sums over the features, computed
    in float64; only 3 h q^2 + q^3 is computed pair by pair. It is small, and so is its float32 error: on large sets KID differs
    from that in float64 by less than a millionth of itself, or of its standard error if it is about 0.
    """

    of: tuple[Of, ...] = ("xx", "yy", "xy")

    def __init__(self, pairs: Pairs) -> None:
        sizes = {name: len(norms) for name, norms in pairs.norms.items()}
        assert min(sizes.values()) >= FEWEST
        self._blocks = min(BLOCKS, *(size // 2 for size in sizes.values()))
        order = np.random.default_rng(derive_seed("kid"))
        # Rows of ones and zeros: a matrix product with them sums by blocks.
        self._members = {
            name: np.eye(self._blocks)[:, np.argsort(order.permutation(size)) * self._blocks // size]
            for name, size in sizes.items()
        }
        self._dimensions = len(pairs.centre)
        sides = {name: _Side(pairs, name, self._members[name]) for name in sizes}
        self._heights = {name: side.heights for name, side in sides.items()}
        self._sums = {of: sides[of[0]].paired(sides[of[1]]) for of in self.of}
        self._rows = {of: sides["x"].rows(sides[of[1]], pairs) for of in ("xx", "xy")}

    def add(self, tile: Tile) -> None:
        """Add a tile; values of single pairs have the type of its products, and sums are float64."""
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
        sums = by_block @ self._members[y][:, tile.columns].T
        self._sums[tile.of] += sums
        if x == "x":
            self._rows[tile.of][tile.rows] += kernel @ np.ones(kernel.shape[1], kind)
            if tile.of == "xx" and not tile.symmetric:
                self._rows["xx"][tile.columns] += by_block.sum(0)
        if tile.of != "xy" and not tile.symmetric:
            self._sums[tile.of] += sums.T

    def kid(self) -> Estimate:
        """Return the KID, after all tiles have been added."""
        jackknife = np.array([self._mmd(block) for block in range(self._blocks)])
        variance = (self._blocks - 1) / self._blocks * np.square(jackknife - jackknife.mean()).sum()
        value, (n, m) = self._mmd(None), (self._members[name].shape[1] for name in "xy")
        influences = 2 * (self._rows["xx"] / (n - 1) - self._rows["xy"] / m)
        return Estimate(value, float(np.sqrt(variance)), replicates(value, influences))

    def _mmd(self, without: int | None) -> float:
        """Return the unbiased MMD^2 without the features of one block; None: of all features."""
        keep = np.array([block != without for block in range(self._blocks)])
        xx, yy, xy = (self._sums[of][np.ix_(keep, keep)].sum() for of in self.of)
        n, m = (int(self._members[name][keep].sum()) for name in "xy")
        return float(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))


class _Side:
    """A set's heights (N,); by block, sums of their powers, and sums of the features times these powers over the root of D."""

    def __init__(self, pairs: Pairs, name: str, members: NDArray[np.float64]) -> None:
        norms, dimensions = pairs.norms[name], len(pairs.centre)
        self._name = name
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
        self._diagonal = (2 * self.heights) ** 3 + 3 * (2 * self.heights) ** 2 * norms / dimensions
        self._with_itself = members @ self._diagonal

    def paired(self, other: "_Side") -> NDArray[np.float64]:
        """Return the sums (B, B) of h^3 + 3 h^2 q over the pairs with another set, or within this one without equal indices."""
        sums = np.zeros((len(self._with_itself), len(other._with_itself)))
        for i in range(4):
            sums += comb(3, i) * np.outer(self._powers[i], other._powers[3 - i])
        for i in range(3):
            sums += 3 * comb(2, i) * self._moments[i] @ other._moments[2 - i].T
        return sums - np.diag(self._with_itself) if other is self else sums

    def rows(self, other: "_Side", pairs: Pairs) -> NDArray[np.float64]:
        """Return the sum (N,) of the same terms over the pairs of each feature."""
        powers, moments = other._powers.sum(1), other._moments.sum(1) / np.sqrt(len(pairs.centre))
        sums = -self._diagonal if other is self else np.zeros(len(self.heights))
        for i in range(4):
            sums += comb(3, i) * self.heights**i * powers[3 - i]
        for part in slices(len(sums)):
            products = pairs.features(self._name, part) @ moments.T
            for i in range(3):
                sums[part] += 3 * comb(2, i) * self.heights[part] ** i * products[:, 2 - i]
        return sums
