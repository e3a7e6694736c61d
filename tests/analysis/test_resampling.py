"""Rank correlations and their permutations against scipy."""

import numpy as np
import pytest
from scipy import stats

from analysis.prediction.resampling import DRAWS, interval, mean_correlations, orders, row_spearman


def test_row_spearman_is_scipys_and_0_where_all_are_equal():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(3, 7)), random.integers(0, 4, (2, 7)).astype(float)
    result = row_spearman(x, y)
    for i, row in enumerate(x):
        assert result[i] == pytest.approx([stats.spearmanr(row, other).statistic for other in y])
    assert row_spearman(np.ones((1, 4)), x[:1, :4]).tolist() == [[0.0]]


def test_orders_are_all_permutations_of_few_labels_with_the_identity_first():
    few, many = orders(4), orders(9)
    assert len(np.unique(few, axis=0)) == len(few) == 24
    assert (few[0] == range(4)).all()
    assert many.shape == (DRAWS, 9)
    assert (np.sort(many, axis=1) == range(9)).all()
    assert (many[0] == range(9)).all()


def test_mean_correlations_permute_all_targets_alike_and_skip_missing_sources():
    random = np.random.default_rng(2)
    blocks = [(random.normal(size=4), random.normal(size=(2, 4))) for _ in range(3)]
    blocks[1][1][0, 2] = np.nan
    order = orders(4)
    for permutation, result in zip(order, mean_correlations(blocks, order), strict=True):
        rhos = [
            stats.spearmanr(nearness[permutation][np.isfinite(gains)], gains[np.isfinite(gains)]).statistic
            for nearness, table in blocks for gains in table
        ]  # fmt: skip
        assert result == pytest.approx(np.mean(rhos))


def test_interval_of_one_group_is_fishers_and_never_vanishes():
    nearness, gain = np.arange(7.0), np.array([[0.0, 1.0, 4.0, 3.0, 2.0, 6.0, 5.0]])
    permuted = mean_correlations([(nearness, gain)], orders(7))
    rho = stats.spearmanr(nearness, gain[0]).statistic
    exact = np.tanh(np.arctanh(rho) + np.array([-1.96, 1.96]) * np.sqrt(1.06 / 4))
    assert interval(permuted, 7) == pytest.approx(exact, abs=1e-3)
    low, high = interval(mean_correlations([(nearness, nearness[None])], orders(7)), 7)
    assert low < 0.97 < high == 1
    assert interval(mean_correlations([(nearness, -nearness[None])], orders(7)), 7) == (-1, pytest.approx(-low))
    assert np.isnan(interval(np.array([0.5, -0.5]), 3)).all()
    assert np.isnan(interval(np.zeros(24), 4)).all(), "all sources are equally near"
