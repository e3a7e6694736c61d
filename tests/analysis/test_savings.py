"""Data multiplier and speed-up by hand and on simulated curves, and the coverage of their intervals."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from analysis.claims import Outcome
from analysis.transfer.crossings import crossing, non_increasing
from analysis.transfer.savings import NO_TREND, UNTESTED, claims, data_multiplier, speed_up
from tests.support.endurance import repeats

Trial = tuple[str, str | None, int, int, str, dict[int, float]]


def make(trials: Iterable[Trial]) -> pd.DataFrame:
    """Return curves from rows (strategy, source, size, seed, status, {step: FID})."""
    rows: list[dict[str, Any]] = []
    for number, (strategy, source, size, seed, status, curve) in enumerate(trials):
        common = {"kind": "adapt", "metric": "fid", "embedding": "e", "target": "t", "target_label": "t", "family": "t"}
        common |= {"conditional": False, "resolution": 16, "budget": 200, "censored": status == "stopped", "parent": None}
        common |= {"strategy": strategy, "source": source, "source_label": source, "size": size, "seed": seed}
        common |= {"status": status, "trial": f"k{number}", "cell": f"c{size}", "cell_label": f"t, {size} images"}
        common |= {"lost": status in ("diverged", "failed"), "cut": status == "stopped", "confirmation": False}
        rows += [{**common, "step": step, "value": value} for step, value in curve.items()]
    return with_lost_seeds(pd.DataFrame(rows))


def with_lost_seeds(curves: pd.DataFrame) -> pd.DataFrame:
    """Add the number of lost seeds of each method, as `analysis.frames` does."""
    trials = curves.drop_duplicates("trial")
    lost = trials.groupby(["cell", "strategy", "source"], dropna=False)["lost"].transform("sum")
    return curves.assign(lost_seeds=curves["trial"].map(dict(zip(trials["trial"], lost, strict=True))))


def at_200(strategy: str, source: str | None, values: dict[int, float], status: str = "done", seed: int = 0) -> list[Trial]:
    return [(strategy, source, size, seed, status, {50: 2 * value, 200: value}) for size, value in values.items()]


SCRATCH = at_200("scratch", None, {100: 80.0, 400: 40.0, 1600: 20.0})  # halves as the size quadruples


def multipliers(curves: pd.DataFrame) -> dict[int, tuple[float, str]]:
    table = data_multiplier(curves, tested=False)
    return {row["size"]: (row["multiplier"], row["bound"]) for row in table.to_dict("records")}


def test_the_error_of_the_reference_images_is_part_of_a_speed_ups_interval_and_test():
    curves = make([
        (name, source, 100, seed, "done", {50: 80.0 * factor + seed, 200: 40.0 * factor + seed})
        for name, source, factor in (("scratch", None, 1.0), ("finetune", "s", 0.8)) for seed in range(3)
    ])  # fmt: skip
    random = np.random.default_rng(0)
    of_method = {name: random.lognormal(0, 0.3, 400) for name in ("scratch", "finetune")}
    exact = {name: np.ones(400) for name in of_method}
    rows = [speed_up(curves.assign(replicates=curves["strategy"].map(draws).to_list())).iloc[0] for draws in (exact, of_method)]
    assert rows[0]["multiplier"] == rows[1]["multiplier"]
    assert rows[0]["p"] < 0.02 < 0.1 < rows[1]["p"]
    assert rows[1]["low"] < rows[0]["low"] < rows[0]["high"]


def test_an_outcome_never_contradicts_its_interval():
    """Two seeds of scratch happen to be equal: the t-test has many degrees of freedom, and the interval still includes 1."""
    values = {"scratch": (40.0, 40.1), "finetune": (30.0, 33.0), "other": (39.0, 42.0), "another": (50.0, 55.0)}
    curves = make([
        (name, None if name == "scratch" else "s", 100, seed, "done", {50: 2 * value, 200: value})
        for name, pair in values.items() for seed, value in enumerate(pair)
    ])  # fmt: skip
    for row in speed_up(curves).to_dict("records"):
        assert row["outcome"] != Outcome.APART or not row["low"] <= 1 <= row["high"]
    (row,) = [row for row in speed_up(curves).to_dict("records") if row["strategy"] == "finetune"]
    assert row["low"] < 1 < row["high"]
    assert row["outcome"] == Outcome.NOT_APART


def test_multiplier_of_a_power_law_is_exact():
    result = multipliers(make(SCRATCH + at_200("finetune", "s", {100: 40.0, 400: 40 / math.sqrt(2), 1600: 20.0})))
    assert result == {100: (pytest.approx(4), ""), 400: (pytest.approx(2), ""), 1600: (pytest.approx(1), "")}


def test_beyond_the_sizes_it_is_a_bound():
    assert multipliers(make(SCRATCH + at_200("finetune", "s", {100: 19.0}))) == {100: (pytest.approx(16), "at least")}
    assert multipliers(make(SCRATCH + at_200("finetune", "s", {400: 81.0}))) == {400: (pytest.approx(0.25), "at most")}
    assert multipliers(make(SCRATCH + at_200("finetune", "s", {400: 80.0}))) == {400: (pytest.approx(0.25), "")}


def test_a_transfer_that_stopped_before_the_final_step_has_no_row():
    stopped: Trial = ("finetune", "s", 100, 0, "stopped", {50: 80.0})
    other = at_200("finetune-g", "s", {100: 40.0})
    for table in (
        data_multiplier(make([*SCRATCH, stopped, *other]), tested=False),
        speed_up(make([*SCRATCH, stopped, *other])),
    ):
        assert table["strategy"].tolist() == ["finetune-g"]


def test_a_scratch_that_failed_leaves_its_size_out():
    transfer = at_200("finetune", "s", {100: 40.0})
    failed = [(*SCRATCH[1][:4], "failed", {50: 1.0}), SCRATCH[0], SCRATCH[2]]
    (row,) = data_multiplier(make(failed + transfer), tested=False).to_dict("records")
    assert (row["step"], row["sizes"], row["planned"], row["multiplier"]) == (200, 2, 3, pytest.approx(4))


def test_a_method_that_lost_a_seed_has_no_multiplier_and_says_why():
    lost: Trial = ("finetune", "s", 100, 1, "diverged", {50: 80.0})
    curves = make([*SCRATCH, *at_200("finetune", "s", {100: 40.0}), lost])
    for table in (data_multiplier(curves, tested=False), speed_up(curves)):
        (row,) = table.to_dict("records")
        assert row["why"] == "lost 1 seed"
        assert np.isnan([row["multiplier"], row["low"], row["p"]]).all()
        assert row["outcome"] == Outcome.UNTESTABLE


def test_a_multiplier_needs_images_to_help_scratch():
    one_seed = data_multiplier(make(SCRATCH + at_200("finetune", "s", {100: 40.0})))
    assert set(one_seed["why"]) == {UNTESTED}
    helped = sweep(np.random.default_rng(0), 2.0)
    assert set(data_multiplier(helped)["why"]) == {""}
    worse = helped.assign(value=helped["value"] * helped["size"])
    table = data_multiplier(worse)
    assert set(table["why"]) == {NO_TREND}
    assert table[["multiplier", "equivalent", "p"]].isna().all(axis=None)
    assert len(claims(table, "multiplier")) == 0


@pytest.mark.parametrize("curves", [
    make(SCRATCH), make(at_200("finetune", "s", {100: 40.0})), make(SCRATCH[:1] + at_200("finetune", "s", {100: 40.0})),
    make(SCRATCH + at_200("finetune", "s", {100: math.nan})), make(SCRATCH + at_200("finetune", "s", {100: 0.0})),
    make(SCRATCH + at_200("finetune", "s", {100: math.inf})), make(SCRATCH + at_200("finetune", "s", {100: 4.0}, "failed")),
    make(SCRATCH).iloc[:0],
])  # fmt: skip
def test_nothing_to_compare_is_no_row(curves: pd.DataFrame):
    assert len(data_multiplier(curves, tested=False)) == 0
    assert len(speed_up(make(SCRATCH))) == 0


def test_one_seed_gives_no_interval():
    (row,) = data_multiplier(make(SCRATCH + at_200("finetune", "s", {100: 40.0})), tested=False).to_dict("records")
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["outcome"] == Outcome.UNTESTABLE


def run(curve: dict[int, float], strategy: str = "finetune", status: str = "done", seed: int = 0) -> Trial:
    return (strategy, None if strategy == "scratch" else "s", 100, seed, status, curve)


@pytest.mark.parametrize(("transfer", "status", "expected"), [
    ({50: 60.0, 100: 40.0, 200: 20.0}, "done", (200 / 150, "", 150.0)),  # scratch's best, 30, half-way from 100 to 200
    ({50: 60.0, 100: 30.0, 200: 20.0}, "done", (2.0, "", 100.0)),
    ({50: 25.0, 100: 20.0, 200: 20.0}, "done", (4.0, "at least", 50.0)),
    ({50: 60.0, 100: 40.0, 200: 40.0}, "done", (1.0, "at most", 200.0)),
    ({50: 60.0, 100: 20.0, 200: 99.0}, "done", (200 / 87.5, "", 87.5)),  # reached it, then worsened
])  # fmt: skip
def test_speed_up_by_hand(transfer: dict[int, float], status: str, expected: tuple[float, str, float]):
    scratch = run({0: 400.0, 50: 120.0, 100: 60.0, 200: 30.0}, "scratch")
    (row,) = speed_up(make([scratch, run({0: 300.0, **transfer}, status=status)])).to_dict("records")
    assert (row["multiplier"], row["bound"], row["step"]) == (
        pytest.approx(expected[0]),
        expected[1],
        pytest.approx(expected[2]),
    )
    assert (row["scratch_step"], row["value"]) == (200, pytest.approx(30.0))


def test_scratchs_best_need_not_be_its_last():
    scratch = run({50: 120.0, 100: 30.0, 200: 90.0}, "scratch")
    (row,) = speed_up(make([scratch, run({50: 30.0, 100: 20.0, 200: 20.0})])).to_dict("records")
    assert (row["scratch_step"], row["multiplier"], row["bound"]) == (100, pytest.approx(2.0), "")


def test_crossing_of_several_curves():
    x = np.array([0.0, 1.0, 3.0])
    curves = np.array([[4.0, 2.0, 0.0], [4.0, 2.0, 0.0], [4.0, 2.0, 0.0], [4.0, 4.0, 4.0], [2.0, 3.0, 1.0]])
    at, beyond = crossing(x, curves.T, np.array([1.0, 5.0, -1.0, 4.0, 1.5]))
    assert at.tolist() == pytest.approx([2.0, 0.0, 3.0, 0.0, 2.5])
    assert beyond.tolist() == [0, -1, 1, 0, 0]


def test_isotonic_regression_is_scipys():
    random = np.random.default_rng(0)
    values, weights = random.normal(size=(50, 6)), np.array([1.0, 3.0, 2.0, 2.0, 1.0, 5.0])
    for row, result in zip(values, non_increasing(values, weights), strict=True):
        assert result == pytest.approx(optimize.isotonic_regression(row, weights=weights, increasing=False).x)


# -- intervals ------------------------------------------------------------------------------------------------------------


def sweep(random: np.random.Generator, saved: float, seeds: int = 3, noise: float = 0.1) -> pd.DataFrame:
    """Return a simulated sweep: a power law, with a data multiplier of `saved` at every size."""
    sizes = np.array([100, 200, 400, 800, 1600])
    trials: list[Trial] = []
    for strategy, source, factor in (("scratch", None, 1.0), ("finetune", "s", saved)):
        for size in sizes:
            for seed in range(seeds):
                value = 800 * (factor * size) ** -0.5 * np.exp(noise * random.normal())
                trials.append((strategy, source, int(size), seed, "done", {200: float(value)}))
    return make(trials)


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_of_the_multiplier_cover_the_truth_at_their_rate():
    random, sweeps = np.random.default_rng(1), repeats(30, full=200)
    for saved in (1.0, 2.0):
        covered, apart = [], []
        for _ in range(sweeps):
            result = data_multiplier(sweep(random, saved)).set_index("size")
            covered.append(((result["low"] <= saved) & (saved <= result["high"])).loc[[200, 400]])
            apart.append((result["outcome"] == Outcome.APART).any())
        # Two correlated looks at each sweep: of 200 sweeps, 0.02 is at least one standard error of the rate.
        assert np.mean(covered) == pytest.approx(0.96, abs=0.035 * np.sqrt(200 / sweeps)), saved
        assert np.mean(apart) > 0.8 if saved == 2 else np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sweeps)


@pytest.mark.slow
@pytest.mark.endurance
def test_without_an_effect_no_method_of_a_cell_is_told_apart():
    """Scratch varies twice as much as six equal transfers; curves with noise at every step have a lowest step by chance."""
    random, sweeps = np.random.default_rng(4), repeats(20, full=100)
    apart, covered = [], []
    for _ in range(sweeps):
        trials = []
        for source in (None, *"abcdef"):
            spread = 0.1 if source is None else 0.05
            for seed in range(3):
                curve = {step: float(60 * step**-0.2 * np.exp(spread * random.normal())) for step in (25, 50, 100, 200)}
                trials.append(("finetune" if source else "scratch", source, 100, seed, "done", curve))
        table = speed_up(make(trials))
        apart.append((table["outcome"] == Outcome.APART).any())
        covered.append(((table["low"] <= 1) & (table["high"] >= 1)).all())
    assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sweeps)
    assert np.mean(covered) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / sweeps)


def test_a_saving_is_a_claim_in_log2():
    table = data_multiplier(sweep(np.random.default_rng(0), 2.0))
    rows = claims(table, "multiplier").set_index("cell")
    expected = table[(table["bound"] == "") | (table["multiplier"] != 1)].set_index("cell")
    assert len(rows) == len(expected) == 4, "that scratch has no larger size is no claim"
    assert np.exp2(rows["value"].astype(float)).tolist() == pytest.approx(expected["multiplier"].tolist())
    assert rows["low"].iloc[-1] == -math.inf or rows["low"].iloc[-1] <= rows["value"].iloc[-1]
    assert set(rows["step"]) == {200}
    assert rows["subject"].iloc[0] == ("finetune", "s")
    assert claims(speed_up(make(SCRATCH + at_200("finetune", "s", {100: 40.0}))), "speed_up")["step"].tolist() == [200]


def test_intervals_are_open_where_the_truth_lies_beyond_the_sizes():
    result = data_multiplier(sweep(np.random.default_rng(2), 8.0)).set_index("size")
    assert result.loc[1600, "bound"] == "at least"
    assert result.loc[1600, "high"] == math.inf
    assert result.loc[1600, "low"] <= 1.0
    assert result.loc[100, "high"] < math.inf


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_of_the_speed_up_cover_the_truth_conservatively():
    random, sweeps = np.random.default_rng(3), repeats(30, full=200)
    steps = np.array([25, 50, 100, 150, 200, 300, 400])
    truth, covered = 2.0, []  # both start at the same FID; the transfer's falls twice as fast
    for _ in range(sweeps):
        trials = []
        for strategy, factor in (("scratch", 1.0), ("finetune", truth)):
            for seed in range(4):
                shift = 0.05 * random.normal()
                trials.append(run({
                    int(step): float((100 - 0.2 * factor * step if factor * step <= 400 else 20 - 0.01 * step) * np.exp(shift))
                    for step in steps
                }, strategy, seed=seed))  # fmt: skip
        (row,) = speed_up(make(trials)).to_dict("records")
        covered.append(row["low"] <= truth <= row["high"])
    assert np.mean(covered) >= 0.95 - 1.6 * np.sqrt(0.05 * 0.95 / sweeps)
