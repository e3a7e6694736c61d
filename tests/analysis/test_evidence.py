"""The part of a store that a recommendation is based on, and the sentences on its limitations."""

from pathlib import Path

import pytest

from analysis.frames import load, records
from analysis.prediction.evidence import Evidence, at_size, doubts, evidence, in_words
from analysis.prediction.recommender import observed, ranked
from bench.store import open_store
from tests.support.synthetic import EMBEDDING, SOURCES, build
from trainers.common.errors import UserError

TARGETS = ("t1", "t2", "t3")


def advised(folder: Path, target: str = "new", **changes: object) -> tuple[Evidence, list[dict[str, object]], str]:
    """Return the evidence of a synthetic store, the ranked starts, and the notes and limitations as one text."""
    frames = load(build(folder, images=False, **changes))  # type: ignore[arg-type]
    result = at_size(evidence(frames, target), 60, target)
    best = ranked(observed(result.gains, frames.trials), SOURCES)
    return result, records(best), " ".join([*result.notes, *doubts(best, [])])


def test_the_part_with_the_most_targets_is_taken_and_the_rest_noted(tmp_path: Path):
    build(tmp_path, sweep="large", targets=("t1", "t2"), resolution=32, sizes=(50,), images=False)
    result, rows, text = advised(tmp_path, targets=TARGETS, conditional=(True, False), sizes=(50, 500))
    assert (result.embedding, result.resolution, result.conditional) == (EMBEDDING, 16, False)
    assert set(result.gains["size"]) == {50}
    assert set(result.gains["sweep"]) == {"quickstart"}
    assert result.sources == sorted(SOURCES)
    assert f"not those in {EMBEDDING} at 16 pixels with labels; in {EMBEDDING} at 32 pixels without labels" in text
    assert "for 50 training images, the nearest in the store to 60" in text
    assert rows[0]["strategy"] == "finetune"
    assert rows[0]["basis"] == "distance"
    assert rows[0]["targets"] == 3


def test_too_few_targets_are_reported(tmp_path: Path):
    result, rows, text = advised(tmp_path, sizes=(50,))
    assert "results on 1 target, and at least 3 are needed" in text
    assert "The order is by distance alone" in text
    assert {row["gain"] for row in rows} == {None}
    assert in_words(rows[0]) == "Fine-tuning both networks from numerals is the start from the nearest source (distance 18)."
    assert result.cell_of("new") is None
    assert result.cell_of("digits") is not None


def test_a_part_with_the_target_itself_is_taken_first(tmp_path: Path):
    build(tmp_path, sweep="large", targets=("digits",), resolution=32, sizes=(50,), images=False)
    result, _, text = advised(tmp_path, "digits", targets=TARGETS, sizes=(50,))
    assert result.resolution == 32
    assert "for 50 training images, the nearest in the store to 60" in text


def test_missing_distances_are_reported_and_passed_on(tmp_path: Path):
    frames = load(build(tmp_path, targets=TARGETS, sizes=(50,), images=False))
    result = evidence(frames, "new")
    best = ranked(observed(result.gains, frames.trials), {})
    lines = doubts(best, ["The embedding is not here."])
    assert lines[0] == "The embedding is not here."
    assert "Too few sources have a known distance: the order is by mean gain." in lines


def test_a_start_not_better_than_scratch_is_reported(tmp_path: Path):
    frames = load(build(tmp_path, targets=TARGETS, sizes=(50,), keep=1.0, images=False))
    result = evidence(frames, "new")
    best = ranked(observed(result.gains, frames.trials), SOURCES)
    sure = best.assign(p=0.01)
    assert doubts(sure, []) == []
    assert in_words(records(sure)[0]).startswith(
        "Fine-tuning both networks from numerals: the gain over scratch at step 200 is "
    )
    assert "p = 0.01), from distance and mean gain of 3 trials on 3 targets." in in_words(records(sure)[0])
    assert doubts(best.assign(p=0.5), []) == ["The first start is not told apart from training from scratch."]
    assert doubts(sure.assign(gain=-1.0), []) == ["Training from scratch is predicted to be better than every start."]
    assert "distance does not predict the gain" in doubts(sure.assign(slope=0.0), [])[0]


def test_gains_that_are_estimated_are_counted(tmp_path: Path):
    frames = load(build(tmp_path, targets=TARGETS, sizes=(50,), images=False))
    starts = ranked(observed(evidence(frames, "new").gains, frames.trials), SOURCES)
    assert starts["estimated"].sum() > 0
    counted = doubts(starts.assign(estimated=2), [])[0]
    assert (
        counted == f"{2 * len(starts)} gains at step 200 behind these predictions are estimated from early gains, as the "
        "trials were stopped."
    )


def test_a_store_without_gains_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="nothing to base a recommendation on"):
        evidence(load(open_store(str(tmp_path / "empty"), create=True)), "new")
    with pytest.raises(UserError, match="nothing to base a recommendation on"):
        evidence(load(build(tmp_path / "some", strategies=("finetune",), images=False)), "new")
