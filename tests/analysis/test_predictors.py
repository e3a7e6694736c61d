"""Distances as predictors of transfer, on simulated gains with a known truth."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.prediction.predictors import compare_predictors
from trainers.config import metrics

NEARER = {metric.name: metric.sign for metric in metrics.distances()}

GAINS = {"a": 1.0, "b": 0.5, "c": 0.1, "d": -0.4}


def gains(groups: int = 2, sources: str = "abcd") -> pd.DataFrame:
    """Return one gain per source in each of `groups` cells, higher for earlier letters."""
    common = {"target": "t", "size": 5, "conditional": False, "resolution": 8, "target_label": "t", "embedding": "e"}
    common |= {"strategy": "finetune", "at": "common", "step": 10, "family": "t", "seed": 0}
    return pd.DataFrame([
        {**common, "cell": f"c{cell}", "cell_label": f"c{cell}", "source": name, "source_label": name, "gain": GAINS[name]}
        for cell in range(groups) for name in sources
    ])  # fmt: skip


def distances(kind: str, of: Callable[[str], float], trial: str | None = None) -> list[dict[str, object]]:
    ends = {"target": "t", "resolution": 8, "embedding": "e", "trial": trial, "kind": kind}
    return [{**ends, "source": name, "value": of(name)} for name in GAINS]


def test_the_direction_of_every_kind():
    """Distances rise with the letter and similarities fall, so nearer sources have higher gains by every kind."""
    rows = [row for kind, sign in NEARER.items() for row in distances(kind, lambda name, sign=sign: -sign * ord(name))]
    result = compare_predictors(gains(), pd.DataFrame(rows))
    assert set(result["kind"]) == set(NEARER)
    assert result[["rho", "low", "high"]].to_numpy().ravel().tolist() == pytest.approx([1.0] * 18)
    assert (result["hits"] == 2).all()
    assert (result["groups"] == 2).all()
    assert set(result["via"]) == {"real"}


def test_the_best_predictor_comes_first_by_real_or_generated_images():
    wrong = {"a": 1, "b": 4, "c": 2, "d": 3}  # one of six pairs of neighbours in order; the nearest is right
    rows = distances("fid", lambda name: -ord(name)) + distances("kid", lambda name: wrong[name])
    rows += distances("fid", ord, "k")
    result = compare_predictors(gains(), pd.DataFrame(rows))
    assert list(zip(result["kind"], result["via"], strict=True)) == [("fid", "generator"), ("kid", "real"), ("fid", "real")]
    assert list(result["rho"]) == pytest.approx([1.0, 0.4, -1.0])
    assert list(result["hits"]) == [2, 2, 0]


def test_equal_distances_are_no_order_and_no_hit():
    rows = distances("precision", lambda name: 0.0) + distances("recall", lambda name: float(name in "ab"))
    result = compare_predictors(gains(), pd.DataFrame(rows)).set_index("kind")
    assert result.loc["precision", "rho"] == 0
    assert result.loc["recall", "rho"] > 0.8
    assert list(result["hits"]) == [0, 0]


def test_two_sources_are_too_few():
    assert len(compare_predictors(gains(sources="ab"), pd.DataFrame(distances("fid", ord)))) == 0
    result = compare_predictors(
        pd.concat([gains(1), gains(3, "bcd").query("cell != 'c0'")]), pd.DataFrame(distances("fid", ord))
    )
    assert list(result[["groups", "least", "most"]].iloc[0]) == [3, 3, 4]


def test_regret_of_the_nearest_and_of_a_random_source():
    wrong = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 4.0}  # b is nearest, a is best
    result = compare_predictors(gains(), pd.DataFrame(distances("fid", wrong.__getitem__))).iloc[0]
    assert result["regret"] == pytest.approx(GAINS["a"] - GAINS["b"])
    assert result["chance"] == pytest.approx(GAINS["a"] - np.mean(list(GAINS.values())))
    assert result["hits"] == 0
    tied = compare_predictors(gains(), pd.DataFrame(distances("recall", lambda name: float(name in "ab")))).iloc[0]
    assert tied["regret"] == pytest.approx(0.25), "two tied sources: the mean of their regrets"


def several(random: np.random.Generator, slope: float, targets: int, seeds: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return simulated gains and distances of five sources; the gain falls by `slope` per unit of distance."""
    common = {"conditional": False, "resolution": 8, "embedding": "e", "at": "common", "step": 10, "strategy": "finetune"}
    rows, between = [], []
    for target in range(targets):
        for source in "abcde":
            distance = random.normal()
            ends = {"source": source, "target": f"t{target}", "resolution": 8, "embedding": "e"}
            between.append({**ends, "trial": None, "kind": "fid", "value": distance})
            for seed in range(seeds):
                columns = {"size": 5, "cell": f"c{target}", "cell_label": f"c{target}", "family": f"t{target}", "seed": seed}
                gain = target - slope * distance + random.normal()
                rows.append({**common, **ends, **columns, "source_label": source, "target_label": f"t{target}", "gain": gain})
    return pd.DataFrame(rows), pd.DataFrame(between)


@pytest.mark.slow
def test_without_an_effect_the_error_rate_holds():
    random = np.random.default_rng(4)
    covered, significant = [], []
    for _ in range(200):
        row = compare_predictors(*several(random, 0.0, targets=5)).iloc[0]
        covered.append(row["interval_low"] <= 0 <= row["interval_high"])
        significant.append(row["p"] < 0.05)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)
    assert np.mean(significant) == pytest.approx(0.05, abs=0.04)


def test_an_effect_is_significant():
    row = compare_predictors(*several(np.random.default_rng(5), 2.0, targets=5)).iloc[0]
    assert row["p"] < 0.01
    assert 0 < row["interval_low"] < row["rho"] < row["interval_high"] <= 1


def test_one_target_has_an_interval_over_seeds_and_one_seed_none():
    random = np.random.default_rng(5)
    one = compare_predictors(*several(random, 1.0, targets=1)).iloc[0]
    assert np.isnan([one["interval_low"], one["pooled_high"]]).all()
    assert one["over"] == ""
    many = compare_predictors(*several(random, 0.7, targets=1, seeds=4)).iloc[0]
    assert many["over"] == "seeds"
    assert many["interval_low"] <= many["rho"] <= many["interval_high"]
    assert many["pooled"] == pytest.approx(many["rho"]), "one group"


def test_pooled_is_scipys_over_all_points():
    simulated, between = several(np.random.default_rng(6), 0.5, targets=3)
    row = compare_predictors(simulated, between).iloc[0]
    both = simulated.merge(between, on=["source", "target"])
    assert row["pooled"] == pytest.approx(stats.spearmanr(-both["value"], both["gain"]).statistic)
    assert row["pooled_low"] <= row["pooled"] <= row["pooled_high"]
    assert row["over"] == "targets"


@pytest.mark.slow
def test_p_values_are_corrected_for_the_number_of_kinds():
    random = np.random.default_rng(7)
    claims, uncorrected = [], []
    for _ in range(20):
        simulated, _ = several(random, 0.0, targets=2)
        between = pd.concat([several(random, 0.0, targets=2)[1].assign(kind=kind) for kind in NEARER])
        rows = compare_predictors(simulated, between)
        assert (rows["p_holm"] >= rows["p"]).all()
        claims.append((rows["p_holm"] < 0.05).any())
        uncorrected.append((rows["p"] < 0.05).any())
    assert np.mean(claims) <= 0.12
    assert np.mean(uncorrected) > np.mean(claims)
