"""The methods of a cell: where they are compared, which are final, and how seeds that are lost or stopped count."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.comparison.cells import Cell, cells, rank_test
from analysis.comparison.reference_error import log_variance
from analysis.transfer.transferability import ranking
from tests.analysis.test_transferability import GOOD, SCRATCH, STOPPED, make_curves


def one(*trials: tuple[str, str | None, int, str, dict[int, float]]) -> Cell:
    (cell,) = cells(make_curves(*trials))
    return cell


def order(cell: Cell) -> list[tuple[str, int, bool]]:
    return [(method.names["strategy"], method.step, method.final) for method in cell.methods]


def test_methods_are_ranked_at_the_budget_and_a_stopped_one_is_last() -> None:
    cell = one(SCRATCH, GOOD, STOPPED, ("other", "near", 0, "done", {50: 10.0, 200: 20.0}))
    assert cell.step == 200
    assert order(cell) == [("finetune", 200, True), ("other", 200, True), ("scratch", 200, True), ("finetune", 100, False)]
    ranked = ranking([cell])
    assert ranked["value"].tolist() == pytest.approx([16.0, 20.0, 32.0, 64.0])
    assert ranked["final"].tolist() == [True, True, True, False]


def test_the_value_of_a_method_is_the_geometric_mean_over_its_seeds() -> None:
    seeds = [("finetune", "near", seed, "done", {50: value}) for seed, value in enumerate((16.0, 64.0))]
    (row,) = ranking([one(*seeds)]).to_dict("records")
    assert (row["value"], row["low"], row["high"], row["seeds"], row["trial"]) == (pytest.approx(32), 16.0, 64.0, 2, "c0")


def test_an_unfinished_cell_is_compared_at_the_last_step_of_scratch_and_a_transfer() -> None:
    scratch = ("scratch", None, 0, "unfinished", {50: 100.0, 100: 80.0})
    waiting = ("other", "near", 0, "unfinished", {50: 60.0})
    assert order(one(scratch, GOOD, waiting)) == [("finetune", 100, True), ("scratch", 100, True), ("other", 50, False)]
    nothing = one(("scratch", None, 0, "unfinished", {25: 100.0}), GOOD)
    assert (nothing.step, [method.final for method in nothing.methods]) == (None, [False, False])


def test_two_seeds_that_went_on_stand_for_a_method_and_one_does_not() -> None:
    seeds = [("other", "near", seed, "done", {50: 30.0, 200: 20.0 + seed}) for seed in range(2)]
    cut = ("other", "near", 2, "stopped", {50: 10.0})
    two, one_left = one(SCRATCH, *seeds, cut), one(SCRATCH, GOOD, seeds[0], cut)
    assert two.methods[0].logs == pytest.approx(np.log2([20.0, 21.0]))
    assert order(one_left)[-1] == ("other", 50, False), "its last step with both seeds"


def test_a_lost_seed_counts_as_the_worst() -> None:
    lucky = ("other", "near", 0, "done", {50: 30.0, 200: 1.0})
    lost = [("other", "near", seed, "diverged", {50: math.nan}) for seed in (1, 2)]
    cell = one(SCRATCH, GOOD, lucky, *lost)
    assert [(m.names["strategy"], m.lost) for m in cell.methods] == [("finetune", 0), ("scratch", 0), ("other", 2)]
    difference = cell.difference(cell.methods[1], cell.methods[2])
    assert math.isnan(difference.value)
    assert difference.p == 1.0, "one against three: no order of ranks is significant"


def test_values_without_a_logarithm_are_counted() -> None:
    cell = one(SCRATCH, GOOD, ("other", "near", 0, "done", {50: 10.0, 200: 0.0}))
    assert (cell.unusable, order(cell)[-1]) == (1, ("other", 50, False))
    assert cells(make_curves(("finetune", "near", 0, "done", {50: 0.0}))) == []


@pytest.mark.parametrize("counts", [(3, 3), (2, 5), (8, 8)])
def test_rank_test_is_mann_whitneys(counts: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(counts))
    values = [random.normal(size=count) + 8 for count in counts]
    trials = [
        (name, source, seed, "done", {50: float(2**value)})
        for name, source, of_method in (("scratch", None, values[0]), ("finetune", "near", values[1]))
        for seed, value in enumerate(of_method)
    ]
    cell = one(*trials)
    first, second = sorted(cell.methods, key=lambda m: not m.is_scratch)
    method = "exact" if sum(counts) <= 14 else "asymptotic"
    assert rank_test(first, second) == pytest.approx(stats.mannwhitneyu(*values, method=method).pvalue)


def test_the_difference_has_satterthwaites_degrees_of_freedom_and_the_error_of_the_reference() -> None:
    """Against scipy's Welch test; with replicates, the variance over them is added once, as both share the draws."""
    random = np.random.default_rng(0)
    ours, theirs = random.normal(4, 0.1, 4), random.normal(5, 0.3, 3)
    trials = [("finetune", "near", k, "done", {50: float(2**v)}) for k, v in enumerate(ours)]
    trials += [("scratch", None, k, "done", {50: float(2**v)}) for k, v in enumerate(theirs)]
    curves = make_curves(*trials)
    (cell,) = cells(curves)
    assert cell.scratch is not None
    difference = cell.difference(cell.scratch, cell.methods[0])
    expected = stats.ttest_ind(theirs, ours, equal_var=False)
    assert difference.p == pytest.approx(expected.pvalue)
    assert difference.freedom == pytest.approx(expected.df)
    draws = random.normal(0, 0.2, 50)
    shift = {"finetune": 2.0, "scratch": 1.0}  # the draw of the reference moves the transfer twice as much
    replicates = [row["value"] * 2 ** (shift[row["strategy"]] * draws) for row in curves.to_dict("records")]
    (noisy,) = cells(curves.assign(replicates=pd.Series(replicates, dtype="object")))
    assert noisy.scratch is not None
    more = noisy.difference(noisy.scratch, noisy.methods[0])
    of = {
        name: [v for v, row in zip(replicates, curves.to_dict("records"), strict=True) if row["strategy"] == name]
        for name in shift
    }
    assert more.error**2 - difference.error**2 == pytest.approx(log_variance(of["scratch"], of["finetune"]))
    assert log_variance(of["scratch"], of["finetune"]) == pytest.approx(draws.var(ddof=1), rel=0.2)
