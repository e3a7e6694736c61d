"""The studentized range against Student's t, SciPy and published critical values."""

import numpy as np
import pytest
from scipy import stats

from analysis.comparison.strategies import _critical_value
from analysis.comparison.studentized_range import upper_tail


@pytest.mark.parametrize("freedom", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("statistic", [0.1, 1.0, 4.0, 9.0, 300.0])
def test_of_two_means_it_is_students_t(statistic: float, freedom: int):
    expected = 2 * stats.t.sf(statistic / np.sqrt(2), freedom)
    assert upper_tail(statistic, 2, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-40)


@pytest.mark.parametrize(("means", "freedom"), [(3, 1), (5, 3), (13, 12), (40, 60)])
def test_it_is_scipys(means: int, freedom: int):
    assert upper_tail(4.5, means, freedom) == pytest.approx(stats.studentized_range.sf(4.5, means, freedom), rel=1e-8)


def test_critical_values_are_those_of_published_tables():
    # Harter 1960, upper 5 % and 1 % points of the range over the standard error of one mean.
    for level, means, freedom, published in (
        (0.05, 3, 10, 3.877),
        (0.05, 10, 20, 5.008),
        (0.01, 5, 5, 8.421),
        (0.05, 4, 1, 32.82),
    ):
        assert _critical_value(level, means, freedom) * np.sqrt(2) == pytest.approx(published, rel=5e-4)


def test_a_level_where_scipys_integral_fails_lies_between_one_pair_and_all():
    value, tail = _critical_value(1e-6, 4, 1), lambda count: stats.t.isf(1e-6 / 2 / count, 1)
    assert tail(1) < value < tail(6)
    assert upper_tail(value * np.sqrt(2), 4, 1) == pytest.approx(1e-6, rel=1e-6)
