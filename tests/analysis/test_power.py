"""The power of the comparison with scratch: against simulated tests, and its inverses."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.comparison.power import power, seeds_needed, smallest_effect


@pytest.mark.parametrize(("sd_transfer", "sd_scratch"), [(0.2, 0.2), (0.1, 0.3), (0.4, 0.2), (0.0, 0.2)])
@pytest.mark.parametrize(("seeds", "comparisons"), [(2, 1), (3, 1), (3, 12), (5, 12), (12, 24)])
def test_the_power_is_that_of_simulated_sweeps(sd_transfer: float, sd_scratch: float, seeds: int, comparisons: int):
    """The effects are those that the formula tells with 80 %; 5,000 draws have a standard error of 0.6 points."""
    ratio = smallest_effect(sd_transfer, sd_scratch, seeds, comparisons)
    random = np.random.default_rng(seeds * comparisons)
    transfer = random.normal(0, sd_transfer, (5_000, seeds))
    scratch = random.normal(math.log2(ratio), sd_scratch, (5_000, seeds))
    told = stats.ttest_ind(transfer, scratch, axis=1, equal_var=False).pvalue <= 0.05 / comparisons
    assert told.mean() == pytest.approx(0.8, abs=0.025)
    assert power(ratio, sd_transfer, sd_scratch, seeds, comparisons) == pytest.approx(0.8, abs=1e-6)
    assert power(1 / ratio, sd_transfer, sd_scratch, seeds, comparisons) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_transfers_that_share_a_variance_tell_more(seeds: int):
    """Four transfers of a cell with one estimate of their variance, and scratch with its own, as the report compares them."""
    ratio = smallest_effect(0.2, 0.2, seeds, 4, 4)
    random = np.random.default_rng(seeds)
    transfers, scratch = random.normal(0, 0.2, (5_000, 4, seeds)), random.normal(math.log2(ratio), 0.2, (5_000, seeds))
    pooled, own = transfers.var(axis=2, ddof=1).mean(axis=1) / seeds, scratch.var(axis=1, ddof=1) / seeds
    freedom = (pooled + own) ** 2 / (pooled**2 / (4 * (seeds - 1)) + own**2 / (seeds - 1))
    statistic = (scratch.mean(axis=1) - transfers[:, 0].mean(axis=1)) / np.sqrt(pooled + own)
    assert (2 * stats.t.sf(np.abs(statistic), freedom) <= 0.05 / 4).mean() == pytest.approx(0.8, abs=0.025)
    assert ratio < smallest_effect(0.2, 0.2, seeds, 4)


@pytest.mark.parametrize("comparisons", [1, 20])
def test_with_many_seeds_it_is_that_of_students_test(comparisons: int):
    """That test pools the variances: with equal ones and many seeds both are the same. Its statistic is a noncentral t."""
    free = 2 * 60 - 2
    beyond = stats.t.ppf(1 - 0.05 / comparisons / 2, free)
    student = stats.nct.sf(beyond, free, math.log2(1.2) / (0.5 * math.sqrt(2 / 60)))
    assert power(1.2, 0.5, 0.5, 60, comparisons) == pytest.approx(student, abs=0.003)


@pytest.mark.parametrize("ratio", [1.02, 1.2, 0.8, 3.0])
@pytest.mark.parametrize("comparisons", [1, 24])
def test_the_seeds_needed_are_the_fewest_with_that_power(ratio: float, comparisons: int):
    seeds = seeds_needed(ratio, 0.1, 0.2, comparisons)
    assert power(ratio, 0.1, 0.2, seeds, comparisons) >= 0.8
    assert seeds == 2 or power(ratio, 0.1, 0.2, seeds - 1, comparisons) < 0.8
    larger = ratio if ratio > 1 else 1 / ratio
    assert smallest_effect(0.1, 0.2, seeds, comparisons) <= larger


def test_the_ends_of_the_range():
    assert power(100.0, 0.1, 0.1, 1) == 0.0
    assert smallest_effect(0.1, 0.1, 1) == math.inf
    assert (power(1.01, 0.0, 0.0, 2), seeds_needed(1.01, 0.0, 0.0), smallest_effect(0.0, 0.0, 2)) == (1.0, 2, 1.0)
    assert smallest_effect(50.0, 50.0, 2, 10_000) == math.inf, "no ratio that a float can hold"
    assert power(1e300, 0.1, 0.2, 1000, 5) == pytest.approx(1.0)


@pytest.mark.parametrize("ratio", [1.0, 0.0, -2.0, math.nan, math.inf])
def test_a_ratio_that_is_no_effect_is_refused(ratio: float):
    for function in (power, seeds_needed):
        with pytest.raises(ValueError, match="above 0 and not 1"):
            function(ratio, 0.1, 0.1, 5)


def test_other_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        power(2.0, -0.1, 0.1, 5)
    with pytest.raises(ValueError, match="1 or more"):
        power(2.0, 0.1, 0.1, 5, 0)
