"""Stores with values, trials or metrics that no statistic is made for: the report is written, and says what it leaves out."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.frames import Frames, load
from analysis.report import markdown
from analysis.report.page import render
from analysis.statistics import analyse
from bench.store import open_store
from tests.support.synthetic import EMBEDDING, build

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    sources, strategies = {"letters": 42.0, "numerals": 18.0}, ("scratch", "finetune", "finetune-d")
    folder = tmp_path_factory.mktemp("store")
    return load(build(folder, sources=sources, strategies=strategies, seeds=(0, 1), keep=1.0, images=False))


def method(curves: pd.DataFrame, strategy: str = "finetune") -> "pd.Series[bool]":
    return (curves["strategy"] == strategy) & (curves["source"].isna() | (curves["source"] == "numerals"))


def last(value: float) -> Change:
    """Set the last FID of fine-tuning from numerals."""
    return lambda curves: curves.assign(
        value=curves["value"].mask(method(curves) & (curves["step"] == 200) & (curves["metric"] == "fid"), value)
    )


def diverged(curves: pd.DataFrame) -> pd.DataFrame:
    return curves.assign(status="diverged", lost=True, lost_seeds=2)


def one_trial(curves: pd.DataFrame) -> pd.DataFrame:
    return curves[curves["trial"] == curves["trial"].iloc[0]]


def ties(curves: pd.DataFrame) -> pd.DataFrame:
    return curves.assign(value=curves["value"].mask(curves["metric"] == "fid", 10.0))


CHANGES: dict[str, Change] = {
    "all diverged": diverged,
    "one trial": one_trial,
    "scratch with options": lambda curves: curves.assign(
        strategy=curves["strategy"].mask((curves["strategy"] == "scratch") & (curves["seed"] == 1), "scratch[rate=0.1]")
    ),
    "no scratch": lambda curves: curves[curves["strategy"] != "scratch"],
    "only scratch": lambda curves: curves[curves["strategy"] == "scratch"],
    "one source": lambda curves: curves[curves["source"].isna() | (curves["source"] == "numerals")],
    "ties": ties,
    "a missing cell": lambda curves: curves[curves["size"] == 50],
    "other metrics": lambda curves: curves[curves["metric"] == "kid"],
    "nothing": lambda curves: curves.iloc[:0],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_report_is_written(frames: Frames, change: Change) -> None:
    written(replace(frames, curves=change(frames.curves)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["only scratch", "scratch with options", "ties"])
def test_the_page_is_written(frames: Frames, name: str, tmp_path: Path) -> None:
    curves = CHANGES[name](frames.curves)
    strategies = frames.trials["key"].map(dict(zip(curves["trial"], curves["strategy"], strict=True)))
    changed = replace(frames, curves=curves, trials=frames.trials.assign(strategy=strategies.fillna(frames.trials["strategy"])))
    page = render(changed, open_store(str(tmp_path), create=True))
    assert ('class="first"' in page) == (name != "only scratch"), "without a start there is nothing to compare"
    assert "nan" not in re.sub("<script.*?</script>", "", page, flags=re.DOTALL).lower().split()


def written(frames: Frames) -> str:
    """Return the report, with an answer and without a number that is none."""
    text = markdown.render(frames, None)
    assert "## The answer" in text
    assert "nan" not in text.lower().split()
    assert "×inf" not in text
    return text


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_a_value_without_a_logarithm_is_counted_and_claims_nothing(frames: Frames, value: float) -> None:
    changed = replace(frames, curves=last(value)(frames.curves))
    assert "2 FIDs of 0 or without a finite value cannot be compared and are left out." in written(changed)
    claims = analyse(changed, EMBEDDING).claims
    of_method = claims[(claims["kind"] == "scratch") & (claims["subject"] == ("finetune", "numerals"))]
    assert not (of_method["outcome"] == Outcome.APART).any()


def test_equal_values_are_not_told_apart(frames: Frames) -> None:
    claims = analyse(replace(frames, curves=ties(frames.curves)), EMBEDDING).claims
    assert not (claims["outcome"] == Outcome.APART).any()
