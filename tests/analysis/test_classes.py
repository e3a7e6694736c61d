"""FID by class of each strategy with its best source, at a step that all seeds reached."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.comparison.cells import cells
from analysis.frames import load
from analysis.report.blocks import Report
from analysis.report.content.provenance import coverage
from analysis.report.sentences.answers import answers
from analysis.statistics import analyse
from analysis.transfer.classes import MEAN, class_fid, compare_with_scratch, unmeasured
from analysis.transfer.transferability import ranking
from analysis.words import method
from tests.support.synthetic import EMBEDDING, build

NAMES = ("0", "1", "2", "3")


def frames(root: Path, **changes: Any) -> Any:
    return load(build(root, **{"sizes": (50,), "conditional": (True,), "classes": NAMES, **changes}))


def test_classes_without_measurements_are_counted_by_cell_and_named_in_the_coverage(tmp_path: Path):
    loaded = frames(tmp_path, sizes=(50, 500))
    cells_of = [f"digits, conditional, {size} images" for size in (50, 500)]
    for names, expected in (("0123456789", [(cell, 4, 10) for cell in cells_of]), (NAMES, [])):
        config = json.dumps({"domain": {"classes": list(names)}})
        shown = replace(loaded, trials=loaded.trials.assign(config=config))
        assert unmeasured(shown.trials, shown.curves) == expected
        page = str(list(coverage(Report(shown, ()))))
        assert [f"{cell}: 4 of 10 classes are measured" in page for cell in cells_of] == [bool(expected)] * 2


def table(curves: pd.DataFrame) -> pd.DataFrame:
    return class_fid(curves, ranking(cells(curves)))


def test_each_strategy_is_shown_once_with_its_best_source_and_the_mean_comes_first(tmp_path: Path):
    curves = frames(tmp_path).curves
    rows = table(curves)
    best = ranking(cells(curves)).drop_duplicates("strategy")
    methods = rows.drop_duplicates(["strategy", "source"])
    assert list(methods["strategy"]) == list(best["strategy"])
    assert list(methods["source"].fillna("")) == list(best["source"].fillna(""))
    for _, group in rows.groupby("strategy"):
        assert list(group["class"]) == [MEAN, *NAMES]
        assert group["value"].iloc[0] == pytest.approx(group["value"].iloc[1:].mean())
        assert set(group["samples"]) == {100, 1000}


def test_values_are_the_means_over_seeds_at_the_last_step_that_all_reached(tmp_path: Path):
    curves = frames(tmp_path, seeds=(0, 1, 2)).curves
    rows = table(curves)
    shown = curves.merge(rows.drop_duplicates("strategy")[["strategy", "source"]], on=["strategy", "source"])
    common = shown.groupby("trial")["step"].max().min()
    assert set(rows["step"]) == {common}
    for row in rows[rows["class"] != MEAN].to_dict("records"):
        same = (shown["strategy"] == row["strategy"]) & (shown["metric"] == f"fid/{row['class']}") & (shown["step"] == common)
        assert row["value"] == pytest.approx(shown.loc[same, "value"].mean())
        assert row["seeds"] == same.sum() == 3


def test_a_stopped_trial_takes_the_comparison_back_to_its_last_step(tmp_path: Path):
    curves = frames(tmp_path, keep=1).curves
    ranked = ranking(cells(curves))
    assert set(class_fid(curves, ranked)["step"]) == {200}
    early = curves["trial"].eq(ranked[ranked["strategy"] == "finetune-d"]["trial"].iloc[0]) & (curves["step"] > 50)
    assert set(class_fid(curves[~early], ranked)["step"]) == {50}


def test_the_best_transfer_is_counted_against_scratch_class_by_class(tmp_path: Path):
    rows = table(frames(tmp_path).curves)
    means, ahead, count = compare_with_scratch(rows) or pytest.fail("both are there")
    assert (ahead, count) == (4, 4)
    assert means["transfer"] < means["scratch"]
    first = rows[rows["strategy"] != "scratch"]["strategy"].iloc[0]
    worse = rows["class"].isin(["1", "3"]) & (rows["strategy"] == first)
    _, ahead, count = compare_with_scratch(rows.assign(value=rows["value"].where(~worse, 1e6))) or pytest.fail("both are there")
    assert (ahead, count) == (2, 4)
    lacking = (rows["strategy"] == "scratch") & (rows["class"] == rows["class"].iloc[-1])
    assert (compare_with_scratch(rows[~lacking]) or pytest.fail("both are there"))[2] == count - 1
    assert compare_with_scratch(rows[rows["strategy"] != "scratch"]) is None
    assert compare_with_scratch(rows[rows["strategy"] == "scratch"]) is None


@pytest.mark.slow
@pytest.mark.slow
def test_unconditional_trials_have_no_classes(tmp_path: Path):
    loaded = frames(tmp_path, conditional=(False,))
    assert len(table(loaded.curves)) == 0
    (answer,) = answers(analyse(loaded, EMBEDDING), loaded.trials)
    assert not any("Class by class" in line for line in answer.details)


@pytest.mark.parametrize(("strategy", "source", "words"), [
    ("finetune", "letters", "fine-tuning both networks from letters"),
    ("finetune[from=unconditional]", "letters", "fine-tuning both networks from unconditional letters"),
    ("finetune-g[from=conditional]", "a", "fine-tuning with only the generator pre-trained from conditional a"),
    ("novel[from=unconditional]", "a", "novel from unconditional a"),
    ("scratch", None, "training from scratch"),
])  # fmt: skip
def test_a_source_without_the_targets_labels_is_named_so(strategy: str, source: str | None, words: str):
    assert method({"strategy": strategy, "source_label": source}) == words
