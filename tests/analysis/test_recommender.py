"""The recommender on simulated stores with a known truth: predictions, coverage of intervals, and regret."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.prediction.gain_model import FEWEST_TARGETS
from analysis.prediction.recommender import observed, ranked, recommended_claim
from analysis.prediction.rules import CHOOSERS
from analysis.report.page import write_report
from tests.support.endurance import repeats
from tests.support.synthetic import build

SOURCES = "abcde"


def simulated(
    random: np.random.Generator, targets: int = 8, *, slope: float = 0.5, target: float = 0.3, source: float = 0.2,
    noise: float = 0.15, strategy: str = "finetune", sources: str = SOURCES,
) -> pd.DataFrame:  # fmt: skip
    """Return points whose gain is 0.6 + slope * -log2(distance / 50) + a target's effect + a source's + noise."""
    of_source = random.normal(0, source, len(sources))
    rows = []
    for number in range(targets):
        effect = random.normal(0, target)
        for place, name in enumerate(sources):
            distance = 50 * 2 ** random.normal(0, 0.8)
            gain = 0.6 - slope * np.log2(distance / 50) + effect + of_source[place] + random.normal(0, noise)
            rows.append({"target": f"t{number}", "source": name, "gain": gain, "distance": distance, "images": 100 * place})
    points = pd.DataFrame(rows).assign(cells=1, seeds=1, trials=1, strategy=strategy, estimated=0, step=200, own_fid=np.nan)
    return points.assign(source_label=points["source"])


def new(points: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float], pd.Series]:
    """Return the points of all targets but the last, and the distances and gains of the last."""
    last = points["target"] == points["target"].iloc[-1]
    of_last = points[last].set_index("source")
    return points[~last], of_last["distance"].to_dict(), of_last["gain"]


def test_without_noise_the_prediction_is_the_truth():
    points, distances, gains = new(simulated(np.random.default_rng(0), 12, target=0, source=0, noise=0))
    result = ranked(points, distances).set_index("source")
    assert result["slope"].tolist() == pytest.approx([0.5] * 5)
    assert result["gain"].is_monotonic_decreasing
    differences = result["gain"] - gains
    assert np.ptp(differences) == pytest.approx(0, abs=1e-9), "the order and all differences are right"
    assert result["gain"].mean() == pytest.approx(points["gain"].mean()), "the expected effect of a new target is 0"
    assert set(result["basis"]) == {"distance"}


def test_distance_is_not_credited_with_how_well_the_sources_are_trained():
    """Gains depend on the sources' own FIDs alone, and the better trained sources are nearer to every target."""
    random, rows = np.random.default_rng(0), []
    own = np.log2([2.0, 4.0, 8.0, 16.0, 32.0])
    for number in range(8):
        for name, log in zip(SOURCES, own, strict=True):
            near = 50 * 2 ** (0.5 * log + random.normal(0, 0.3))
            rows.append({"target": f"t{number}", "source": name, "gain": 3 - 0.5 * log, "distance": near, "own_fid": 2**log})
    points = simulated(random).drop(columns=["target", "source", "gain", "distance", "own_fid"])
    points = points.assign(**pd.DataFrame(rows), source_label=[row["source"] for row in rows])
    distances = dict.fromkeys(SOURCES, 50.0)
    plain, adjusted = (ranked(p, distances).set_index("source") for p in (points.assign(own_fid=np.nan), points))
    assert plain["slope"].iloc[0] > 0.5
    assert adjusted["slope"].iloc[0] == pytest.approx(0, abs=1e-9)
    assert adjusted["gain"].tolist() == pytest.approx(sorted(3 - 0.5 * own, reverse=True), abs=0.05), "the sources' effects"


def test_the_slope_is_that_of_least_squares_with_a_constant_per_target_shrunk_a_little():
    points = simulated(np.random.default_rng(1), 12)
    x = -np.log2(points["distance"].to_numpy())
    design = np.column_stack([x, pd.get_dummies(points["target"]).to_numpy(float)])
    exact = np.linalg.lstsq(design, points["gain"].to_numpy(), rcond=None)[0][0]
    result = ranked(points, dict.fromkeys(SOURCES, 50.0))["slope"].iloc[0]
    assert 0.9 * exact < result < exact


def test_the_slope_of_an_uninformative_distance_is_shrunk_to_0():
    slopes = [
        ranked(simulated(np.random.default_rng(seed), 5, slope=0, noise=0.5), dict.fromkeys(SOURCES, 50.0))["slope"].iloc[0]
        for seed in range(40)
    ]
    assert np.mean(np.array(slopes) == 0) > 0.3
    assert abs(np.mean(slopes)) < 0.05


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_cover_a_new_target_at_their_rate():
    inside, worlds = [], repeats(30, full=150)
    for seed in range(worlds):
        points, distances, gains = new(simulated(np.random.default_rng(seed), 7))
        result = ranked(points, distances).set_index("source").loc[gains.index]
        inside.append(((result["low"] <= gains) & (gains <= result["high"])).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03 * np.sqrt(150 / worlds))


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize("effects", [True, False])
def test_the_interval_of_the_first_of_three_strategies_covers(effects: bool):
    """The first is chosen by its prediction; with no effect at all it is seldom told apart from scratch."""
    covered, apart, count = [], [], repeats(15, full=60)
    for seed in range(count):
        random = np.random.default_rng(seed)
        worlds = simulated(random, 6) if effects else simulated(random, 6, slope=0, target=0, source=0).assign(gain=0.0)
        parts = [
            worlds.assign(strategy=name, gain=worlds["gain"] + shift * effects, true=worlds["gain"] + shift * effects)
            for name, shift in (("finetune", 0.1), ("finetune-g", 0.0), ("freeze-d", -0.4))
        ]
        points = pd.concat(parts, ignore_index=True)
        points["gain"] += random.normal(0, 0.15, len(points))
        known, distances, _ = new(points)
        first = ranked(known, distances).iloc[0]
        last = points[points["target"] == points["target"].iloc[-1]].set_index(["strategy", "source"])["true"]
        covered.append(first["low"] <= last[first["strategy"], first["source"]] <= first["high"])
        apart.append(first["p"] < 0.05)
    assert np.mean(covered) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / count)
    if not effects:
        assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / count)


def table(rows: dict[str, dict[str, float]], **columns: Any) -> pd.DataFrame:
    """Return points from {target: {source: gain}}."""
    points = pd.DataFrame([
        {"target": target, "source": name, "source_label": name, "gain": gain}
        for target, gains in rows.items() for name, gain in gains.items()
    ])  # fmt: skip
    common = {
        "strategy": "finetune",
        "distance": np.nan,
        "images": 10.0,
        "own_fid": np.nan,
        "cells": 1,
        "seeds": 1,
        "trials": 1,
        "estimated": 0,
        "step": 9,
    }
    return points.assign(**{**common, **columns})


def test_the_first_start_is_a_claim():
    points, distances, _ = new(simulated(np.random.default_rng(0), 8))
    starts = ranked(points, distances)
    (claim,) = recommended_claim(starts).to_dict("records")
    assert (claim["kind"], claim["subject"], claim["step"]) == ("recommended", ("finetune", starts["source"].iloc[0]), 200)
    assert (claim["outcome"] == Outcome.APART) == (claim["low"] > 0) == (claim["p"] < 0.05)
    assert len(recommended_claim(starts.iloc[:0])) == 0


def test_too_few_targets_are_ordered_by_distance_without_a_prediction():
    rows = {"x": {"a": 1.0, "b": 0.0, "c": 0.5}}
    points = pd.concat([table(rows, distance=3.0), table(rows, distance=3.0, strategy="finetune-g", gain=2.0)])
    result = ranked(points, {"a": 9.0, "b": 1.0})
    assert list(zip(result["source"], result["strategy"], strict=True)) == [
        ("b", "finetune-g"), ("b", "finetune"), ("a", "finetune-g"), ("a", "finetune"),
    ]  # fmt: skip
    assert result[["gain", "low", "high", "p", "slope"]].isna().all(axis=None)
    assert set(result["basis"]) == {"distance alone"}
    assert recommended_claim(result)["outcome"].tolist() == [Outcome.UNTESTABLE]
    assert len(ranked(points, {})) == 0, "no distance, no order"
    assert FEWEST_TARGETS == 3


def test_a_source_tried_only_on_a_hard_target_is_not_penalised():
    rows = {name: {"a": 1.0, "b": 0.5, "c": 0.0} for name in "xyz"}
    hard = {"h": {"a": -1.0, "b": -1.5, "c": -2.0, "d": -0.5}}
    result = ranked(table({**rows, **hard}), {}).set_index("source")["gain"]
    assert result.idxmax() == "d"


def test_predictions_are_not_extrapolated_beyond_observed_distances():
    points, _, _ = new(simulated(np.random.default_rng(3), 8))
    far = ranked(points, {**dict.fromkeys(SOURCES, 50.0), "a": 5e4})["gain"]
    farther = ranked(points, {**dict.fromkeys(SOURCES, 50.0), "a": 5e9})["gain"]
    assert far.min() == pytest.approx(farther.min(), abs=1e-9)
    assert far.min() > points["gain"].min() - 1


def test_points_are_means_over_seeds_and_then_cells():
    common = {"strategy": "finetune", "embedding": "e", "at": "final", "step": 10, "conditional": False, "resolution": 8,
              "target": "x", "family": "x", "target_label": "x", "source": "a", "source_label": "A"}  # fmt: skip
    gains = pd.DataFrame([
        {**common, "cell": cell, "cell_label": cell, "size": 5, "gain": gain, "distance": np.nan, "parent": p, "own_fid": own}
        for cell, gain, p, own in (("c", 1.0, "p", 4.0), ("c", 3.0, "q", 16.0), ("d", 0.0, "p", 4.0))
    ])  # fmt: skip
    trials = pd.DataFrame([{"kind": "pretrain", "source": "a", "size": 70}])
    (row,) = observed(gains, trials).to_dict("records")
    assert (row["gain"], row["images"], row["cells"], row["seeds"], row["trials"]) == (1.0, 70.0, 2, 2, 3)
    assert row["own_fid"] == pytest.approx(8.0), "the geometric mean of two trainings"
    assert np.isnan(row["distance"])
    assert len(observed(gains.iloc[:0], trials)) == 0


@pytest.mark.slow
def test_the_report_has_the_gain_of_each_rule_from_three_targets_on(tmp_path: Path):
    few, more = (
        write_report(
            build(tmp_path / f"{count}", targets=[f"t{n}" for n in range(count)], sizes=(50,), keep=1.0, images=False),
            tmp_path / f"{count}.html",
        ).read_text(encoding="utf-8")
        for count in (2, 3)
    )
    assert '<table class="advice">' in more
    for chooser, about in CHOOSERS.items():  # all sources of this store have equal size
        assert (f'<th scope="row">{about}</th>' in more) == (chooser != "largest")
    assert "On 3 targets, each predicted from the others, the recommended start gains ×" in more
    assert 'download="advice.csv.gz"' in more
    assert '<table class="advice">' not in few
