"""Inner products and distances of all pairs of features, tile by tile: what KID, PRDC and nearest neighbours are made of.

Features are taken about their common mean: what is far from the origin loses no accuracy. The products of few features are
float64, those of many float32, in half the time. What is told of distances is what float64 tells all the same: a float32
product comes with a bound on its error, and where that leaves a comparison open the distance is computed again, in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

#: Which pairs: those within a set, or across.
Of = Literal["xx", "yy", "xy"]

#: Features on a tile's side: the tiles at work, some 6 to 12 MiB each, about fit a processor's cache.
SIDE = 1280

#: Squared distances below this share of the squared norms are rounding errors.
NOUGHT = 1e-11

#: Products are float32 from this (N + M)^2 D on: below, float64 takes a second or less.
LARGE = 2**33

#: ... up to so many dimensions: errors grow with them, and what is left open with the errors.
WIDEST = 2**13

#: ... and where the mean squared norm is in this range, and the centre's not above it: far from what float32 cannot hold,
NORMS = 1e-9, 1e9

#: ... and the greatest at most so many times the mean one: errors then cancel, with none that outweighs the others.
EVEN = 64

#: Roundings that a float32 squared distance has beside those of the product's D terms: fewer than ten, to be on the safe side.
ROUNDINGS = 32

#: Stands for what float32 flushes to nought, in squared norms.
TINY = 1e-25

#: Tiles of which more than one pair in so many is left open are computed again as a whole: that takes no longer.
OPEN = 64

#: Pairs computed again at a time.
BATCH = 128


@dataclass(frozen=True)
class Tile:
    """The inner products (R, C) of some features with some others.

    Attributes:
        of: which sets the rows and the columns are of.
        rows, columns: which features.
        products: of the features about their common mean, float32 or float64; not to be changed.
    """

    of: Of
    rows: slice
    columns: slice
    products: NDArray[Any]

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
    """Two sets of features, (N, D) and (M, D), and their pairs; `x` and `y` are the sets' names.

    Attributes:
        centre: the common mean, float64 (D,).
        norms: by set the squared norms of the features about it, float64 (N,) and (M,).
        slacks: by set, float64 (N,) and (M,). A squared distance is at least its lower bound, and at most that and both
            features' slacks. All nought where products are float64.
        single: whether products are float32.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.centre = (x.sum(0, dtype=np.float64) + y.sum(0, dtype=np.float64)) / (len(x) + len(y))
        self._sets = {"x": x, "y": y}
        self.norms = {name: np.empty(len(each)) for name, each in self._sets.items()}
        self._factors: dict[str, NDArray[Any]] = {name: np.empty(each.shape, np.float32) for name, each in self._sets.items()}
        with np.errstate(over="ignore"):  # not single, then
            for name, factors in self._factors.items():
                for part in slices(len(factors)):
                    factors[part] = features = self.features(name, part)
                    self.norms[name][part] = np.einsum("ij,ij->i", features, features)
        norms, dimensions = np.concatenate(list(self.norms.values())), len(self.centre)
        self.single = bool(
            len(norms) ** 2 * dimensions >= LARGE
            and dimensions <= WIDEST
            and NORMS[0] <= norms.mean() <= NORMS[1] >= self.centre @ self.centre
            and norms.max() <= EVEN * norms.mean()
        )
        # The classic bound: n roundings of relative size u put x.y off by at most n u / (1 - n u) |x| |y|, in whatever order
        # the terms are added; and 2 |x| |y| <= |x|^2 + |y|^2. So each feature has a share of the error of its own.
        roundings = (dimensions + ROUNDINGS) * 2.0**-24
        errors = roundings / (1 - roundings) if self.single else 0.0
        kind: Any = np.float32 if self.single else np.float64
        self.slacks = {name: 2 * errors * (each + TINY) for name, each in self.norms.items()}
        self._lower = {name: (each - self.slacks[name] / 2).astype(kind) for name, each in self.norms.items()}
        if not self.single:
            self._factors = {name: each - self.centre for name, each in self._sets.items()}

    def features(self, name: str, which: slice | NDArray[np.intp]) -> NDArray[np.float64]:
        """Return some features of a set about the centre, float64 (P, D)."""
        found: NDArray[np.float64] = self._sets[name][which] - self.centre
        return found

    def read(self, *readers: Reader) -> None:
        """Hand the readers the tiles that they are for, each made once."""
        for of in get_args(Of):
            wanted = [reader for reader in readers if of in reader.of]
            if wanted:
                for tile in self._tiles(of):
                    for reader in wanted:
                        reader.add(tile)

    def _tiles(self, of: Of) -> Iterator[Tile]:
        x, y = (self._factors[name] for name in of)
        for rows in slices(len(x)):
            for columns in slices(len(y) if of == "xy" else rows.stop):
                yield Tile(of, rows, columns, x[rows] @ y[columns].T)

    def lower_bounds(self, tile: Tile) -> NDArray[Any]:
        """Return the greatest values (R, C) that a tile's squared distances are certain to reach, of its products' type."""
        if not self.single:
            return self.squares(tile)
        x, y = (self._lower[name] for name in tile.of)
        bounds = tile.products * np.float32(-2)
        bounds += x[tile.rows, None]
        bounds += y[tile.columns]
        return bounds

    def squares(self, tile: Tile) -> NDArray[np.float64]:
        """Return the squared distances float64 (R, C) of a tile's features; nought for equal ones."""
        products = tile.products
        if self.single:
            products = self.features(tile.of[0], tile.rows) @ self.features(tile.of[1], tile.columns).T
        return self._squares(tile.of, np.s_[tile.rows, None], tile.columns, products)

    def squares_of(self, of: Of, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the squared distances float64 (P,) of some pairs, given by the features' indices (P,) in their sets."""
        found = np.empty(len(rows))
        for batch in slices(len(rows), BATCH):
            i, j = rows[batch], columns[batch]
            products = np.einsum("ij,ij->i", self.features(of[0], i), self.features(of[1], j))
            found[batch] = self._squares(of, i, j, products)
        return found

    def _squares(self, of: Of, rows: Any, columns: Any, products: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = (self.norms[name] for name in of)
        norms = x[rows] + y[columns]
        squares = products * -2
        squares += norms
        norms *= NOUGHT
        squares[squares < norms] = 0
        return squares

    def below(self, tile: Tile, *limits: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
        """Return by limit, float64 (R, 1) or (1, C), which of a tile's squared distances (R, C) are below it in float64."""
        bounds = self.lower_bounds(tile)
        if not self.single:
            return [bounds < limit for limit in limits]
        found = []
        for limit in limits:
            below = bounds < above(limit)
            candidates = np.flatnonzero(below)
            rows, columns = np.divmod(candidates, below.shape[1])
            x, y = (self.slacks[name] for name in tile.of)
            limit_of = np.broadcast_to(limit, below.shape)[rows, columns]
            upper = bounds[rows, columns] + x[tile.rows][rows] + y[tile.columns][columns]
            undecided = np.flatnonzero(upper >= limit_of)
            if len(undecided) * OPEN > below.size:
                squares = self.squares(tile)
                return [squares < limit for limit in limits]
            rows, columns = rows[undecided] + tile.rows.start, columns[undecided] + tile.columns.start
            below.flat[candidates[undecided]] = self.squares_of(tile.of, rows, columns) < limit_of[undecided]
            found.append(below)
        return found


def above(limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 values that are no less than the limits, and next to them."""
    with np.errstate(over="ignore"):  # infinite, then
        return np.nextafter(limits.astype(np.float32), np.float32(np.inf))


def slices(n: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices of 0 to n of a size, by default a tile's side; the last may be smaller."""
    size = size or SIDE
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
