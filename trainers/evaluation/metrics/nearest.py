"""The distance of each feature to its k-th nearest neighbour, equal to that computed in float64."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.evaluation.metrics.pairs import OPEN, Of, Pairs, Tile, above


class Nearest:
    """Finds the squared distance from each feature to its k-th nearest neighbour in a set, itself excluded.

    From each tile it keeps the pairs that may be among the k nearest, by lower and upper bounds on their squared distances. In
    the end it computes the candidates for the k-th in float64. A tile with too many candidates is computed in float64
    immediately.
    """

    def __init__(self, pairs: Pairs, of: Of, k: int) -> None:
        self.of = (of,)
        self._of: Of = of
        self._pairs, self._k = pairs, k
        self._size = len(pairs.norms[of[0]])
        #: Upper bounds on the squared distance of each k-th neighbour, from the pairs so far.
        self._bounds = np.full(self._size, np.inf)
        #: Rows, columns, lower bounds and upper bounds of the candidates.
        self._kept: list[tuple[NDArray[Any], ...]] = []
        self._room = 8 * k * self._size

    def add(self, tile: Tile) -> None:
        """Add a tile."""
        if not (self._pairs.single and self._keep_near(tile)):
            self._keep_nearest(tile)
        if sum(len(rows) for rows, *_ in self._kept) > self._room:
            self._room = max(self._room, 2 * len(self._prune()[0]))

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The squared distances float64 (N,) of x's features, or y's for pairs `yy`, after all tiles have been added.

        Infinite if there are fewer than k neighbours.
        """
        rows, columns, lower, upper = self._prune()
        # A pair that is certainly nearer or farther than the k-th is so by its lower bound too, which suffices to count to k.
        may_be = np.flatnonzero((lower < upper) & (upper >= self._kth(rows, lower)[rows]))
        lower[may_be] = self._pairs.squares_of(self._of, rows[may_be], columns[may_be])
        return self._kth(rows, lower)

    def _keep_near(self, tile: Tile) -> bool:
        """Keep the pairs that may be among the k nearest by their lower bounds; return False if they are too many to keep."""
        kept = []
        for rows, columns, lower in _directions(tile, self._pairs.lower_bounds(tile)):
            row_slacks, slacks = self._pairs.slacks[self._of[0]][rows], self._pairs.slacks[self._of[1]][columns]
            most = lower.size // OPEN + self._k * len(lower)
            near = lower <= above(self._bounds[rows, None])
            if np.count_nonzero(near) > most:
                upper = _smallest(lower + slacks.astype(np.float32), self._k)[0].astype(np.float64)
                if upper.shape[1] == self._k:
                    self._bounds[rows] = np.minimum(self._bounds[rows], upper[:, -1] + row_slacks)
                near = lower <= above(self._bounds[rows, None])
                if np.count_nonzero(near) > most:
                    return False
            i, j = np.divmod(np.flatnonzero(near), near.shape[1])
            bounds = lower[i, j].astype(np.float64)
            kept.append((i + rows.start, j + columns.start, bounds, bounds + row_slacks[i] + slacks[j]))
        self._kept += kept
        return True

    def _keep_nearest(self, tile: Tile) -> None:
        """Keep the k nearest pairs of each feature in a tile, computed in float64."""
        for rows, columns, squares in _directions(tile, self._pairs.squares(tile)):
            values, nearest = _smallest(squares, self._k)
            i = np.repeat(np.arange(rows.start, rows.stop), values.shape[1])
            self._kept.append((i, nearest.ravel() + columns.start, values.ravel(), values.ravel()))

    def _prune(self) -> tuple[NDArray[Any], ...]:
        """Drop the pairs that cannot be among the k nearest, and return the others."""
        rows, columns, lower, upper = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        self._bounds = np.minimum(self._bounds, self._kth(rows, upper))
        near = lower <= self._bounds[rows]
        self._kept = [tuple(values[near] for values in (rows, columns, lower, upper))]
        return self._kept[0]

    def _kth(self, rows: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each feature's k-th smallest value (N,), infinite if it has fewer values."""
        order = np.lexsort((values, rows))
        counts = np.bincount(rows, minlength=self._size)
        enough = counts >= self._k
        kth = np.full(self._size, np.inf)
        kth[enough] = values[order][(np.cumsum(counts) - counts + self._k - 1)[enough]]
        return kth


def _directions(tile: Tile, values: NDArray[Any]) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Yield rows, columns and values of a tile, infinite for a feature with itself; then those of the transpose it implies."""
    if tile.symmetric:
        np.fill_diagonal(values, np.inf)
    yield tile.rows, tile.columns, values
    if tile.of != "xy" and not tile.symmetric:
        yield tile.columns, tile.rows, values.T


def _smallest(values: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return each row's k smallest values, or all if there are fewer, ascending, and their columns."""
    smallest = torch.from_numpy(values).topk(min(k, values.shape[1]), dim=1, largest=False)
    return smallest.values.numpy(), smallest.indices.numpy()
