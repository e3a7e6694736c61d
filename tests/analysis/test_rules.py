"""The rules of choice on simulated points with a known truth."""

import numpy as np
import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.prediction.rules import choices, evaluate
from tests.analysis.test_recommender import simulated, table


def regrets(points: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean regret of each rule."""
    gains = choices(points)
    return -gains.sub(gains["best"], axis=0).mean()


@pytest.mark.slow
def test_the_recommender_beats_the_other_rules_if_distance_and_source_are_informative():
    regret = pd.DataFrame([regrets(simulated(np.random.default_rng(seed))) for seed in range(16)]).mean()
    assert regret["recommended"] < regret["nearest"] < regret["random"]
    assert regret["recommended"] < regret["average"] < regret["random"]
    assert regret["largest"] == pytest.approx(regret["random"], abs=0.15)


@pytest.mark.slow
def test_with_an_uninformative_distance_it_still_beats_chance():
    regret = pd.DataFrame([regrets(simulated(np.random.default_rng(seed), slope=0)) for seed in range(16)]).mean()
    assert regret["recommended"] < 0.9 * regret["random"]
    assert regret["recommended"] < regret["nearest"]


def test_choices_by_hand():
    points = table({"x": {"a": 1.0, "b": 0.5}, "y": {"a": 1.0, "b": 0.0}, "z": {"a": 0.0, "b": 0.25}})
    points["distance"] = points["source"].map({"a": 2.0, "b": 1.0})
    points["images"] = points["source"].map({"a": 9.0, "b": 5.0})
    assert choices(points).loc["z"].to_dict() == {
        "recommended": 0.0, "average": 0.0, "nearest": 0.25, "largest": 0.0, "random": 0.125, "best": 0.25
    }  # fmt: skip
    result = evaluate(points).set_index("chooser")
    assert result.loc["average", "gain"] == pytest.approx(2 / 3), "a is the better of any two targets"
    assert result.loc["nearest", "gain"] == pytest.approx(0.25)
    assert result.loc["nearest", "behind"] == pytest.approx(2 / 3 - 0.25)
    assert result.loc["average", "outcome"] == Outcome.UNTESTABLE, "the same choices"
    assert pd.isna(result.loc["recommended", "outcome"])
    assert set(result["targets"]) == {3}


def test_a_rule_without_its_data_is_left_out_and_two_targets_are_too_few():
    for images in (np.nan, 10.0):
        points = table({name: {"a": 1.0, "b": 0.5} for name in "xyz"}, images=images)
        assert list(evaluate(points)["chooser"]) == ["recommended", "average", "random"]
    assert len(evaluate(table({name: {"a": 1.0, "b": 0.5} for name in "xy"}))) == 0


@pytest.mark.slow
def test_equal_starts_are_seldom_told_apart():
    apart = []
    for seed in range(60):
        points = simulated(np.random.default_rng(seed), 5, slope=0, source=0)
        apart.append((evaluate(points)["outcome"] == Outcome.APART).any())
    assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
