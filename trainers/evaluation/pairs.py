"""Inner products and distances of all pairs of features, tile by tile: what KID, PRDC and nearest neighbours are made of.

Features are float64 and taken about their common mean: what is far from the origin loses no accuracy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

#: Which pairs: those within a set, or across.
Of = Literal["xx", "yy", "xy"]

#: Features on a tile's side: the tiles at work, some 8 MiB each, about fit a processor's cache.
SIDE = 1024

#: Squared distances below this share of the squared norms are rounding errors.
NOUGHT = 1e-11


@dataclass(frozen=True)
class Tile:
    """The inner products float64 (R, C) of some features with some others.

    Attributes:
        of: which sets the rows and the columns are of.
        rows, columns: which features.
        products: of the features about their common mean; not to be changed.
    """

    of: Of
    rows: slice
    columns: slice
    products: NDArray[np.float64]

    @property
    def symmetric(self) -> bool:
        """Whether rows and columns are the same features; if not, a tile of `xx` or `yy` stands for its transpose, too."""
        return self.of != "xy" and self.rows == self.columns


class Reader(Protocol):
    """What makes something of the tiles of some kinds, which come in the order xx, yy, xy."""

    @property
    def of(self) -> tuple[Of, ...]:
        """The kinds."""

    def add(self, tile: Tile) -> None:
        """Take in a tile, of one of those kinds."""


class Pairs:
    """Two sets of features, (N, D) and (M, D), and their pairs.

    Attributes:
        x, y: the features about their common mean, float64.
        centre: that mean, float64 (D,).
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.centre = (x.sum(0, dtype=np.float64) + y.sum(0, dtype=np.float64)) / (len(x) + len(y))
        self.x, self.y = x - self.centre, y - self.centre
        self._sets = {"x": self.x, "y": self.y}
        self._norms = {name: np.einsum("ij,ij->i", each, each) for name, each in self._sets.items()}

    def read(self, *readers: Reader) -> None:
        """Hand the readers the tiles that they are for, each made once."""
        for of in get_args(Of):
            wanted = [reader for reader in readers if of in reader.of]
            if wanted:
                for tile in self._tiles(of):
                    for reader in wanted:
                        reader.add(tile)

    def _tiles(self, of: Of) -> Iterator[Tile]:
        x, y = (self._sets[name] for name in of)
        for rows in _slices(len(x)):
            for columns in _slices(len(y) if of == "xy" else rows.stop):
                yield Tile(of, rows, columns, x[rows] @ y[columns].T)

    def squared_distances(self, tile: Tile) -> NDArray[np.float64]:
        """Return the squared distances (R, C) of a tile's features; nought for equal ones."""
        x, y = (self._norms[name] for name in tile.of)
        norms = x[tile.rows, None] + y[tile.columns]
        distances = tile.products * -2
        distances += norms
        norms *= NOUGHT
        distances[distances < norms] = 0
        return distances


class Nearest:
    """Reads the squared distances from each feature to the k nearest in a set, itself left out.

    Attributes:
        squares: ascending, float64 (N, k): of each feature of x, or of y for pairs `yy`. Infinite where there are fewer.
    """

    def __init__(self, pairs: Pairs, of: Of, k: int) -> None:
        self.of = (of,)
        self.squares = np.full((len(pairs.y if of == "yy" else pairs.x), k), np.inf)
        self._pairs = pairs

    def add(self, tile: Tile) -> None:
        """Take a tile in."""
        distances = self._pairs.squared_distances(tile)
        if tile.symmetric:
            np.fill_diagonal(distances, np.inf)
        elif tile.of != "xy":
            self._merge(tile.columns, distances.T)
        self._merge(tile.rows, distances)

    def _merge(self, rows: slice, distances: NDArray[np.float64]) -> None:
        k = self.squares.shape[1]
        self.squares[rows] = _smallest(np.concatenate([self.squares[rows], _smallest(distances, k)], 1), k)


def _smallest(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return each row's k smallest values, ascending; all where there are no more."""
    found: NDArray[np.float64] = torch.from_numpy(values).topk(min(k, values.shape[1]), dim=1, largest=False).values.numpy()
    return found


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, min(start + SIDE, n)) for start in range(0, n, SIDE))
