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
    result = at_size(evidence(frames), 60)
    best = ranked(observed(result.gains, frames.trials), SOURCES)
    return result, records(best), " ".join([*result.notes, *doubts(result, best, target, [])])


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


def test_too_few_targets_and_a_known_target_are_reported(tmp_path: Path):
    _, rows, text = advised(tmp_path, "digits", sizes=(50,))
    assert "results on 1 target; at least 3 are needed" in text
    assert "on this target itself" in text
    assert {row["low"] for row in rows} == {None}
    assert "nearest" not in in_words(rows[0])
    assert in_words(rows[0]).startswith("Fine-tuning both networks from numerals: FID from scratch is predicted to be ")
    assert "1 trial on 1 target" in in_words(rows[0])


def test_missing_distances_are_reported_and_passed_on(tmp_path: Path):
    frames = load(build(tmp_path, targets=TARGETS, sizes=(50,), images=False))
    result = evidence(frames)
    best = ranked(observed(result.gains, frames.trials), {})
    lines = doubts(result, best, "new", ["The embedding is not here."])
    assert lines[0] == "The embedding is not here."
    assert "Too few sources have a known distance: the order is by mean gain." in lines


def test_a_start_not_better_than_scratch_is_reported(tmp_path: Path):
    frames = load(build(tmp_path, targets=TARGETS, sizes=(50,), images=False))
    result = evidence(frames)
    best = ranked(observed(result.gains, frames.trials), SOURCES)
    assert not [line for line in doubts(result, best, "new", []) if "scratch" in line]
    unsure = best.assign(low=best["gain"] - 9)
    assert "not significantly better than training from scratch" in doubts(result, unsure, "new", [])[-1]
    assert "No start is predicted to be better" in doubts(result, best.assign(gain=-1.0), "new", [])[-1]
    assert "distance does not predict the gain" in doubts(result, best.assign(slope=0.0), "new", [])[0]


def test_a_store_without_gains_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="nothing to base a recommendation on"):
        evidence(load(open_store(str(tmp_path / "empty"), create=True)))
    with pytest.raises(UserError, match="nothing to base a recommendation on"):
        evidence(load(build(tmp_path / "some", strategies=("finetune",), images=False)))
