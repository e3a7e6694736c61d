"""t-tests and Holm's correction against scipy, by hand, and on simulated sweeps without effects."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.transfer.significance import holm, t_tests
from tests.analysis.test_savings import make, run


def test_holm_by_hand():
    # Sorted .01 .02 .04: times 3, 2, 1 = .03 .04 .04.
    result = holm(pd.Series([0.04, np.nan, 0.01, 0.02]))
    assert result.tolist() == pytest.approx([0.04, np.nan, 0.03, 0.04], nan_ok=True)
    assert holm(pd.Series([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert len(holm(pd.Series([], dtype=float))) == 0


def test_two_methods_are_students_t_test():
    random = np.random.default_rng(0)
    ours, theirs = np.exp(random.normal(3, 0.2, 4)), np.exp(random.normal(3.3, 0.2, 3))
    trials = [run({50: value}, seed=k) for k, value in enumerate(ours)]
    trials += [run({50: value}, "scratch", seed=k) for k, value in enumerate(theirs)]
    (row,) = t_tests(make(trials)).to_dict("records")
    expected = stats.ttest_ind(np.log2(theirs), np.log2(ours))
    assert row["p"] == row["p_holm"] == pytest.approx(expected.pvalue)
    assert [row["low"], row["high"]] == pytest.approx(list(expected.confidence_interval()))
    assert row["gain"] == pytest.approx(np.log2(theirs).mean() - np.log2(ours).mean())


def test_one_seed_is_no_test_and_no_scratch_none_either():
    (row,) = t_tests(make([run({50: 20.0}), run({50: 40.0}, "scratch")])).to_dict("records")
    assert row["gain"] == pytest.approx(1.0)
    assert np.isnan([row["p"], row["p_holm"], row["low"], row["high"]]).all()
    assert len(t_tests(make([run({50: 20.0})]))) == 0


def test_all_are_compared_at_the_last_step_that_all_reached():
    trials = [run({50: 20.0, 100: 1.0}), run({50: 40.0, 100: 1.0, 200: 1.0}, "scratch"), run({50: 20.0}, "other", "stopped")]
    assert t_tests(make(trials))["step"].tolist() == [50, 50]


@pytest.mark.slow
def test_without_an_effect_a_false_claim_in_any_sweep_is_rare():
    random = np.random.default_rng(1)
    sweeps = [
        make(
            run({50: float(np.exp(3 + 0.2 * random.normal()))}, strategy, seed=seed)
            for strategy in ("scratch", "finetune", "finetune-g", "finetune-d", "other") for seed in range(3)
        ).assign(cell=f"sweep {number}")
        for number in range(300)
    ]  # fmt: skip
    result = t_tests(pd.concat(sweeps))
    assert len(result) == 1200
    any_false = (result.groupby("cell")["p"].transform(holm) < 0.05).groupby(result["cell"]).any()
    assert any_false.mean() == pytest.approx(0.045, abs=0.03)
    assert (result["p_holm"] < 0.05).sum() <= 1, "corrected for all that is claimed together"
