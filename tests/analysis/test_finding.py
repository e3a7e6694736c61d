"""The title of a report: its finding in one sentence, which takes no more than it knows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.claims import Outcome
from analysis.frames import load
from analysis.report.blocks import Report
from analysis.report.markdown import render
from analysis.report.sentences.finding import QUESTION, finding
from analysis.statistics import analyse
from bench.store import open_store
from tests.support.synthetic import build

pytestmark = pytest.mark.slow


def report(folder: Path, **changes: Any) -> Report:
    frames = load(build(folder, images=False, **{"keep": 1.0, "sizes": (50,), **changes}))
    return Report(frames, [analyse(frames, embedding) for embedding in frames.embeddings])


def test_the_only_cell_names_its_start_with_its_step_and_its_certainty(tmp_path: Path):
    whole = report(tmp_path, seeds=(0, 1, 2))
    title = finding(whole)
    assert re.fullmatch(
        r"For digits, take fine-tuning both networks from numerals: FID [\d.]+ instead of [\d.]+ at step 200 "
        r"\(gain ×[\d.]+ to ×[\d.]+\)\.",
        title,
    )
    assert render(whole.frames).startswith(f"# {title}\n")

    (analysis,) = whole.analyses

    def with_best(**values: Any) -> str:
        return finding(replace(whole, analyses=[replace(analysis, best=analysis.best.assign(**values))]))

    undecided = with_best(outcome=Outcome.NOT_APART)
    assert undecided == "No start is told apart from scratch on digits; fine-tuning both networks from numerals is first."
    assert with_best(gain=-0.5).startswith("For digits, train from scratch: every start is worse at step 200.")
    assert with_best(lost=1) == "Every start on digits lost a seed, so none is named."
    for text in (title, undecided):
        assert len(text.split()) <= 20


def test_one_seed_tells_nothing(tmp_path: Path):
    assert finding(report(tmp_path)).endswith("; too few seeds to tell whether that is chance.")


def test_of_several_cells_those_where_a_start_is_better_are_counted(tmp_path: Path):
    assert (
        finding(report(tmp_path / "a", sizes=(50, 200), seeds=(0, 1, 2))) == "A start is better than scratch in 2 of 2 cells."
    )
    assert finding(report(tmp_path / "b", sizes=(50, 200))) == (
        "In none of 2 cells is a start told apart from training from scratch."
    )


def test_with_several_embeddings_the_first_is_named(tmp_path: Path):
    assert finding(report(tmp_path, embeddings=("builtin:1", "inception:2"))).endswith(", in the embedding builtin:1.")


def test_without_results_the_question_is_the_title(tmp_path: Path):
    frames = load(open_store(str(tmp_path), create=True))
    assert finding(Report(frames, [])) == QUESTION
