"""The comparison of two stores: common trials, agreement of their values, and winners."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.store import Store, open_store
from bench.upkeep.compare import compare_stores, differing_winners
from tests.support.command_line import call
from tests.support.synthetic import build


def store(folder: Path, values: dict[tuple[str, str], tuple[float, float | None]], **statuses: str) -> Store:
    """Return a store with trials of these statuses, and values with standard errors by trial and metric, at step 4."""
    new = open_store(str(folder), create=True)
    new.append("trials", "s", [{"key": key, "status": status, "steps": 4} for key, status in statuses.items()])
    common = {"step": 4, "embedding": "e", "view": "e/1000", "version": "1"}
    rows = [{**common, "trial": key, "metric": metric, "value": value, "standard_error": error}
            for (key, metric), (value, error) in values.items()]  # fmt: skip
    new.append("measurements", "s", rows)
    return new


def test_differences_by_hand(tmp_path: Path):
    nan = float("nan")
    first = {("x", "fid"): (10.0, 3.0), ("y", "fid"): (8.0, 3.0), ("z", "fid"): (1.0, 1.0)}
    second = {("x", "fid"): (10.0, 4.0), ("y", "fid"): (20.0, 4.0)}
    a = store(tmp_path / "a", {**first, ("x", "kid"): (0.5, None), ("y", "kid"): (nan, None)}, x="done", y="stopped", z="done")
    b = store(tmp_path / "b", {**second, ("x", "kid"): (0.4, None), ("y", "kid"): (nan, None)}, x="done", y="done", w="done")
    found = compare_stores(a, b)
    assert found["trials"] == {"both": 2, "only_a": 1, "only_b": 1}
    assert found["statuses"] == [{"trial": "y", "a": "stopped", "b": "done"}]
    fid, kid = found["metrics"]
    assert fid == {"metric": "fid", "view": "e/1000", "values": 2, "equal": 1, "relative": 0.6, "errors": 12 / 5, "beyond": 1}
    assert kid["relative"] == pytest.approx(0.2)
    assert (kid["values"], kid["equal"], kid["errors"], kid["beyond"]) == (2, 1, None, 0), "two diverged values are equal"
    assert compare_stores(b, a)["metrics"] == found["metrics"]


def test_stores_without_a_trial_in_common(tmp_path: Path):
    found = compare_stores(store(tmp_path / "a", {}, x="done"), open_store(str(tmp_path / "b"), create=True))
    assert found == {"trials": {"both": 0, "only_a": 1, "only_b": 0}, "statuses": [], "metrics": []}


def test_winners_of_the_cells_that_both_have():
    a, b = {("c", "e"): "x", ("d", "e"): "x", ("c", "f"): "x"}, {("c", "e"): "x", ("d", "e"): "y", ("z", "e"): "x"}
    assert differing_winners(a, b) == {"cells": 2, "differ": [{"cell": "d", "embedding": "e", "a": "x", "b": "y"}]}


def test_the_verb_reports_a_changed_winner_and_prints_names_literally(tmp_path: Path):
    sources = {"[bold]near": 18.0, "far": 95.0}
    one = build(tmp_path / "a", sizes=(50,), sources=sources, keep=1.0, images=False)
    build(tmp_path / "b", sizes=(50,), sources=sources, keep=1.0, images=False)
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    run = CliRunner(env={"COLUMNS": "200"}).invoke
    same = json.loads(call(*arguments, "--json").stdout)
    assert all(row["values"] == row["equal"] > 0 for row in same["metrics"])
    assert same["winners"] == {"cells": 1, "differ": []}

    measured = one.read("measurements")
    worst = measured[(measured["metric"] == "fid") & (measured["step"] > 0)].merge(
        one.read("trials").query("source == 'far' and strategy == 'finetune'")[["key"]], left_on="trial", right_on="key"
    )
    rows = worst.drop(columns=["key", "sweep", "recorded_at"]).assign(value=0.5).to_dict("records")
    one.append("measurements", "quickstart", rows)
    said = run(app, arguments, catch_exceptions=False).stdout
    assert (
        "digits, 50 images: fine-tuning both networks from far won in the first, fine-tuning both networks from [bold]near"
        in said
    )
    assert "the same winner in 0 of 1 cell" in said
