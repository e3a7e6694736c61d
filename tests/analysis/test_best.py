"""The method that a headline names: chosen at the final step, or confirmed on fresh seeds."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.comparison import power
from analysis.comparison.best import CHOSEN, FRESH, claims, named
from analysis.comparison.cells import cells
from analysis.comparison.significance import t_tests
from analysis.statistics import _named
from tests.analysis.test_savings import Trial, make, run

FIRST = {"scratch": (32.0, 33.0, 34.0), "lucky": (10.0, 10.1, 10.2), "good": (15.0, 15.1, 15.2)}


def trials(values: dict[str, tuple[float, ...]], step: int = 200) -> list[Trial]:
    return [run({50: 40.0, step: fid}, name, seed=k) for name, fids in values.items() for k, fid in enumerate(fids)]


def test_the_first_transfer_is_named_with_the_values_of_both_sides() -> None:
    table = cells(make(trials(FIRST)))
    (row,) = named(table, t_tests(table)).to_dict("records")
    assert (row["strategy"], row["step"], row["seeds"], row["scratch_seeds"], row["basis"]) == ("lucky", 200, 3, 3, CHOSEN)
    assert row["value"] == pytest.approx(np.prod(FIRST["lucky"]) ** (1 / 3))
    assert row["gain"] == pytest.approx(math.log2(row["scratch"] / row["value"]))
    assert not row["provisional"]
    assert claims(named(table, t_tests(table)))[["kind", "outcome", "step"]].values.tolist() == [["best", Outcome.APART, 200]]


def test_the_smallest_effect_is_that_of_the_power_of_the_test() -> None:
    table = cells(make(trials(FIRST)))
    (row,) = named(table, t_tests(table)).to_dict("records")
    sds = [np.log2(FIRST[name]).var(ddof=1) for name in ("lucky", "good")]
    expected = power.smallest_effect(
        math.sqrt(np.mean(sds)), np.log2(FIRST["scratch"]).std(ddof=1), 3, comparisons=2, transfers=2
    )
    assert row["smallest"] == pytest.approx(expected)


def test_an_unfinished_cell_is_provisional_and_a_cell_without_scratch_names_nothing() -> None:
    table = cells(make(trials(FIRST, step=100)))
    assert named(table, t_tests(table))["provisional"].tolist() == [True]
    alone = cells(make(trials({"good": (15.0, 16.0)})))
    assert len(named(alone, t_tests(alone))) == 0


def test_a_confirmed_cell_is_named_by_its_fresh_seeds_alone() -> None:
    """The choice was lucky; on fresh seeds the second is better, and only these are in the gain."""
    table = cells(make(trials(FIRST)))
    fresh = {"scratch": (33.0, 34.0), "lucky": (20.0, 21.0), "good": (15.0, 15.5)}
    (row,) = _named(table, t_tests(table), make(trials(fresh))).to_dict("records")
    assert (row["strategy"], row["basis"], row["seeds"]) == ("good", FRESH, 2)
    assert row["value"] == pytest.approx(math.sqrt(15.0 * 15.5))
    nothing: pd.DataFrame = make(trials(fresh)).iloc[:0]
    assert _named(table, t_tests(table), nothing)["basis"].tolist() == [CHOSEN]
