"""Tests against scratch and Holm's correction against scipy, by hand, and on simulated sweeps without effects."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import Outcome
from analysis.comparison.cells import cells
from analysis.comparison.intervals import holm
from analysis.comparison.significance import claims, t_tests
from tests.analysis.test_savings import Trial, make, run
from tests.support.endurance import repeats


def compare(trials: list[Trial]) -> list[dict[str, float]]:
    return t_tests(cells(make(trials))).to_dict("records")


def test_holm_by_hand():
    # Sorted .01 .02 .04: times 3, 2, 1 = .03 .04 .04.
    result = holm(pd.Series([0.04, np.nan, 0.01, 0.02]))
    assert result.tolist() == pytest.approx([0.04, np.nan, 0.03, 0.04], nan_ok=True)
    assert holm(pd.Series([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert len(holm(pd.Series([], dtype=float))) == 0
    assert holm(pd.Series([0.01, 0.02]), 4).tolist() == pytest.approx([0.04, 0.06]), "two more were stopped"


def test_one_comparison_is_welchs_t_test():
    random = np.random.default_rng(0)
    ours, theirs = np.exp(random.normal(3, 0.2, 4)), np.exp(random.normal(3.3, 0.4, 3))
    trials = [run({50: value}, seed=k) for k, value in enumerate(ours)]
    trials += [run({50: value}, "scratch", seed=k) for k, value in enumerate(theirs)]
    (row,) = compare(trials)
    expected = stats.ttest_ind(np.log2(theirs), np.log2(ours), equal_var=False)
    assert row["p"] == row["p_holm"] == pytest.approx(expected.pvalue)
    assert [row["low"], row["high"]] == pytest.approx(list(expected.confidence_interval()))
    assert row["gain"] == pytest.approx(np.log2(theirs).mean() - np.log2(ours).mean())


def test_the_variance_of_the_transfers_is_pooled_and_that_of_scratch_is_not():
    random = np.random.default_rng(1)
    logs = {
        name: random.normal(mean, sd, 3) for name, mean, sd in (("scratch", 5, 0.4), ("finetune", 4, 0.1), ("other", 4.5, 0.1))
    }
    rows = compare([run({50: float(2**v)}, name, seed=k) for name, values in logs.items() for k, v in enumerate(values)])
    row = next(row for row in rows if row["strategy"] == "other")
    of_scratch, pooled = logs["scratch"].var(ddof=1) / 3, (logs["finetune"].var(ddof=1) + logs["other"].var(ddof=1)) / 2 / 3
    freedom = (of_scratch + pooled) ** 2 / (of_scratch**2 / 2 + pooled**2 / 4)
    difference = logs["scratch"].mean() - logs["other"].mean()
    assert row["p"] == pytest.approx(2 * stats.t.sf(difference / np.sqrt(of_scratch + pooled), freedom))


def test_an_interval_excludes_0_where_the_difference_is_significant():
    random = np.random.default_rng(2)
    trials = [
        run({50: float(2 ** random.normal(mean, 0.2))}, name, seed=k)
        for name, mean in (("scratch", 5), ("a", 4.4), ("b", 4.2), ("c", 4.9)) for k in range(3)
    ]  # fmt: skip
    for row in compare(trials):
        assert (row["low"] > 0 or row["high"] < 0) == (row["p_holm"] < 0.05) == (row["outcome"] == Outcome.APART)


def test_one_seed_is_no_test_and_no_scratch_none_either():
    (row,) = compare([run({50: 20.0}), run({50: 40.0}, "scratch")])
    assert row["gain"] == pytest.approx(1.0)
    assert np.isnan([row["p"], row["p_holm"], row["low"], row["high"]]).all()
    assert row["outcome"] == Outcome.UNTESTABLE
    assert compare([run({50: 20.0})]) == []


def test_a_stopped_method_has_an_early_gain_which_is_no_claim_but_counts_in_the_correction():
    trials = [run({50: 40.0, 100: value}, "scratch", seed=k) for k, value in enumerate((30.0, 33.0))]
    trials += [run({50: 40.0, 100: value}, seed=k) for k, value in enumerate((20.0, 22.0))]
    alone = t_tests(cells(make(trials)))
    with_stopped = t_tests(cells(make([*trials, *(run({50: 10.0}, "other", "stopped", seed=k) for k in (0, 1))])))
    first, early = with_stopped.to_dict("records")
    assert (early["strategy"], early["step"], early["early"], early["gain"]) == ("other", 50, True, pytest.approx(2))
    assert np.isnan(early["p"])
    assert first["p_holm"] == pytest.approx(2 * alone["p_holm"].item())
    assert claims(with_stopped)["subject"].tolist() == [("finetune", "s")]


def test_a_method_with_a_lost_seed_has_no_mean():
    trials = [run({50: 40.0 + k}, "scratch", seed=k) for k in range(3)]
    trials += [run({50: 10.0}), *(run({50: np.nan}, status="diverged", seed=k) for k in (1, 2))]
    (row,) = compare(trials)
    assert (row["lost"], row["outcome"]) == (2, Outcome.NOT_APART)
    assert np.isnan([row["gain"], row["low"], row["high"]]).all()


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize("of_scratch", [1, 2])
def test_without_an_effect_a_false_claim_in_any_sweep_is_rare(of_scratch: int):
    random, sweeps = np.random.default_rng(1), repeats(50, full=300)
    false = 0
    for _ in range(sweeps):
        sweep = make(
            run({50: float(np.exp(3 + 0.2 * (of_scratch if name == "scratch" else 1) * random.normal()))}, name, seed=seed)
            for name in ("scratch", "finetune", "finetune-g", "finetune-d", "other") for seed in range(3)
        )  # fmt: skip
        false += (t_tests(cells(sweep))["p_holm"] < 0.05).any()
    assert 0 < false <= sweeps * (0.05 + 2.4 * np.sqrt(0.05 * 0.95 / sweeps))
