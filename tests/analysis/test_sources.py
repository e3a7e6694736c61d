"""Sources over all targets: means, regret and the coverage of intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.transfer.sources import over_targets, regret, regret_of_chance


def gains(table: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Return gains from {target: {source: gain}}."""
    common = {"strategy": "finetune", "embedding": "e", "at": "common", "step": 10, "size": 5, "conditional": False}
    common |= {"resolution": 8}
    return pd.DataFrame([
        {**common, "target": target, "cell": target, "cell_label": target, "family": target, "target_label": target,
         "source": source, "source_label": source, "gain": gain, "value": 100 / 2**gain}
        for target, row in table.items() for source, gain in row.items()
    ])  # fmt: skip


def test_means_and_regret_by_hand():
    result = over_targets(gains({"x": {"a": 1.0, "b": 0.0}, "y": {"a": 0.5, "b": 0.75}, "z": {"a": 9.0}})).set_index("source")
    assert list(result.index) == ["a", "b"], "the best mean first"
    assert result["gain"].tolist() == [0.75, 0.375]
    assert result["regret"].tolist() == [0.125, 0.5]
    assert result["best_in"].tolist() == [1, 1]
    assert result[["cells", "targets", "left"]].iloc[0].tolist() == [2, 2, 1], "z has no gain from b"
    assert result.loc["a", "value"] == pytest.approx((50 + 100 / 2**0.5) / 2)
    exact = stats.t.interval(0.95, 1, 0.75, stats.sem([1.0, 0.5]))
    assert result.loc["a", ["low", "high"]].tolist() == pytest.approx(exact)


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
def test_intervals_cover_the_truth_at_their_rate():
    random = np.random.default_rng(0)
    sweeps = []
    for number in range(200):
        table = {f"t{k}": dict(zip("abc", random.normal([1, 0.5, 0], 0.5), strict=True)) for k in range(4)}
        sweeps.append(gains(table).assign(strategy=f"sweep {number}"))
    result = over_targets(pd.concat(sweeps))
    truth = result["source"].map({"a": 1.0, "b": 0.5, "c": 0.0})
    assert len(result) == 600
    assert np.mean((result["low"] <= truth) & (truth <= result["high"])) == pytest.approx(0.95, abs=0.025)
