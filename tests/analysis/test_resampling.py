"""Resampling of rank correlations against scipy and exhaustive permutations."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from analysis.prediction.resampling import cluster_counts, interval, permutation_p, row_spearman, weighted_spearman


def test_weighted_spearman_is_that_of_repeated_points():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, 12).astype(float), random.normal(size=12)  # with ties
    weights = random.integers(0, 4, (20, 12))
    for counts, result in zip(weights, weighted_spearman(x, y, weights), strict=True):
        assert result == pytest.approx(stats.spearmanr(np.repeat(x, counts), np.repeat(y, counts)).statistic)
    alone = np.eye(12, dtype=int)[:1]
    assert np.isnan(weighted_spearman(x, y, alone)).all()


def test_row_spearman_is_scipys_and_0_where_all_are_equal():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(3, 7)), random.integers(0, 4, (2, 7)).astype(float)
    result = row_spearman(x, y)
    for i, row in enumerate(x):
        assert result[i] == pytest.approx([stats.spearmanr(row, other).statistic for other in y])
    assert row_spearman(np.ones((1, 4)), x[:1, :4]).tolist() == [[0.0]]


def test_permutation_p_is_that_of_all_permutations():
    nearness, gain = np.arange(5.0), np.array([[0.0, 2.0, 1.0, 3.0, 4.0]])
    strength = [abs(stats.spearmanr(order, gain[0]).statistic) for order in permutations(nearness)]
    exact = np.mean(np.array(strength) >= abs(stats.spearmanr(nearness, gain[0]).statistic) - 1e-9)
    assert permutation_p([(nearness, gain)]) == pytest.approx(exact, abs=0.015)
    assert permutation_p([(np.ones(4), gain[:, :4])]) == 1.0, "all sources are as near"


def test_groups_that_lack_a_source_are_ranked_without_it():
    whole = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, np.nan, 4.0]])
    p = permutation_p([(np.arange(4.0), whole)] * 3)
    assert p < 0.01, "six groups in order"


def test_interval_of_a_small_correlation_is_students():
    values = np.array([0.01, 0.05, -0.02, 0.04, -0.03, 0.06])  # where Fisher's scale is straight
    counts = cluster_counts(len(values), 20_000)
    low, high = interval(values.mean(), counts @ values / len(values), len(values))
    exact = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert [low, high] == pytest.approx(exact, abs=0.001)


@pytest.mark.parametrize(("estimate", "draws", "clusters"), [
    (0.3, [0.3, 0.4], 1), (0.4, [0.4] * 9, 4), (1.0, [1.0] * 9, 4), (0.3, [np.nan] * 9, 3), (0.3, [], 3)
])  # fmt: skip
def test_no_spread_is_no_interval(estimate: float, draws: list[float], clusters: int):
    assert np.isnan(interval(estimate, np.array(draws), clusters)).all()


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("targets", [4, 8])
def test_intervals_cover_the_truth_at_their_rate(slope: float, targets: int):
    random = np.random.default_rng(4)
    x = random.normal(size=(20_000, 5))
    y = slope * x + random.normal(size=x.shape)
    rhos = 1 - np.square(x.argsort(1).argsort(1) - y.argsort(1).argsort(1)).sum(axis=1) / 20
    counts = cluster_counts(targets)
    covered = []
    for sample in rhos[: 1000 * targets].reshape(1000, targets):
        low, high = interval(sample.mean(), counts @ sample / targets, targets)
        covered.append(low <= rhos.mean() <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)
