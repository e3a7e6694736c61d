"""The variance between the seeds of methods that start from several trainings of a source, against an analysis of variance."""

import math

import numpy as np
import pytest

from analysis.comparison.cells import Cell, Method, cells
from analysis.comparison.seeds import Seeds, blocked_variance, pooled_variance
from analysis.comparison.significance import t_tests
from tests.analysis.test_transferability import make_curves


def seeds(method: str, logs: "list[float] | np.ndarray", trainings: list[str] | None = None) -> Seeds:
    """Return the seeds of a method, one from each training."""
    trials = tuple(f"{method}{number}" for number in range(len(logs)))
    return Seeds(trials, np.array(logs, float), [], tuple(trainings or [None] * len(logs)))


def test_the_units_are_trials_unless_there_are_several_trainings():
    assert seeds("a", [1.0, 3.0]).units == seeds("a", [1.0, 3.0], ["x", "x"]).units == ("a0", "a1")
    several = seeds("a", [1.0, 3.0, 4.0, 8.0], ["y", "x", "y", "x"])
    assert several.units == ("x", "y")
    assert several.logs == pytest.approx([5.5, 2.5])


def test_independent_methods_have_the_freedom_of_all_their_units():
    spread = pooled_variance([seeds("a", [0.0, 2.0]), seeds("b", [0.0, 0.0, 3.0]), seeds("c", [5.0])])
    assert spread == (pytest.approx((2 + 6) / 3), 3)
    assert pooled_variance([seeds("a", [1.0])])[1] == 0
    assert math.isnan(pooled_variance([])[0])


def test_methods_that_vary_together_have_the_freedom_of_one():
    together = [seeds(name, np.array([0.0, 1.0, 5.0]) + shift, ["x", "y", "z"]) for shift, name in enumerate("abc")]
    assert pooled_variance(together) == (pytest.approx(7.0), pytest.approx(2.0))
    opposite = [seeds("a", [0.0, 1.0], ["x", "y"]), seeds("b", [1.0, 0.0], ["x", "y"])]
    assert pooled_variance(opposite)[1] == pytest.approx(1.0)


def test_the_blocked_variance_is_the_residual_of_a_two_way_analysis_of_variance():
    random = np.random.default_rng(0)
    tables = [random.normal(size=(3, 4)) + random.normal(size=4) * 5 for _ in range(2)]
    groups = [
        seeds(f"{source}{row}", table[row], [f"{source}{column}" for column in range(4)])
        for source, table in enumerate(tables) for row in range(3)
    ]  # fmt: skip
    squares, freedom = 0.0, 0
    for table in tables:
        design = np.array([[*np.eye(3)[m], *np.eye(4)[t]] for m in range(3) for t in range(4)])
        fitted, _, rank, _ = np.linalg.lstsq(design, table.ravel(), rcond=None)
        squares, freedom = squares + float(np.square(table.ravel() - design @ fitted).sum()), freedom + 12 - rank
    assert blocked_variance(groups) == (pytest.approx(squares / freedom), freedom)
    assert blocked_variance([seeds("a", [0.0, 2.0]), seeds("b", [0.0, 2.0])])[1] == 0, "no trainings in common"


def test_seeds_of_one_training_count_once_and_intervals_widen():
    """Two trainings of the source differ by far more than the two seeds that start from each."""
    scratch = [("scratch", None, seed, "done", {50: 100.0 + seed}) for seed in range(4)]
    logs = {0: 4.0, 1: 6.0, 2: 4.1, 3: 6.1}
    curves = make_curves(*scratch, *(("finetune", "near", seed, "done", {50: 2**log}) for seed, log in logs.items()))
    of_transfer = curves["strategy"] == "finetune"
    (one,) = cells(curves.assign(parent=None))
    (two,) = cells(curves.assign(parent=np.where(of_transfer, "training " + (curves["seed"] % 2).astype(str), None)))
    assert [len(cell.transfers[0].logs) for cell in (one, two)] == [4, 2]
    assert two.transfers[0].logs == pytest.approx([4.05, 6.05])
    assert t_tests([two])["seeds"].tolist() == [4], "the page counts the trials"
    margins = [cell.difference(cell.scratch, cell.transfers[0]).margin(0.05) for cell in (one, two) if cell.scratch]
    assert margins[1] > 5 * margins[0]


@pytest.mark.parametrize("shared", [0.0, 1.0, 3.0], ids=lambda shared: f"trainings vary by {shared:g}")
def test_tests_hold_their_level_with_a_few_trainings_of_each_source(shared: float):
    """2,000 null cells of scratch and three strategies from each of two sources, with three seeds from three trainings."""
    random, count = np.random.default_rng(1), 2000
    rejected = {"scratch": 0, "strategies": 0}
    labels = {source: [f"{source}{number}" for number in range(3)] for source in "ab"}

    def method(strategy: str, source: str | None, logs: np.ndarray) -> Method:
        of_seeds = seeds(f"{strategy} {source} ", logs, labels[source] if source else None)
        return Method({"strategy": strategy, "source": source}, {50: of_seeds}, 50, 0, final=True)

    for _ in range(count):
        scratch = method("scratch", None, random.normal(size=3) * math.hypot(1, shared))
        transfers = []
        for source in "ab":
            trainings = random.normal(size=3) * shared
            for strategy in ("finetune", "finetune-g", "finetune-d"):
                transfers.append(method(strategy, source, random.normal(size=3) + trainings))
        cell = Cell({}, 50, (scratch, *transfers), 0)
        rejected["scratch"] += cell.difference(scratch, transfers[0]).p < 0.05
        rejected["strategies"] += cell.difference(transfers[0], transfers[1]).p < 0.05
    assert all(times / count < 0.06 for times in rejected.values()), rejected
    assert rejected["strategies"] / count > 0.035, "the variance of strategies is that of their differences"
