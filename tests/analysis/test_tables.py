"""The contents of the report's tables."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.frames import load
from analysis.report.blocks import Column, Row, Table, numbers
from analysis.report.content import provenance, table_parts, tables
from analysis.statistics import analyse
from tests.support.synthetic import EMBEDDING, build


def test_an_embedding_has_the_images_of_fid_only_and_those_of_distances_if_measured(tmp_path: Path) -> None:
    store = build(tmp_path, conditional=(True,), classes=("a", "b"), sizes=(50,), images=False)
    key = store.read("trials")["key"].iloc[-1]
    own = {"trial": key, "step": 50, "embedding": EMBEDDING, "metric": "ada_signal", "value": 0.5, "samples": 32}
    own |= {"view": f"{EMBEDDING}/1000", "version": "1"}
    store.append("measurements", "quickstart", [own])
    words = "each FID and KID is computed from 1,000 generated images"
    frames = load(store)
    distances = "each distance from 1,000 source images and 500 target images"
    assert provenance.embeddings(frames) == {EMBEDDING: f"{words}, {distances}"}
    without = replace(frames, distances=frames.distances.iloc[:0])
    assert provenance.embeddings(without) == {EMBEDDING: words}


def test_large_values_have_no_exponent() -> None:
    assert [tables._with_error(value, None) for value in (0.01234, 97.12, 999.6, 12345.6)] == [
        "0.0123",
        "97.1",
        "1,000",
        "12,346",
    ]


def test_an_interval_of_a_strategy_that_is_beyond_any_number_says_so() -> None:
    row = {"rank": 2, "early": False, "lost": 0, "outcome": None, "behind": 0.5}
    for low, high, words in (
        (-0.5, 1.0, " (0.71 to 2.00)"),
        (-2000.0, 2000.0, " (below ×0.001 to over ×1,000)"),
        (None, None, ""),
    ):
        assert tables._behind({**row, "low": low, "high": high}) == f"×1.41{words}"


def test_a_column_without_any_value_is_left_out() -> None:
    columns = [Column("a"), *numbers("b", "c", "d")]
    (block,) = table_parts.table("t", columns, [Row(["1", "–", "–", "2"]), Row(["3", "–", "4", "–"])])
    assert isinstance(block, Table)
    assert [column.head for column in block.columns] == ["a", "c", "d"]
    assert [list(row.cells) for row in block.rows] == [["1", "–", "2"], ["3", "4", "–"]]


def test_errors_are_counted_and_few_of_many_different_ones_are_listed() -> None:
    rows = [("failed", "no disk")] * 3 + [("failed", "no room")] * 5 + [("done", None)]
    rows += [("diverged", f"a loss reached {number} by step {number}") for number in range(25)]
    errors = provenance.errors(pd.DataFrame(rows, columns=["status", "error"]))
    diverged, failed = errors[:11], errors[11:]
    assert {row["status"] for row in diverged} == {"diverged"}
    assert diverged[-1] == {"status": "diverged", "error": "15 other reasons", "trials": 15}
    assert failed == [
        {"status": "failed", "error": "no room", "trials": 5},
        {"status": "failed", "error": "no disk", "trials": 3},
    ]
    assert provenance.errors(pd.DataFrame(rows[8:9], columns=["status", "error"])) == []


@pytest.mark.slow
def test_a_strategy_whose_best_source_diverged_is_shown_with_its_next(tmp_path: Path) -> None:
    frames = load(build(tmp_path, sizes=(50, 500), keep=1.0, images=False))
    lost = (frames.curves["strategy"] == "finetune") & (frames.curves["source"] == "numerals")
    curves = frames.curves.assign(status=frames.curves["status"].mask(lost, "diverged"))
    curves = curves.assign(lost=lost, lost_seeds=lost.astype(int))
    analysis = analyse(replace(frames, curves=curves[~(lost & (curves["step"] > 100))]), EMBEDDING)
    rows = {(row["cell_label"], row["name"]): row for row in tables.savings_rows(analysis)}
    assert len(rows) == 6, "three strategies in two cells"
    assert ("digits, 50 images", "finetune from letters") in rows
    row = rows["digits, 50 images", "finetune-d from numerals"]
    assert row["images_outcome"] == "with one seed of scratch per size it is unknown whether more images help"
    assert row["steps_outcome"] == "not testable"
