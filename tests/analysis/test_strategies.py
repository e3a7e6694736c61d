"""Strategies ranked per cell and source: by hand, against scipy, and on simulated sweeps without differences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import Outcome
from analysis.comparison.cells import cells
from analysis.comparison.strategies import best_against_others, claims, strategy_ranking
from tests.analysis.test_savings import make, run
from tests.support.endurance import repeats


def ranked(curves: pd.DataFrame, **distances: float) -> pd.DataFrame:
    keys = curves["cell"].unique()
    return strategy_ranking(cells(curves), {(cell, name): value for cell in keys for name, value in distances.items()})


def test_one_seed_ranks_and_tests_nothing():
    curves = make([run({50: 40.0}, "scratch"), run({50: 20.0}), run({50: 10.0}, "other")])
    result = ranked(curves)
    assert result["strategy"].tolist() == ["other", "finetune", "scratch"]
    assert result["rank"].tolist() == [1, 2, 3]
    assert result["outcome"].tolist() == [Outcome.UNTESTABLE] * 3
    assert result["behind"].tolist() == pytest.approx([np.nan, 1.0, 2.0], nan_ok=True)
    assert result[["low", "high"]].isna().all(axis=None)


def test_a_difference_of_many_standard_errors_with_one_degree_of_freedom_has_no_vanishing_p_value():
    """SciPy's studentized range gives 2e-16 there; the t-test of one pair, which cannot have a larger p-value, gives 5e-5."""
    seeds = [run({50: 8.0}, seed=0), run({50: 8.0 * 2**1e-4}, seed=1)]
    result = ranked(make([*seeds, run({50: 32.0}, "other"), run({50: 33.0}, "another")]))
    assert result["p"].dropna().between(2e-5, 1e-3).all()
    assert len(result["p"].dropna()) == 2


def test_strategies_with_equal_results_are_not_told_apart():
    """As of l2-sp with weight 0 and finetune."""
    result = ranked(make([run({50: 8.0 * (1 + seed)}, name, seed=seed) for name in ("finetune", "other") for seed in (0, 1)]))
    second = result[result["rank"] == 2].iloc[0]
    assert (second["behind"], second["p"], second["outcome"]) == (0, 1, Outcome.NOT_APART)
    assert second["low"] < 0 < second["high"]


def test_the_intervals_are_tukeys_as_scipy_has_them():
    random = np.random.default_rng(0)
    logs = {name: random.normal(mean, 0.1, 3) for name, mean in (("finetune", 3), ("close", 3.05), ("other", 3.6))}
    trials = [run({50: float(2**value)}, name, seed=k) for name, values in logs.items() for k, value in enumerate(values)]
    first, *others = ranked(make(trials)).to_dict("records")
    assert (first["strategy"], first["step"]) == ("finetune", 50)
    expected = stats.tukey_hsd(*logs.values())
    interval = expected.confidence_interval()
    for row, place in zip(others, (1, 2), strict=True):
        assert row["behind"] == pytest.approx(expected.statistic[place, 0])
        assert [row["low"], row["high"]] == pytest.approx([interval.low[place, 0], interval.high[place, 0]], rel=1e-4)
        assert row["p"] == pytest.approx(expected.pvalue[place, 0], rel=1e-4)
        assert row["outcome"] == (Outcome.APART if place == 2 else Outcome.NOT_APART)


def test_a_strategy_that_was_stopped_counts_but_is_not_tested():
    trials = [run({50: 40.0, 100: value}, name, seed=k) for name, value in (("a", 20.0), ("b", 30.0)) for k in (0, 1)]
    trials[1] = run({50: 40.0, 100: 21.0}, "a", seed=1)
    alone = ranked(make(trials))
    result = ranked(make([*trials, *(run({50: 10.0}, "other", "stopped", seed=k) for k in (0, 1))]))
    assert result["strategy"].tolist() == ["a", "b", "other"]
    assert result["early"].tolist() == [False, False, True]
    assert result["p"].iloc[1] > alone["p"].iloc[1]
    assert len(claims(result, "strategy")) == 1


def test_the_first_of_a_cell_is_compared_with_scratch_by_the_variance_of_both():
    random = np.random.default_rng(3)
    trials = [
        run({50: float(2 ** random.normal(mean, sd))}, name, seed=k)
        for name, mean, sd in (("scratch", 5, 0.4), ("a", 4, 0.05), ("b", 4.1, 0.05)) for k in range(3)
    ]  # fmt: skip
    others = best_against_others(cells(make(trials)))
    assert others["first"].tolist() == [("a", "s")] * 2
    width = dict(zip(others["strategy"], others["high"] - others["low"], strict=True))
    assert width["scratch"] > 3 * width["b"]


def test_the_nearest_source_comes_first_and_each_has_its_own_best():
    methods = {("finetune", "far"): 30.0, ("other", "far"): 20.0, ("finetune", "near"): 10.0, ("other", "near"): 15.0}
    trials = [(strategy, source, 100, 0, "done", {50: value}) for (strategy, source), value in methods.items()]
    result = ranked(make(trials), near=1.0, far=9.0)
    assert result["source"].tolist() == ["near", "near", "far", "far"]
    assert result["strategy"].tolist() == ["finetune", "other", "other", "finetune"]
    assert result["distance"].tolist() == [1.0, 1.0, 9.0, 9.0]


def test_a_source_with_one_strategy_has_nothing_to_rank():
    assert len(ranked(make([run({50: 20.0}), run({50: 40.0}, "scratch")]))) == 0
    assert list(ranked(make([run({50: 20.0})])).columns) == list(ranked(make([run({50: 1.0}), run({50: 2.0}, "o")])).columns)


def test_a_method_whose_seeds_all_diverged_is_in_no_comparison():
    gone = ("gone", "s", 100, 0, "diverged", {50: 5.0})
    result = ranked(make([gone, run({50: 20.0}), run({50: 30.0}, "other"), run({50: 40.0}, "scratch")]))
    assert result["strategy"].tolist() == ["finetune", "other", "scratch"]
    assert result["rank"].tolist() == [1, 2, 3]
    assert len(ranked(make([gone]))) == 0, "nor is there a cell of nothing else"


@pytest.mark.slow
@pytest.mark.endurance
def test_without_differences_the_family_wise_error_rate_holds():
    """At most one sweep in twenty has a false claim, although the first is selected by the numbers that are tested."""
    random = np.random.default_rng(2)
    sweeps = [
        make(
            run({50: float(np.exp(3 + 0.2 * random.normal()))}, strategy, seed=seed)
            for strategy in ("finetune", "finetune-g", "finetune-d", "other") for seed in range(3)
        )
        for _ in range(repeats(60, full=300))
    ]  # fmt: skip
    false = [(ranked(sweep)["outcome"] == Outcome.APART).any() for sweep in sweeps]
    assert np.mean(false) == pytest.approx(0.05, abs=0.03 * np.sqrt(300 / len(sweeps)))
    together = ranked(pd.concat(sweep.assign(cell=f"cell {k}") for k, sweep in enumerate(sweeps[:60])))
    assert (together["rank"] == 1).sum() == 60
    assert (together["outcome"] == Outcome.APART).sum() <= 1, "corrected for all cells"
