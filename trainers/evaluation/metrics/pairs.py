"""Inner products and distances of all pairs of features, tile by tile, for KID, PRDC and nearest neighbours.

Features are centred at their common mean, so features far from the origin lose no accuracy. The products of few features are
float64; those of many are float32, which takes half the time. Comparisons of distances agree with float64 in both cases: each
float32 product has a bound on its error, and if that leaves a comparison undecided, the distance is computed again in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

#: Pairs within a set, or between the sets.
Of = Literal["xx", "yy", "xy"]

#: Rows and columns of a tile: the tiles in use, about 6 to 12 MiB each, roughly fit a processor's cache.
SIDE = 1280

#: Squared distances below this share of the squared norms are rounding errors, and set to zero.
ZERO = 1e-11

#: Products are float32 if (N + M)^2 D is at least this; below, float64 takes at most a second,
LARGE = 2**33

#: ... and if D is at most this: errors grow with D, and with them the number of undecided comparisons,
WIDEST = 2**13

#: ... and if the mean squared norm is in this range, and the centre's not above it: far from float32's limits,
NORMS = 1e-9, 1e9

#: ... and if the greatest squared norm is at most this multiple of the mean: then no error dominates the others.
EVEN = 64

#: Upper limit of the roundings in a float32 squared distance in addition to those of the product's D terms; fewer than 10.
ROUNDINGS = 32

#: Upper limit, in squared norms, of what float32 flushes to zero.
TINY = 1e-25

#: A tile with more than one undecided pair in this many is computed again as a whole, which takes no longer.
OPEN = 64

#: Pairs computed again at a time.
BATCH = 128


@dataclass(frozen=True)
class Tile:
    """The inner products (R, C) of R features with C features.

    Attributes:
        of: the sets of the rows and of the columns.
        rows, columns: the features' indices.
        products: of the centred features, float32 or float64; read-only.
    """

    of: Of
    rows: slice
    columns: slice
    products: NDArray[Any]

    @property
    def symmetric(self) -> bool:
        """Whether rows and columns are the same features; if not, a tile of `xx` or `yy` also represents its transpose."""
        return self.of != "xy" and self.rows == self.columns


class Reader(Protocol):
    """A consumer of tiles of some kinds, which arrive in the order xx, yy, xy."""

    @property
    def of(self) -> tuple[Of, ...]:
        """The kinds of tiles."""

    def add(self, tile: Tile) -> None:
        """Add a tile of one of these kinds."""


class Pairs:
    """Two sets of features, (N, D) and (M, D), named `x` and `y`, and their pairs.

    Attributes:
        centre: the common mean, float64 (D,).
        norms: by set the squared norms of the centred features, float64 (N,) and (M,).
        slacks: by set, float64 (N,) and (M,). A squared distance is at least its lower bound, and at most the sum of the lower
            bound and both features' slacks. All 0 if products are float64.
        single: whether products are float32.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.centre = (x.sum(0, dtype=np.float64) + y.sum(0, dtype=np.float64)) / (len(x) + len(y))
        self._sets = {"x": x, "y": y}
        self.norms = {name: np.empty(len(features)) for name, features in self._sets.items()}
        self._factors: dict[str, NDArray[Any]] = {name: np.empty(s.shape, np.float32) for name, s in self._sets.items()}
        with np.errstate(over="ignore"):  # `single` is false if a value overflows
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
        # The classic bound: n roundings of relative size u change x.y by at most n u / (1 - n u) |x| |y|, in any order of
        # summation; and 2 |x| |y| <= |x|^2 + |y|^2. So the error is bounded by a sum of one term for each feature.
        roundings = (dimensions + ROUNDINGS) * 2.0**-24
        errors = roundings / (1 - roundings) if self.single else 0.0
        kind: Any = np.float32 if self.single else np.float64
        self.slacks = {name: 2 * errors * (norm + TINY) for name, norm in self.norms.items()}
        self._lower = {name: (norm - self.slacks[name] / 2).astype(kind) for name, norm in self.norms.items()}
        if not self.single:
            self._factors = {name: features - self.centre for name, features in self._sets.items()}

    def features(self, name: str, which: slice | NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the features of a set at some indices, centred, float64 (P, D)."""
        centred: NDArray[np.float64] = self._sets[name][which] - self.centre
        return centred

    def read(self, *readers: Reader) -> None:
        """Pass each reader the tiles of its kinds; each tile is computed once."""
        for of in get_args(Of):
            of_kind = [reader for reader in readers if of in reader.of]
            if of_kind:
                for tile in self._tiles(of):
                    for reader in of_kind:
                        reader.add(tile)

    def _tiles(self, of: Of) -> Iterator[Tile]:
        x, y = (self._factors[name] for name in of)
        for rows in slices(len(x)):
            for columns in slices(len(y) if of == "xy" else rows.stop):
                yield Tile(of, rows, columns, x[rows] @ y[columns].T)

    def lower_bounds(self, tile: Tile) -> NDArray[Any]:
        """Return lower bounds (R, C) on a tile's squared distances, of the type of its products."""
        if not self.single:
            return self.squares(tile)
        x, y = (self._lower[name] for name in tile.of)
        bounds = tile.products * np.float32(-2)
        bounds += x[tile.rows, None]
        bounds += y[tile.columns]
        return bounds

    def squares(self, tile: Tile) -> NDArray[np.float64]:
        """Return the squared distances float64 (R, C) of a tile's features; 0 for equal features."""
        products = tile.products
        if self.single:
            products = self.features(tile.of[0], tile.rows) @ self.features(tile.of[1], tile.columns).T
        return self._squares(tile.of, np.s_[tile.rows, None], tile.columns, products)

    def squares_of(self, of: Of, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the squared distances float64 (P,) of pairs, given by the features' indices (P,) in their sets."""
        squares = np.empty(len(rows))
        for batch in slices(len(rows), BATCH):
            i, j = rows[batch], columns[batch]
            products = np.einsum("ij,ij->i", self.features(of[0], i), self.features(of[1], j))
            squares[batch] = self._squares(of, i, j, products)
        return squares

    def _squares(self, of: Of, rows: Any, columns: Any, products: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = (self.norms[name] for name in of)
        norms = x[rows] + y[columns]
        squares = products * -2
        squares += norms
        norms *= ZERO
        squares[squares < norms] = 0
        return squares

    def below(self, tile: Tile, *limits: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
        """Return by limit, float64 (R, 1) or (1, C), which of a tile's squared distances (R, C) are below it in float64."""
        bounds = self.lower_bounds(tile)
        if not self.single:
            return [bounds < limit for limit in limits]
        decisions = []
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
            decisions.append(below)
        return decisions


def above(limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 values that are not below the limits, and next to them."""
    with np.errstate(over="ignore"):  # a limit beyond float32 becomes infinite
        return np.nextafter(limits.astype(np.float32), np.float32(np.inf))


def slices(n: int, size: int | None = None) -> Iterator[slice]:
    """Yield consecutive slices of 0 to n of a size, by default `SIDE`; the last may be smaller."""
    size = size or SIDE
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
