"""The report's sentences: the answer of each cell, what holds over all cells, and the caveats."""

import re
from pathlib import Path

import pytest

from analysis.frames import load, records
from analysis.report.content.answers import _headline, answers
from analysis.report.content.summary import by_question, caveats
from analysis.statistics import analyse
from analysis.transfer.transferability import ranking
from bench.store import Store
from tests.analysis.test_savings import make, run
from tests.support.pages import FAR
from tests.support.synthetic import build, uniform


def sentences(store: Store) -> str:
    frames = load(store)
    analysis = analyse(frames, frames.embeddings[0])
    cells = answers(analysis, frames.trials)
    parts = [line for answer in cells for line in (answer.headline, *answer.details)]
    overall = [line for _, lines in by_question(analysis) for line in lines]
    return "\n".join([*parts, *overall, *caveats(analysis, frames.trials)])


@pytest.mark.slow
def test_the_answer_names_winner_step_and_scratch_at_the_same_step(tmp_path: Path) -> None:
    store = build(tmp_path, keep=1.0)
    text = sentences(store)
    curves = load(store).curves
    last = curves[(curves["metric"] == "fid") & (curves["step"] == 200) & (curves["size"] == 50)]
    best, scratch = last["value"].min(), last.loc[last["strategy"] == "scratch", "value"].item()
    expected = f"With 50 images of digits, fine-tuning both networks from numerals reaches FID {best:.1f} at step 200; "
    assert f"{expected}from scratch {scratch:.1f} ({scratch / best:.1f} times as high)." in text
    assert re.search(r"At the first rung, step 50: FID [\d.]+ with the transfer, [\d.]+ from scratch \(", text)
    assert "The nearest source, numerals (distance 20.0), was also the best." in text
    assert "12 of 12 transfer trials had a lower FID than scratch at the last step that both reached." in text
    assert "KID names the same winner." in text
    assert "Best method over 2 cells: fine-tuning both networks from numerals in 2." in text
    assert "The nearest source by distance was also the best one in 2 of 2 cells." in text
    assert "median rank correlation of −1.00 (nearer sources help more) over 6 groups of 4 sources each" in text
    assert "One seed per method" in text
    assert "embedding builtin:1a2b3c4d5e6f from 1,000 generated images" in text


@pytest.mark.slow
def test_savings_have_their_intervals_and_bounds(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, sources=FAR, sizes=(50, 200, 2000), seeds=(0, 1, 2), keep=1.0, images=False))
    assert "a data multiplier of at least 40.0×, at step 200." in text
    assert "As good as scratch with 2,000 images or more" in text
    assert re.search(r"Scratch's best FID, at step 200, was reached by step \d+: a speed-up of \d\.\d× \(95 % interval: ", text)
    assert "is as good as scratch with at least 10.0× the images in the median of 3 cells" in text
    assert re.search(r"Of 36 transfers, \d+ are better than scratch and 0 worse by more than the spread between seeds", text)
    assert "An order as strong as this may well be chance." in text, "four sources and one target"
    assert "starting from it gives ×1.00 the FID of the best source, from a random source ×1." in text


@pytest.mark.slow
def test_without_an_effect_the_answer_says_so(tmp_path: Path) -> None:
    """Strategies without a head start, from sources whose distance means nothing."""
    sources = {name: 1e6 + uniform(name) for name in "abcde"}
    text = sentences(
        build(tmp_path, sources=sources, targets=("digits", "faces"), seeds=(0, 1, 2), sizes=(50,), keep=1.0, images=False)
    )
    assert "No transfer differs from training from scratch by more than the spread between seeds explains" in text
    assert "the gain changes with" not in text
    assert "ways to measure the distance predicts which source helps more" in text or "may well be chance" in text


@pytest.mark.slow
def test_the_answer_states_what_is_missing(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, faults=True, seeds=(0, 1), keep=0.3))
    assert "not finished yet." in text
    assert "failed, diverged or were blocked." in text
    assert "stopped early by the stopping rule" in text
    assert "means over 2 seeds" in text


@pytest.mark.slow
def test_the_answer_without_scratch_and_without_transfer(tmp_path: Path) -> None:
    assert "training from scratch does not have a result yet." in sentences(build(tmp_path / "a", strategies=("finetune",)))
    only_scratch = sentences(build(tmp_path / "b", strategies=("scratch",)))
    assert "With 50 images of digits, training from scratch reaches FID" in only_scratch
    assert "no transfer has a result yet." in only_scratch


def test_the_answer_when_transfer_does_not_help(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, sources={"noise": 900.0}, strategies=("scratch", "finetune-g"), sizes=(500,), seeds=(1,)))
    assert re.search(r"no transfer beats training from scratch, which reaches FID \d+\.\d at step 200; the best, ", text)


@pytest.mark.slow
def test_a_new_strategy_needs_no_change_here(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, strategies=("scratch", "freeze-d", "mine"), keep=1.0))
    assert "from numerals reaches FID" in text


def test_the_headline_states_which_method_continued_and_which_diverged() -> None:
    ours = [run({50: 12.0, 100: 8.0 + seed, 200: 6.0 + seed}, seed=seed) for seed in (0, 1)]
    theirs = [run({50: 40.0, 100: 20.0, 200: 9.0}, "scratch"), run({50: 40.0, 100: 22.0}, "scratch", "stopped", 1)]
    curves = make([*ours, *theirs]).assign(target_label="a, b", cell_label="a, b, 16 px, 100 images")
    assert _headline(curves, records(ranking(curves))) == (
        "With 100 images of a, b (16 px), fine-tuning both networks from s reaches FID 8.5 at step 100; from scratch 21.0 (2.5 "
        "times as high, means over 2 seeds). The transfer continued to FID 6.5 at step 200, and 1 of 2 seeds of scratch to FID "
        "9.0."
    )
    lost = make([run({50: 12.0}, status="diverged"), run({50: 40.0, 200: 9.0}, "scratch")])
    assert _headline(lost, records(ranking(lost))).endswith(
        "Scratch continued alone to FID 9.0 at step 200. The transfer diverged later, in 1 of 1 seed."
    )
