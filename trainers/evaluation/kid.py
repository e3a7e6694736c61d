"""Kernel inception distance (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / D + 1)^3."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.seeds import derive_seed

#: Blocks that the standard error is estimated from; fewer where there are not two samples for each.
BLOCKS = 10

#: Fewest samples on either side: two blocks of two.
FEWEST = 4


@dataclass(frozen=True)
class Kid:
    """The distance, and its standard error."""

    value: float
    standard_error: float


def kid(x: np.ndarray, y: np.ndarray) -> Kid:
    """Return the KID between features (N, D) and (M, D), N and M at least 4; near 0, even below, for equal ones.

    The value is over all pairs. The standard error is the delete-a-block jackknife's (Kunsch 1989) over ten blocks of both
    sets (fewer for fewer than twenty samples), which the features are dealt to in a fixed pseudo-random order.
    """
    assert min(len(x), len(y)) >= FEWEST
    blocks = min(BLOCKS, len(x) // 2, len(y) // 2)
    order = np.random.default_rng(derive_seed("kid"))
    x, y = (order.permutation(each.astype(np.float64)) for each in (x, y))
    sums = [_block_sums(x, x, blocks, drop_diagonal=True), _block_sums(y, y, blocks, drop_diagonal=True)]
    sums.append(_block_sums(x, y, blocks))
    sizes = [np.bincount(_blocks(len(each), blocks)) for each in (x, y)]

    def mmd(without: int | None) -> float:
        keep = np.array([block != without for block in range(blocks)])
        xx, yy, xy = (each[np.ix_(keep, keep)].sum() for each in sums)
        n, m = (int(size[keep].sum()) for size in sizes)
        return float(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))

    jackknife = np.array([mmd(block) for block in range(blocks)])
    variance = (blocks - 1) / blocks * np.square(jackknife - jackknife.mean()).sum()
    return Kid(mmd(None), float(np.sqrt(variance)))


def _blocks(n: int, blocks: int) -> NDArray[np.intp]:
    return np.arange(n) * blocks // n


def _block_sums(x: np.ndarray, y: np.ndarray, blocks: int, *, drop_diagonal: bool = False) -> NDArray[np.float64]:
    """Return the kernel's sums over all pairs of blocks of x and y, (blocks, blocks)."""
    kernel = (x @ y.T / x.shape[1] + 1) ** 3
    if drop_diagonal:
        np.fill_diagonal(kernel, 0)
    starts = [np.searchsorted(_blocks(len(each), blocks), np.arange(blocks)) for each in (x, y)]
    summed: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(kernel, starts[0], axis=0), starts[1], axis=1)
    return summed
