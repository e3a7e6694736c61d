"""Distances as predictors of transfer, on simulated gains with a known truth."""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import Outcome
from analysis.prediction.predictors import claims, compare_predictors
from analysis.words import predictor
from tests.support.endurance import repeats
from trainers.config import metrics
from trainers.config.predictors import PREDICTORS

NEARER = {metric.name: metric.sign for metric in metrics.distances()}

GAINS = {"a": 1.0, "b": 0.5, "c": 0.1, "d": -0.4}


def gains(groups: int = 2, sources: str = "abcd") -> pd.DataFrame:
    """Return one gain per source in each of `groups` cells, higher for earlier letters."""
    common = {"target": "t", "size": 5, "conditional": False, "resolution": 8, "target_label": "t", "embedding": "e"}
    common |= {"strategy": "finetune", "at": "final", "step": 10, "family": "t", "seed": 0}
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
    assert result["rho"].tolist() == pytest.approx([1.0] * 6)
    assert (result["high"] == 1).all()
    assert (result["low"] < 0).all(), "four sources bear no narrow interval"
    assert (result["groups"] == 2).all()
    assert set(result["via"]) == {"real"}


def test_predictors_by_the_sources_networks_are_tested_beside_the_distances():
    rows = [row for kind in PREDICTORS for row in distances(kind, ord, "k")] + distances("recall", ord)
    result = compare_predictors(gains(), pd.DataFrame(rows))
    assert {row["kind"]: row["rho"] for row in result.to_dict("records")} == pytest.approx(
        {**dict.fromkeys(PREDICTORS, 1.0), "recall": -1.0}
    )
    names = {predictor(row) for row in result.to_dict("records")}
    assert names == {*(each.label for each in PREDICTORS.values()), "recall of the real images"}


def test_the_best_predictor_comes_first_by_real_or_generated_images():
    wrong = {"a": 1, "b": 4, "c": 2, "d": 3}  # one of six pairs of neighbours in order; the nearest is right
    rows = distances("fid", lambda name: -ord(name)) + distances("kid", lambda name: wrong[name])
    rows += distances("fid", ord, "k")
    result = compare_predictors(gains(), pd.DataFrame(rows))
    assert list(zip(result["kind"], result["via"], strict=True)) == [("fid", "generator"), ("kid", "real"), ("fid", "real")]
    assert list(result["rho"]) == pytest.approx([1.0, 0.4, -1.0])
    assert set(result["outcome"]) == {Outcome.UNTESTABLE}, "2 of 24 orders of four sources are as strong as any"


def test_equal_distances_are_no_order():
    rows = distances("precision", lambda name: 0.0) + distances("recall", lambda name: float(name in "ab"))
    result = compare_predictors(gains(), pd.DataFrame(rows)).set_index("kind")
    assert result.loc["precision", "rho"] == 0
    assert result.loc["precision", "outcome"] == Outcome.UNTESTABLE
    assert result.loc["recall", "rho"] > 0.8


def test_two_sources_are_too_few_and_three_too_few_for_a_test():
    assert len(compare_predictors(gains(sources="ab"), pd.DataFrame(distances("fid", ord)))) == 0
    three = compare_predictors(gains(sources="abc"), pd.DataFrame(distances("fid", ord))).iloc[0]
    assert three["outcome"] == Outcome.UNTESTABLE, "six permutations"
    assert np.isnan([three["p"], three["low"], three["high"]]).all()
    mixed = compare_predictors(
        pd.concat([gains(1), gains(3, "bcd").query("cell != 'c0'")]), pd.DataFrame(distances("fid", ord))
    )
    assert list(mixed[["groups", "sources"]].iloc[0]) == [3, 4]


def test_a_source_without_a_distance_is_left_out():
    known = [row for row in distances("fid", ord) if row["source"] != "c"]
    assert compare_predictors(gains(), pd.DataFrame(known))["sources"].tolist() == [3]


def test_the_p_value_is_that_of_all_permutations_of_the_sources_at_once():
    simulated, between = several(np.random.default_rng(2), 0.4, targets=3)
    gain = simulated.pivot(index="target", columns="source", values="gain").to_numpy()
    near = -between.pivot(index="target", columns="source", values="value").to_numpy()

    def mean_rho(order: Sequence[int]) -> float:
        return float(np.mean([stats.spearmanr(x[list(order)], y).statistic for x, y in zip(near, gain, strict=True)]))

    observed = mean_rho(range(5))
    exact = np.mean([abs(mean_rho(order)) >= abs(observed) - 1e-9 for order in permutations(range(5))])
    row = compare_predictors(simulated, between).iloc[0]
    assert (row["rho"], row["p"]) == (pytest.approx(observed), pytest.approx(exact))


def test_regret_of_the_nearest_and_of_a_random_source_is_measured_on_other_seeds():
    wrong = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 4.0}  # b is nearest, a is best
    assert np.isnan(compare_predictors(gains(), pd.DataFrame(distances("fid", wrong.__getitem__))).iloc[0]["regret"])
    seeds = pd.concat([gains().assign(seed=seed) for seed in (0, 1)])
    result = compare_predictors(seeds, pd.DataFrame(distances("fid", wrong.__getitem__))).iloc[0]
    assert result["regret"] == pytest.approx(GAINS["a"] - GAINS["b"])
    assert result["chance"] == pytest.approx(GAINS["a"] - np.mean(list(GAINS.values())))
    tied = compare_predictors(seeds, pd.DataFrame(distances("recall", lambda name: float(name in "ab")))).iloc[0]
    assert tied["regret"] == pytest.approx(0.25), "two tied sources: the mean of their regrets"


def several(random: np.random.Generator, slope: float, targets: int, seeds: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return simulated gains and distances of five sources; the gain falls by `slope` per unit of distance.

    Some sources are nearer to all targets, and some are better for other reasons.
    """
    common = {"conditional": False, "resolution": 8, "embedding": "e", "at": "final", "step": 10, "strategy": "finetune"}
    rows, between = [], []
    of_source = dict(zip("abcde", random.normal(size=(5, 2)), strict=True))
    for target in range(targets):
        for source, (near, good) in of_source.items():
            distance = near + random.normal()
            ends = {"source": source, "target": f"t{target}", "resolution": 8, "embedding": "e"}
            between.append({**ends, "trial": None, "kind": "fid", "value": distance})
            for seed in range(seeds):
                columns = {"size": 5, "cell": f"c{target}", "cell_label": f"c{target}", "family": f"t{target}", "seed": seed}
                gain = target - slope * distance + good + 0.5 * random.normal()
                rows.append({**common, **ends, **columns, "source_label": source, "target_label": f"t{target}", "gain": gain})
    return pd.DataFrame(rows), pd.DataFrame(between)


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize("slope", [0.0, 0.7])
def test_error_rate_and_coverage_with_sources_that_differ_for_other_reasons(slope: float):
    random, sweeps = np.random.default_rng(4), repeats(20, full=100)
    rows = pd.concat([compare_predictors(*several(random, slope, targets=4)) for _ in range(sweeps)])
    truth = rows["rho"].mean()
    covered, apart = (rows["low"] <= truth) & (truth <= rows["high"]), rows["outcome"] == Outcome.APART
    assert covered.mean() >= 0.95, "conservative"
    if slope == 0:
        assert apart.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sweeps)
    else:
        assert apart.mean() > 0.2


def test_an_effect_is_told_apart_and_is_a_claim():
    table = compare_predictors(*several(np.random.default_rng(5), 3.0, targets=5))
    (claim,) = claims(table).to_dict("records")
    assert (claim["kind"], claim["subject"], claim["outcome"], claim["step"]) == ("predictor", "fid via real", "told apart", 10)
    assert claim["p"] < 0.05
    assert 0 < claim["low"] < claim["value"] < claim["high"] <= 1


def test_early_gains_are_named_so():
    simulated, between = several(np.random.default_rng(5), 1.0, targets=2)
    row = compare_predictors(simulated.assign(at="first", step=5), between).iloc[0]
    assert (row["step"], row["early"]) == (5, True)


@pytest.mark.slow
@pytest.mark.endurance
def test_p_values_are_corrected_for_the_number_of_kinds():
    random = np.random.default_rng(7)
    apart, sweeps = [], repeats(8, full=40)
    for _ in range(sweeps):
        simulated, _ = several(random, 0.0, targets=2)
        between = pd.concat([several(random, 0.0, targets=2)[1].assign(kind=kind) for kind in NEARER])
        apart.append((compare_predictors(simulated, between)["outcome"] == Outcome.APART).any())
    assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sweeps)
