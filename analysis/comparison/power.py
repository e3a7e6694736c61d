"""Which effects a number of seeds can tell: the power of Welch's t-test of a transfer against scratch, on log2 of the FID.

The test is two-sided, at the level of Bonferroni for a number of comparisons, which Holm's procedure never falls below. Seeds
are taken to be normally distributed on the logarithm; the transfer and scratch have separate standard deviations.
The power is integrated over the two sample variances, as each pair gives other degrees of freedom (Welch, Satterthwaite). A
noncentral t distribution with fixed ones would promise 80 % where two seeds with equal variances give 27 to 48 %.
"""

import math
from bisect import bisect_left
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from analysis.claims import LEVEL

#: The power that is asked for.
GOAL = 0.8

#: Quantiles of each sample variance that the power is averaged over; the power is then exact to 0.001.
_QUANTILES = 60

#: The largest log2 of a ratio that is looked for.
_MOST = 1000.0


def power(ratio: float, sd_transfer: float, sd_scratch: float, seeds: int, comparisons: int = 1, transfers: int = 1) -> float:
    """Return the probability that the test of two FIDs, with this true ratio, is significant.

    Args:
        ratio: FID from scratch by that of the transfer, or the inverse; above 0 and not 1.
        sd_transfer, sd_scratch: standard deviations of log2 FID between the seeds of each, 0 or more.
        seeds: of the transfer and of scratch each, 1 or more; one seed tells nothing.
        comparisons: number of comparisons that the level is divided among, 1 or more.
        transfers: number of transfers that share one estimate of their variance, 1 or more.

    Raises:
        ValueError: an argument is out of its range.
    """
    _check_ratio(ratio)
    return _power(abs(math.log2(ratio)), sd_transfer, sd_scratch, seeds, comparisons, transfers)


def seeds_needed(ratio: float, sd_transfer: float, sd_scratch: float, comparisons: int = 1, transfers: int = 1) -> int:
    """Return the fewest seeds, 2 or more, that tell a ratio with a power of `GOAL`; see `power`."""
    _check_ratio(ratio)

    def enough(seeds: int) -> bool:
        return power(ratio, sd_transfer, sd_scratch, seeds, comparisons, transfers) >= GOAL

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2  # too few, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_effect(sd_transfer: float, sd_scratch: float, seeds: int, comparisons: int = 1, transfers: int = 1) -> float:
    """Return the smallest ratio above 1 that is significant with a power of `GOAL`, infinite for one seed; see `power`."""

    def lacks(effect: float) -> float:
        return GOAL - _power(effect, sd_transfer, sd_scratch, seeds, comparisons, transfers)

    least = 1e-6
    doublings = range(1 + math.floor(math.log2(_MOST / least)))
    # The power rises with the effect, so the first power of 2 that has enough is bisected.
    enough = bisect_left(doublings, True, key=lambda doubled: lacks(least * 2**doubled) <= 0)
    if enough == len(doublings):
        return math.inf
    return float(2 ** optimize.brentq(lacks, 0.0, least * 2**enough)) if enough else 1.0


def _check_ratio(ratio: float) -> None:
    if not (math.isfinite(ratio) and ratio > 0 and ratio != 1):
        raise ValueError(f"a ratio of FIDs is above 0 and not 1, got {ratio:g}")


def _power(effect: float, sd_transfer: float, sd_scratch: float, seeds: int, comparisons: int, transfers: int) -> float:
    """Return the power for a difference of log2 FIDs; the other arguments are those of `power`."""
    deviations = sd_transfer, sd_scratch
    if not all(math.isfinite(sd) and sd >= 0 for sd in deviations):
        raise ValueError(f"standard deviations are 0 or more, got {sd_transfer:g} and {sd_scratch:g}")
    if min(seeds, comparisons, transfers) < 1:
        raise ValueError(f"seeds, comparisons and transfers are 1 or more, got {seeds}, {comparisons} and {transfers}")
    if seeds == 1:
        return 0.0
    if not any(deviations):
        return float(effect > 0)
    needed = _needed(sd_transfer, sd_scratch, seeds, comparisons, transfers)
    error = math.hypot(*deviations) / math.sqrt(seeds)
    return float(np.mean(special.ndtr((effect - needed) / error) + special.ndtr((-effect - needed) / error)))


@lru_cache(maxsize=8)
def _needed(sd_transfer: float, sd_scratch: float, seeds: int, comparisons: int, transfers: int) -> np.ndarray:
    """Return the smallest significant difference for each pair of sample variances; the search for an effect asks often."""
    deviations, freedoms = (sd_transfer, sd_scratch), (transfers * (seeds - 1), seeds - 1)
    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    # Sample variances, as the quantiles of chi squared divided by its degrees of freedom.
    samples = [sd**2 / seeds * special.chdtri(free, middles) / free for sd, free in zip(deviations, freedoms, strict=True)]
    transfer, scratch = np.meshgrid(*samples)
    welch = (transfer + scratch) ** 2 / (transfer**2 / freedoms[0] + scratch**2 / freedoms[1])
    needed: np.ndarray = special.stdtrit(welch, 1 - LEVEL / comparisons / 2) * np.sqrt(transfer + scratch)
    return needed
