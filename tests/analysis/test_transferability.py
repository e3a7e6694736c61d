"""Gain, ranking and correlation by hand and against scipy."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from analysis.comparison.cells import cells
from analysis.frames import STATUSES, load
from analysis.transfer import transferability as tf
from tests.analysis.test_savings import with_lost_seeds
from tests.support.synthetic import build

Curve = dict[int, float]


def make_curves(*trials: tuple[str, str | None, int, str, Curve], cell: str = "c", metric: str = "fid") -> pd.DataFrame:
    """Return curves from rows (strategy, source, seed, status, {step: value})."""
    rows: list[dict[str, Any]] = []
    for number, (strategy, source, seed, status, curve) in enumerate(trials):
        for step, value in curve.items():
            rows.append(
                {
                    **{"trial": f"{cell}{number}", "step": step, "value": value, "metric": metric, "embedding": "e"},
                    **{"kind": "adapt", "cell": cell, "strategy": strategy, "source": source, "source_label": source},
                    **{"seed": seed, "status": status, "censored": status == "stopped", "target": "t", "size": 50},
                    **{"conditional": False, "resolution": 16, "cell_label": cell, "family": "t", "target_label": "t"},
                    **{"parent": None, "budget": 200, "lost": status in ("diverged", "failed"), "cut": status == "stopped"},
                    "confirmation": False,
                }
            )
    return with_lost_seeds(pd.DataFrame(rows)) if rows else pd.DataFrame(rows)


SCRATCH = ("scratch", None, 0, "done", {0: 400.0, 50: 100.0, 100: 64.0, 200: 32.0})
GOOD = ("finetune", "near", 0, "done", {0: 90.0, 50: 25.0, 100: 16.0, 200: 16.0})
STOPPED = ("finetune", "far", 0, "stopped", {0: 300.0, 50: 50.0, 100: 64.0})


def gains_of(curves: pd.DataFrame) -> dict[tuple[str, str], tuple[int, float]]:
    gains = tf.transfer_gain(curves)
    return {(row["source"], row["at"]): (row["step"], row["gain"]) for row in gains.to_dict("records")}


def test_gain_is_log2_of_the_ratio_at_matched_steps() -> None:
    assert gains_of(make_curves(SCRATCH, GOOD, STOPPED)) == {
        ("near", "first"): (50, 2.0),  # 100 / 25
        ("near", "final"): (200, 1.0),  # 32 / 16
        ("near", "matched"): (200, 1.0),
        ("far", "first"): (50, 1.0),
        ("far", "matched"): (100, 0.0),  # never 32 / 64: scratch's final value against a stopped one; nor a final gain
    }


def test_a_stopped_scratch_is_compared_where_it_stopped() -> None:
    stopped = ("scratch", None, 0, "stopped", {0: 400.0, 50: 100.0})
    assert gains_of(make_curves(stopped, GOOD))["near", "matched"] == (50, 2.0)


def test_the_reference_is_the_geometric_mean_of_all_seeds_from_scratch() -> None:
    transfer = ("finetune", "near", 1, "done", {50: 25.0})
    gains = tf.transfer_gain(make_curves(SCRATCH, transfer, ("scratch", None, 1, "done", {50: 64.0})))
    assert gains.loc[gains["at"] == "matched", "gain"].tolist() == pytest.approx([math.log2(80 / 25)])  # sqrt(100 * 64) = 80


def test_what_cannot_be_compared_has_no_gain() -> None:
    failed = ("finetune", "near", 0, "failed", {0: 90.0, 50: 25.0})
    diverged_at_once = ("finetune", "far", 0, "diverged", {0: 90.0, 50: math.nan})
    assert len(tf.transfer_gain(make_curves(SCRATCH, failed, diverged_at_once))) == 0
    assert len(tf.transfer_gain(make_curves(GOOD))) == 0, "no scratch"
    assert len(tf.transfer_gain(make_curves(SCRATCH))) == 0, "no transfer"
    assert len(tf.transfer_gain(make_curves(SCRATCH, GOOD).iloc[:0])) == 0


def test_cells_and_embeddings_never_mix() -> None:
    one, other = make_curves(SCRATCH, cell="a"), make_curves(GOOD, cell="b")
    assert len(tf.transfer_gain(pd.concat([one, other]))) == 0
    foreign = make_curves(GOOD).assign(embedding="another", trial="x")
    assert len(tf.transfer_gain(pd.concat([make_curves(SCRATCH), foreign]))) == 0


def make_points(pairs: list[tuple[float, float]], strategy: str = "finetune", cell: str = "c") -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{"at": "final", "embedding": "e", "cell": cell, "cell_label": cell, "target": cell, "size": 50, "step": 50},
            **{"conditional": False, "resolution": 16, "family": "t", "target_label": "t", "strategy": strategy},
            "source": f"s{number}",
            "source_label": f"s{number}",
            "distance": distance,
            "gain": gain,
        }
        for number, (distance, gain) in enumerate(pairs)
    )


def test_correlation_is_spearmans_by_hand_and_by_scipy() -> None:
    # Ranks of distance 1 2 3 4, of gain 4 2 3 1: squared differences 9 0 0 9, so 1 - 6 * 18 / (4 * 15) = -0.8.
    pairs = [(10.0, 2.0), (20.0, 0.7), (30.0, 0.9), (90.0, -1.0)]
    others = [(5.0, 1.0), (6.0, 3.0), (50.0, 0.1)]
    rows = pd.concat([make_points(pairs), make_points(others, cell="d")])
    result = tf.distance_correlation(rows).set_index(["scope", "cell"])
    assert result.loc[("cell", "c"), "rho"] == pytest.approx(-0.8)
    assert result.loc[("cell", "c"), "n"] == 4
    pooled = result[result.index.get_level_values("scope") == "all"].iloc[0]
    distance, gain = zip(*pairs, *others, strict=True)
    assert pooled["rho"] == pytest.approx(stats.spearmanr(distance, gain).statistic)
    assert (pooled["n"], pooled["pairs"]) == (7, 7)


@pytest.mark.parametrize("pairs", [[(1.0, 2.0), (2.0, 1.0)], [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)], [(1.0, 1.0)] * 3])
def test_no_correlation_from_too_few_or_constant_values(pairs: list[tuple[float, float]]) -> None:
    result = tf.distance_correlation(make_points(pairs))
    assert set(result["rho"]) == {None}
    assert set(result["n"]) == {len(pairs)}


def test_seeds_are_averaged_before_they_are_ranked() -> None:
    rows = make_points([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)])
    second = rows.assign(gain=[1.0, 0.0, -5.0])
    result = tf.distance_correlation(pd.concat([rows, second]))
    assert result.loc[result["scope"] == "cell", "n"].item() == 3
    assert tf.points(pd.concat([rows, second]))["gain"].tolist() == [2.0, 1.0, -2.0]
    assert len(tf.distance_correlation(rows.iloc[:0])) == 0


@pytest.mark.parametrize(("via", "expected"), [("real", 7.0), ("generator", 30.0)])
def test_distances_by_real_images_or_by_generators(via: tf.Via, expected: float) -> None:
    common = {"source": "near", "target": "t", "resolution": 16, "embedding": "e", "kind": "fid"}
    rows = [{"trial": None, "value": 7.0}, {"trial": "g1", "value": 20.0}, {"trial": "g2", "value": 40.0}]
    foreign = [{"trial": None, "value": 1.0, "embedding": "other"}, {"trial": None, "value": 2.0, "kind": "kid"}]
    distances = pd.DataFrame([{**common, **row} for row in [*rows, *foreign]])
    gains = tf.transfer_gain(make_curves(SCRATCH, GOOD, STOPPED))
    placed = tf.with_distance(gains, distances, via=via)
    assert set(placed["source"]) == {"near"}, "a source without a distance is left out"
    assert set(placed["distance"]) == {expected}
    assert len(tf.with_distance(gains, distances, via=via, keep=True)) == len(gains)


def test_nearest_source_is_one_that_was_tried(tmp_path: Path) -> None:
    frames = load(build(tmp_path, sources={"numerals": 18.0, "letters": 42.0}))
    tried = frames.curves[frames.curves["source"] != "numerals"]
    nearest = tf.nearest_source(tf.with_distance(tf.transfer_gain(tried), frames.distances), frames.distances)
    assert list(nearest["source"]) == ["letters", "letters"]
    assert list(nearest["sources"]) == [1, 1]


@pytest.mark.parametrize(("high", "ties"), [(29.9, []), (31.0, ["letters"])])
def test_a_source_within_the_interval_of_the_nearest_is_tied_with_it(tmp_path: Path, high: float, ties: list[str]) -> None:
    frames = load(build(tmp_path, sources={"numerals": 18.0, "letters": 42.0}, sizes=(50,), images=False))
    near = frames.distances["source"] == "numerals"
    distances = frames.distances.assign(low=30.0).assign(high=frames.distances["value"].mask(near, high))
    nearest = tf.nearest_source(tf.with_distance(tf.transfer_gain(frames.curves), distances), distances)
    assert nearest[["source", "sources", "ties"]].values.tolist() == [["numerals", 2, ties]]


def test_coverage_counts_every_trial_once(tmp_path: Path) -> None:
    frames = load(build(tmp_path, faults=True))
    coverage = tf.coverage(frames.trials, STATUSES)
    assert list(coverage["cell_label"].dropna()) == ["digits, 50 images", "digits, 500 images"]
    assert list(coverage["planned"]) == [4, 13, 13]
    assert coverage[list(STATUSES)].sum(axis=1).tolist() == [4, 13, 13]
    assert len(tf.coverage(frames.trials.iloc[:0], STATUSES)) == 0


def test_a_simulated_sweep_has_the_expected_best_method(tmp_path: Path) -> None:
    frames = load(build(tmp_path, keep=1.0))
    ranked = tf.ranking(cells(frames.curves))
    best = tf.best_per_cell(ranked)
    assert set(zip(best["strategy"], best["source"], strict=True)) == {("finetune", "numerals")}
    result = tf.distance_correlation(tf.with_distance(tf.transfer_gain(frames.curves), frames.distances))
    of_finetune = result[(result["scope"] == "cell") & (result["strategy"] == "finetune")]
    assert list(of_finetune["rho"]) == pytest.approx([-1.0, -1.0])
