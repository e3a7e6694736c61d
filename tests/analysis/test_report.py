"""The report as a file: complete, small, with its numbers as CSV, and made without heavy libraries."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.frames import load
from analysis.report.page import write_report
from analysis.statistics import analyse
from bench.store import open_store
from tests.support.pages import files, trials_of
from tests.support.synthetic import build
from trainers.common.errors import UserError


@pytest.mark.slow
def test_the_page_is_written_whole_and_small(tmp_path: Path) -> None:
    store = build(tmp_path / "store", targets=("digits", "faces"), resolution=64)
    out = write_report(store, tmp_path / "deep" / "report.html", "quickstart")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert out.stat().st_size < 15e6
    assert "data:image/" in out.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="unknown sweep 'quick'; did you mean quickstart"):
        write_report(store, out, "quick")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        write_report(open_store(str(tmp_path / "empty"), create=True), tmp_path / "file" / "report.html")
    assert "\n" not in str(error.value)


def test_a_page_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), create=True)
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match=r"page\.html.*cannot be written"):
        write_report(store, tmp_path / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "store"]


@pytest.mark.slow
def test_import_is_light() -> None:
    code = "import sys, analysis.report; print(sorted({'torch', 'ray', 'playwright', 'matplotlib'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_table_of_very_many_trials_omits_those_that_have_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(tmp_path / "store", images=False)
    planned = store.read_sweeps()["quickstart"]
    later = [{**row, "key": f"{number:016x}"} for number, row in enumerate(planned["trials"])]
    store.write_sweep("quickstart", {**planned, "trials": later + planned["trials"]})
    started = len(planned["trials"])
    monkeypatch.setattr("analysis.report.content.trials.MOST_ROWS", started)
    monkeypatch.setattr("analysis.report.content.trials.FIRST_ROWS", 5)
    page = write_report(store, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"These are {started} of {2 * started} trials: all are in the file trials.csv of the HTML page." in page
    shown = trials_of(page)["trials"]["key"]
    assert sorted(shown) == sorted(row["key"] for row in planned["trials"])
    first = re.findall(r'<td><a href="#trial=\w+"><code>(\w+)</code></a></td>', page)
    assert first == [key[:10] for key in shown[:5]], "readable without scripts"
    assert f"These are the first 5 of {started} rows. The others need JavaScript" in page


@pytest.mark.slow
def test_missing_and_broken_grids_are_left_out(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    for number, name in enumerate(store.list_files("samples")):
        store.delete_file(name) if number % 2 else store.write_file(name, b"not an image")
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "Samples (needs sample grids in the store)" in page
    assert "The grids of 26 trials are not in this page: missing in the store, or omitted" in page


@pytest.mark.slow
def test_strategies_are_ranked_and_differences_within_noise_are_called_so(tmp_path: Path) -> None:
    store = build(tmp_path / "store", seeds=(0, 1, 2), sizes=(50,), keep=1.0, images=False)
    frames = load(store)
    ranked = analyse(frames, frames.embeddings[0]).strategies
    assert ranked["source_label"].unique().tolist() == ["numerals", "letters", "shapes", "textures"], "nearest first"
    assert set(ranked.loc[ranked["rank"] == 1, "strategy"]) == {"finetune"}
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Of 12 comparisons of a strategy with the first of its source, " in page
    assert re.search(r"\d+ (is|are) told apart as worse(: [^;]+)?; (1 is|\d+ are) not told apart\.", page)
    assert page.count('<table class="strategies">') == 1
    assert "strategies.csv" in page


@pytest.mark.slow
def test_csv_files_in_the_page_have_the_numbers_and_no_formulas(tmp_path: Path) -> None:
    store = build(tmp_path / "store", sources={"=cmd|'/c calc'!A1": 20.0, "near": 30.0, "far": 90.0}, images=False)
    page = write_report(store, tmp_path / "r.html").read_text(encoding="utf-8")
    saved = files(page)
    assert {"trials.csv", "gains.csv", "ranking.csv", "data-multiplier.csv", "speed-up.csv", "predictors.csv"} <= set(saved)
    frames = load(store)
    trials = pd.read_csv(io.StringIO(saved["trials.csv"]))
    assert len(trials) == len(frames.trials)
    assert set(trials["source"].dropna()) == {"'=cmd|'/c calc'!A1", "near", "far"}
    gains = pd.read_csv(io.StringIO(saved["gains.csv"]))
    expected = analyse(frames, frames.embeddings[0]).gains["gain"].tolist()
    assert gains["gain"].tolist() == pytest.approx(expected, rel=1e-4)
