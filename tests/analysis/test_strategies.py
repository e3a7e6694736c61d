"""Strategies ranked per cell and source: by hand, against scipy, and on simulated sweeps without differences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.transfer.strategies import BEHIND, BEST, NOISE, UNTESTED, strategy_ranking
from analysis.transfer.transferability import ranking
from tests.analysis.test_savings import make, run


def ranked(curves: pd.DataFrame, **distances: float) -> pd.DataFrame:
    methods = ranking(curves)
    return strategy_ranking(curves, methods.assign(distance=methods["source"].map(distances).astype(float)))


def test_one_seed_ranks_and_tests_nothing():
    curves = make([run({50: 40.0}, "scratch"), run({50: 20.0}), run({50: 10.0}, "other")])
    result = ranked(curves)
    assert result["strategy"].tolist() == ["other", "finetune", "scratch"]
    assert result["rank"].tolist() == [1, 2, 3]
    assert result["verdict"].tolist() == [BEST, UNTESTED, UNTESTED]
    assert result["behind"].tolist() == pytest.approx([np.nan, 1.0, 2.0], nan_ok=True)
    assert result[["low", "high"]].isna().all(axis=None)


def test_the_intervals_are_tukeys_as_scipy_has_them_at_the_last_step_of_both():
    random = np.random.default_rng(0)
    logs = {name: random.normal(mean, 0.1, 3) for name, mean in (("finetune", 3), ("close", 3.05), ("other", 3.6))}
    trials = [
        run({50: float(2**value)} | ({100: 1.0} if name == "finetune" else {}), name, seed=k)
        for name, values in logs.items() for k, value in enumerate(values)
    ]  # fmt: skip
    first, *others = ranked(make(trials)).to_dict("records")
    assert (first["strategy"], first["step"], first["verdict"]) == ("finetune", 100, BEST)
    expected = stats.tukey_hsd(*logs.values())
    interval = expected.confidence_interval()
    for row, place, verdict in zip(others, (1, 2), (NOISE, BEHIND), strict=True):
        assert row["step"] == 50
        assert row["behind"] == pytest.approx(expected.statistic[place, 0])
        assert [row["low"], row["high"]] == pytest.approx([interval.low[place, 0], interval.high[place, 0]], rel=1e-4)
        assert row["verdict"] == verdict == (BEHIND if expected.pvalue[place, 0] < 0.05 else NOISE)


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
def test_without_differences_the_family_wise_error_rate_holds():
    """At most one sweep in twenty has a false claim, although the first is selected by the numbers that are tested."""
    random = np.random.default_rng(2)
    sweeps = [
        make(
            run({50: float(np.exp(3 + 0.2 * random.normal()))}, strategy, seed=seed)
            for strategy in ("finetune", "finetune-g", "finetune-d", "other") for seed in range(3)
        )
        for _ in range(300)
    ]  # fmt: skip
    false = [(ranked(sweep)["verdict"] == BEHIND).any() for sweep in sweeps]
    assert np.mean(false) == pytest.approx(0.05, abs=0.03)
    together = ranked(pd.concat(sweep.assign(cell=f"cell {k}") for k, sweep in enumerate(sweeps[:60])))
    assert (together["rank"] == 1).sum() == 60
    assert (together["verdict"] == BEHIND).sum() <= 1, "corrected for all cells"
