"""How far each feature's k-th nearest neighbour is, exactly as float64 has it."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.evaluation.metrics.pairs import OPEN, Of, Pairs, Tile, above


class Nearest:
    """Reads the squared distances from each feature to the k-th nearest in a set, itself left out.

    Of each tile it keeps the pairs that may be among the k nearest, by lower and upper bounds on their squared distances; in
    the end it computes those in float64 that may be the k-th. A tile of which too many may be is computed so at once.
    """

    def __init__(self, pairs: Pairs, of: Of, k: int) -> None:
        self.of = (of,)
        self._of: Of = of
        self._pairs, self._k = pairs, k
        self._size = len(pairs.norms[of[0]])
        #: No k-th neighbour is farther; of the pairs so far.
        self._bounds = np.full(self._size, np.inf)
        #: Rows, columns, lower and upper bounds of the pairs kept.
        self._kept: list[tuple[NDArray[Any], ...]] = []
        self._room = 8 * k * self._size

    def add(self, tile: Tile) -> None:
        """Take a tile in."""
        if not (self._pairs.single and self._keep_near(tile)):
            self._keep_nearest(tile)
        if sum(len(rows) for rows, *_ in self._kept) > self._room:
            self._room = max(self._room, 2 * len(self._prune()[0]))

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """Once all tiles are in, the squared distances float64 (N,) of x's features, or y's for pairs `yy`.

        Infinite where there are fewer than k others.
        """
        rows, columns, lower, upper = self._prune()
        # What is sure to be nearer than the k-th, or farther, is so by its lower bound, too; that does for counting to k.
        may_be = np.flatnonzero((lower < upper) & (upper >= self._kth(rows, lower)[rows]))
        lower[may_be] = self._pairs.squares_of(self._of, rows[may_be], columns[may_be])
        return self._kth(rows, lower)

    def _keep_near(self, tile: Tile) -> bool:
        """Keep what may be among the k nearest by its lower bound, and return whether it is little enough to be kept."""
        kept = []
        for rows, columns, lower in _directions(tile, self._pairs.lower_bounds(tile)):
            own, others = self._pairs.slacks[self._of[0]][rows], self._pairs.slacks[self._of[1]][columns]
            most = lower.size // OPEN + self._k * len(lower)
            near = lower <= above(self._bounds[rows, None])
            if np.count_nonzero(near) > most:
                upper = _smallest(lower + others.astype(np.float32), self._k)[0].astype(np.float64)
                if upper.shape[1] == self._k:
                    self._bounds[rows] = np.minimum(self._bounds[rows], upper[:, -1] + own)
                near = lower <= above(self._bounds[rows, None])
                if np.count_nonzero(near) > most:
                    return False
            i, j = np.divmod(np.flatnonzero(near), near.shape[1])
            bounds = lower[i, j].astype(np.float64)
            kept.append((i + rows.start, j + columns.start, bounds, bounds + own[i] + others[j]))
        self._kept += kept
        return True

    def _keep_nearest(self, tile: Tile) -> None:
        """Keep the k nearest of the tile's in float64."""
        for rows, columns, squares in _directions(tile, self._pairs.squares(tile)):
            values, nearest = _smallest(squares, self._k)
            i = np.repeat(np.arange(rows.start, rows.stop), values.shape[1])
            self._kept.append((i, nearest.ravel() + columns.start, values.ravel(), values.ravel()))

    def _prune(self) -> tuple[NDArray[Any], ...]:
        """Drop what cannot be among the k nearest of the pairs so far, and return what is kept."""
        rows, columns, lower, upper = (np.concatenate(each) for each in zip(*self._kept, strict=True))
        self._bounds = np.minimum(self._bounds, self._kth(rows, upper))
        near = lower <= self._bounds[rows]
        self._kept = [tuple(each[near] for each in (rows, columns, lower, upper))]
        return self._kept[0]

    def _kth(self, rows: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each feature's k-th smallest value (N,), infinite where there are fewer."""
        order = np.lexsort((values, rows))
        counts = np.bincount(rows, minlength=self._size)
        enough = counts >= self._k
        kth = np.full(self._size, np.inf)
        kth[enough] = values[order][(np.cumsum(counts) - counts + self._k - 1)[enough]]
        return kth


def _directions(tile: Tile, values: NDArray[Any]) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Yield rows, columns and values of a tile, of a feature with itself infinite; and those of the transpose it stands for."""
    if tile.symmetric:
        np.fill_diagonal(values, np.inf)
    yield tile.rows, tile.columns, values
    if tile.of != "xy" and not tile.symmetric:
        yield tile.columns, tile.rows, values.T


def _smallest(values: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return each row's k smallest values, ascending, and their columns; all where there are no more."""
    found = torch.from_numpy(values).topk(min(k, values.shape[1]), dim=1, largest=False)
    return found.values.numpy(), found.indices.numpy()
