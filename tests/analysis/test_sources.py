"""Sources over all targets: means, regret and the coverage of intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import Outcome
from analysis.comparison.intervals import holm
from analysis.transfer.sources import claims, over_targets, regret, regret_of_chance
from tests.support.endurance import repeats


def gains(table: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Return gains from {target: {source: gain}}."""
    common = {"strategy": "finetune", "embedding": "e", "at": "final", "seed": 0, "step": 10, "size": 5, "conditional": False}
    common |= {"resolution": 8, "parent": None}
    return pd.DataFrame([
        {**common, "target": target, "cell": target, "cell_label": target, "family": target, "target_label": target,
         "source": source, "source_label": source, "gain": gain, "value": 100 / 2**gain}
        for target, row in table.items() for source, gain in row.items()
    ])  # fmt: skip


def test_means_and_regret_by_hand():
    result = over_targets(gains({"x": {"a": 1.0, "b": 0.0}, "y": {"a": 0.5, "b": 0.75}, "z": {"a": 9.0}})).set_index("source")
    assert list(result.index) == ["a", "b"], "the best mean first"
    assert result["gain"].tolist() == [0.75, 0.375]
    assert result["regret"].isna().all(), "one seed"
    assert result[["cells", "targets", "left"]].iloc[0].tolist() == [2, 2, 1], "z has no gain from b"
    assert result.loc["a", "value"] == pytest.approx((50 * 100 / 2**0.5) ** 0.5), "the geometric mean"
    exact = stats.t.interval(0.95, 1, 0.75, stats.sem([1.0, 0.5]))
    assert result.loc["a", ["low", "high"]].tolist() == pytest.approx(exact)
    assert result["step"].tolist() == [10, 10]


def test_the_first_source_is_compared_with_each_other_on_the_same_targets():
    random = np.random.default_rng(0)
    table = {f"t{n}": dict(zip("abc", random.normal() + random.normal([2.0, 1.9, 0.0], 0.2), strict=True)) for n in range(6)}
    result = over_targets(gains(table)).set_index("source")
    frame = pd.DataFrame(table).T
    p = [stats.ttest_rel(frame[x], frame[y]).pvalue for x, y in (("a", "b"), ("a", "c"), ("b", "c"))]
    assert result["behind"]["c"] == pytest.approx((frame["a"] - frame["c"]).mean())
    assert result["p"][["b", "c"]].tolist() == pytest.approx(holm(pd.Series(p))[:2].tolist()), "all pairs, as a was chosen"
    assert pd.isna(result["outcome"]["a"])
    assert result["outcome"][["b", "c"]].tolist() == ["not told apart", "told apart"]
    rows = claims(over_targets(gains(table)))
    assert list(zip(rows["subject"], rows["versus"], strict=True)) == [("a, finetune", "b"), ("a, finetune", "c")]
    assert rows["low"].iloc[1] > 0 > rows["low"].iloc[0]


def test_the_variance_between_trainings_of_a_source_is_added():
    """The gain from a is 1 higher after its first training than after its second on all targets; b's trainings are equal."""
    table = {f"t{k}": {"a": 1.0 + k / 10, "b": k / 20} for k in range(4)}
    first, second = (gains(table).assign(seed=seed, parent="training") for seed in (0, 1))
    one = pd.concat([first, second])
    of_a = (one["source"] == "a").to_numpy()
    one["gain"] += np.where(of_a, np.where(one["seed"] == 0, 0.5, -0.5), 0)
    several = one.assign(parent=one["source"] + one["seed"].astype(str))
    before, after = (over_targets(rows).set_index("source") for rows in (one, several))
    assert [before["trainings"].tolist(), after["trainings"].tolist()] == [[1, 1], [2, 2]]
    pd.testing.assert_series_equal(before["gain"], after["gain"])
    spread, freedom = 0.5**2 * 2 / 2, 2  # two deviations of a, none of b, each with one degree of freedom
    between = np.var([0.0, 0.1, 0.2, 0.3], ddof=1) / 4
    error = np.sqrt(between + spread / 2)
    of_error = error**4 / (between**2 / 3 + (spread / 2) ** 2 / freedom)
    assert after.loc["a", "high"] - after.loc["a", "gain"] == pytest.approx(stats.t.ppf(0.975, of_error) * error)
    assert before.loc["b", "p"] < 0.001 < 0.05 < after.loc["b", "p"]


def test_regret_is_measured_on_seeds_that_did_not_choose():
    seeds = pd.concat([
        gains({"x": {"a": 1.0, "b": 0.0}}), gains({"x": {"a": 0.0, "b": 0.5}}).assign(seed=1)
    ])  # fmt: skip
    # The other seed chooses a for seed 1, where it has 0, and b for seed 0, where it has 0.
    assert over_targets(seeds).set_index("source")["regret"].to_dict() == {"a": -0.5, "b": -0.25}


@pytest.mark.slow
@pytest.mark.endurance
def test_without_an_effect_there_is_no_regret_and_few_sources_differ():
    random, sweeps = np.random.default_rng(1), repeats(30, full=200)
    regrets, apart = [], []
    for _ in range(sweeps):
        table = [gains({f"t{k}": dict(zip("abcd", random.normal(size=4), strict=True)) for k in range(4)}) for _ in range(3)]
        result = over_targets(pd.concat([frame.assign(seed=seed) for seed, frame in enumerate(table)]))
        regrets.append(result["regret"].mean())
        apart.append((result["outcome"] == Outcome.APART).any())
    assert abs(np.mean(regrets)) < 3 * np.std(regrets) / np.sqrt(sweeps)
    assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sweeps)


def test_one_target_has_no_interval_and_one_source_no_rank():
    assert over_targets(gains({"x": {"a": 1.0, "b": 0.0}}))[["low", "high"]].isna().all(axis=None)
    assert len(over_targets(gains({"x": {"a": 1.0}}))) == 0
    assert len(over_targets(gains({"x": {"a": 1.0}, "y": {"b": 1.0}}))) == 0, "no target has both"


def test_regret_of_a_choice():
    gain = pd.Series([1.0, 0.5, 0.0])
    assert regret(pd.Series([1.0, 3.0, 2.0]), gain) == 0.5
    assert regret(pd.Series([1.0, 1.0, 0.0]), gain) == 0.25
    assert regret_of_chance(gain) == 0.5


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_cover_the_truth_at_their_rate():
    random, count = np.random.default_rng(0), repeats(40, full=200)
    sweeps = []
    for number in range(count):
        table = {f"t{k}": dict(zip("abc", random.normal([1, 0.5, 0], 0.5), strict=True)) for k in range(4)}
        sweeps.append(gains(table).assign(strategy=f"sweep {number}"))
    result = over_targets(pd.concat(sweeps))
    truth = result["source"].map({"a": 1.0, "b": 0.5, "c": 0.0})
    assert len(result) == 3 * count
    covered = np.mean((result["low"] <= truth) & (truth <= result["high"]))
    assert covered == pytest.approx(0.95, abs=0.025 * np.sqrt(200 / count))
