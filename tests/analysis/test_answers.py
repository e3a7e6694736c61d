"""The report's sentences: the answer of each cell, what holds over all cells, and the caveats."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from analysis.claims import Outcome
from analysis.comparison.best import named
from analysis.comparison.cells import cells
from analysis.comparison.significance import t_tests
from analysis.frames import load, records
from analysis.report.sentences.answers import _headline, answers
from analysis.report.sentences.summary import by_question, caveats
from analysis.statistics import Analysis, analyse
from bench.store import Store
from tests.analysis.test_savings import Trial, make, run
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
def test_the_answer_names_the_first_start_with_its_step_and_says_what_one_seed_can_show(tmp_path: Path) -> None:
    store = build(tmp_path, keep=1.0)
    text = sentences(store)
    curves = load(store).curves
    last = curves[(curves["metric"] == "fid") & (curves["step"] == 200) & (curves["size"] == 50)]
    best, scratch = last["value"].min(), last.loc[last["strategy"] == "scratch", "value"].item()
    assert (
        f"With 50 images of digits, fine-tuning both networks from numerals has FID {best:.1f} at step 200, from scratch "
        f"{scratch:.1f}: gain ×{scratch / best:.2f}, which one seed cannot test"
    ) in text
    assert "The nearest source, numerals (distance 20.0), is also the source of this start." in text
    assert "By KID the same start is first at step 200 (mean over seeds, not tested)." in text
    assert "In none of 2 cells is the first start told apart from scratch as better; 2 of them cannot be tested." in text
    assert "One seed per method: no difference between methods can be tested." in text
    assert "embedding builtin:1a2b3c4d5e6f from 1,000 generated images" in text


@pytest.mark.slow
def test_a_start_that_is_told_apart_has_its_interval_and_what_else_is_not(tmp_path: Path) -> None:
    store = build(tmp_path, keep=1.0, seeds=(0, 1, 2), sizes=(50,), images=False)
    text = sentences(store)
    frames = load(store)
    (row,) = records(analyse(frames, frames.embeddings[0]).best)
    assert row["outcome"] == Outcome.APART
    assert (
        "fine-tuning both networks from numerals is better than scratch: FID "
        f"{row['value']:.1f} at step 200, from scratch {row['scratch']:.1f}; gain ×{2 ** row['gain']:.2f} (95 % interval "
        f"×{2 ** row['low']:.2f} to ×{2 ** row['high']:.2f}, "
    ) in text
    assert ", 3 seeds), corrected for 12 comparisons." in text
    assert re.search(r"It is (not told apart from \d+ other start|told apart from (all|the only))", text)
    assert re.search(r"Of 12 transfers compared with scratch at step 200, \d+ are told apart as better and 0 as worse", text)


@pytest.mark.slow
def test_savings_have_their_intervals_and_bounds(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, sources=FAR, sizes=(50, 200, 2000), seeds=(0, 1, 2), keep=1.0, images=False))
    assert re.search(
        r"a data multiplier of at least 40\.0×( \(95 % .*?12 starts\))?, at step 200, told apart from 1× \(p", text
    )
    assert "As good as scratch with 2,000 images or more" in text
    speed_up = (
        r"Scratch's best FID, at step 200, was reached by step \d+: a speed-up of \d\.\d× \(95 % interval: .*?, simultaneous"
    )
    assert re.search(speed_up + r" over 12 starts\), told apart from 1× \(p", text)
    assert "The data multiplier of the first start, at step 200, is told apart from 1× for digits, 50 images: at least" in text
    assert "digits, 2,000 images: at least" not in text, "scratch has no larger size to compare with"
    assert "median" not in text
    assert "Whether a distance predicts the gain at step 200 cannot be tested with 4 sources." in text


@pytest.mark.slow
def test_without_an_effect_the_answer_says_so(tmp_path: Path) -> None:
    """Strategies without a head start, from sources whose distance means nothing."""
    sources = {name: 1e6 + uniform(name) for name in "abcde"}
    text = sentences(
        build(tmp_path, sources=sources, targets=("digits", "faces"), seeds=(0, 1, 2), sizes=(50,), keep=1.0, images=False)
    )
    assert "In none of 2 cells is the first start told apart from scratch as better." in text
    assert "the gain changes with" not in text
    assert "No distance is told apart from chance as a predictor of the gain at step 200. The strongest mean rank" in text
    assert "the first source with" not in text or "It is not told apart from" in text


@pytest.mark.slow
def test_the_answer_states_what_is_missing(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, faults=True, seeds=(0, 1), keep=0.3))
    assert "not finished yet." in text
    assert "failed, diverged or were blocked." in text
    assert re.search(r"The stopping rule stopped \d+ trials early\. Their values at the budget are unknown", text)
    assert re.search(r"\d+ starts ended before the final step, at step", text)


@pytest.mark.slow
def test_the_answer_without_scratch_and_without_transfer(tmp_path: Path) -> None:
    assert "training from scratch does not have a result yet." in sentences(build(tmp_path / "a", strategies=("finetune",)))
    only_scratch = sentences(build(tmp_path / "b", strategies=("scratch",)))
    assert "With 50 images of digits, training from scratch reaches FID" in only_scratch
    assert "no transfer has a result yet." in only_scratch


@pytest.mark.slow
def test_a_new_strategy_needs_no_change_here(tmp_path: Path) -> None:
    text = sentences(build(tmp_path, strategies=("scratch", "freeze-d", "mine"), keep=1.0))
    assert re.search(r"(freeze-d|mine) from numerals has FID", text)


def headline(*trials: Trial) -> str:
    """Return the headline of the only cell with these trials."""
    curves = make(trials).assign(target_label="a, b", cell_label="a, b, 16 px, 100 images")
    table = cells(curves)
    tests = t_tests(table)
    errors = dict.fromkeys(zip(curves["trial"], curves["step"], strict=True), 0.1)
    analysis = SimpleNamespace(curves=curves, significance=tests, fid_errors=errors)
    return _headline(cast("Analysis", analysis), table[0], records(named(table, tests))[0], len(tests))


def seeds(values: tuple[float, ...], strategy: str = "finetune", step: int = 200, budget: str = "done") -> list[Trial]:
    return [run({50: 2 * value, step: value}, strategy, budget, seed) for seed, value in enumerate(values)]


def test_a_headline_has_one_of_three_outcomes() -> None:
    scratch = seeds((20.0, 21.0, 22.0), "scratch")
    assert headline(*seeds((10.0, 10.2, 10.4)), *scratch).startswith(
        "With 100 images of a, b (16 px), fine-tuning both networks from s is better than scratch: FID 10.2 at step 200, from "
        "scratch 21.0; gain ×2.06 (95 % interval ×1.86 to ×2.28, p < 0.001, 3 seeds)."
    )
    assert headline(*seeds((40.0, 40.2, 40.4)), *scratch).startswith(
        "With 100 images of a, b (16 px), training from scratch is better than every start. The first, fine-tuning both"
    )
    assert "no start is told apart from scratch. First is fine-tuning both networks from s: FID 20.0" in headline(
        *seeds((18.0, 20.0, 22.2)), *scratch
    )
    assert "gain ×2.00, which one seed cannot test; the FIDs differ beyond their evaluation error (±0.277)." in headline(
        *seeds((10.0,)), *seeds((20.0,), "scratch")
    )


def test_a_headline_before_the_budget_is_provisional() -> None:
    text = headline(*seeds((10.0, 10.2), step=100, budget="unfinished"), *seeds((20.0, 21.0), "scratch", 100, "unfinished"))
    assert text.endswith("Provisional: step 100 is before the budget of 200.")


def test_a_headline_names_no_start_whose_seeds_were_lost() -> None:
    lost = run({50: math.nan}, status="diverged", seed=1)
    assert headline(*seeds((10.0,)), lost, *seeds((20.0, 21.0), "scratch")).endswith(
        "every start lost a seed, so none is named; fine-tuning both networks from s lost the fewest, 1."
    )
