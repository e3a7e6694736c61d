"""The benchmark of the report's claims: its truths are those of the analysis without noise, and its table counts rightly."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.frames import load, records
from analysis.statistics import analyse
from tests.benchmarks.truth import studies, table, worlds
from tests.benchmarks.truth.claims_check import Tally, Truth
from tests.benchmarks.truth.stores import EMBEDDING, ends, stored
from tests.benchmarks.truth.studies import Case, Order, Result
from tests.benchmarks.truth.worlds import BUDGET, STRATEGIES, World

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("world", studies.PLANTED, ids=lambda world: world.name)
def test_without_noise_a_claims_value_is_the_truth(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worlds, "NOISE", 1e-6)
    sweep = replace(world, rule="none", pairs=0.0).drawn(1)
    with stored(sweep) as store:
        frames = load(store)
    truth, kinds = Truth(sweep), set()
    for claim in records(analyse(frames, EMBEDDING).claims):
        expected = truth.of(claim)
        # Sources, covariates and correlations are estimates over a sample of targets and sources, whatever the noise.
        if claim["kind"] in ("scratch", "best", "order", "strategy", "knob", "speed_up") and math.isfinite(expected):
            assert claim["value"] == pytest.approx(expected, abs=1e-4), claim
            kinds.add(claim["kind"])
        if claim["kind"] == "multiplier":  # at the largest size only a bound is known
            assert claim["low"] - 1e-4 <= expected <= claim["high"] + 1e-4
    assert {"scratch", "best", "order", "strategy", "speed_up"} <= kinds


def test_a_sweep_has_the_same_curves_under_every_rule_and_another_number_has_others():
    world = World(name="one", layout=STRATEGIES)
    sweep = world.drawn(3)
    for trial in sweep.plan.of_kind("adapt"):
        assert np.array_equal(sweep.curve(trial), world.run("none").drawn(3).curve(trial))
        assert not np.array_equal(sweep.curve(trial), world.drawn(4).curve(trial))


def test_trials_stop_by_the_real_rule():
    world = World(name="one", layout=STRATEGIES, gains=(("finetune", (2.0, 2.0, 2.0)),))
    for rule, stopped in (("none", False), ("halving", True)):
        sweep = world.run(rule).drawn(0)
        ended = ends(sweep)
        assert any(status == "stopped" for status, _ in ended.values()) is stopped
        of_best = [ended[trial.key] for trial in sweep.plan.of_kind("adapt") if trial.strategy == "finetune"]
        assert ("done", BUDGET) in of_best
    diverging = replace(world, diverging=("finetune",)).drawn(0)
    counts = [status for status, _ in ends(diverging).values()].count("diverged")
    assert counts == 2 * len(STRATEGIES.sources) * len(STRATEGIES.targets)


def _results(study: str, false: int, count: int, **others: int) -> list[Result]:
    world = World(name="one", layout=STRATEGIES)
    numbers = dict.fromkeys(("claims", "tested", "apart", "intervals", "covered", "at_budget"), 4) | others
    return [
        Result(Case(study, world, n), (Tally(world, n, "scratch", false=int(n < false), simultaneous=False, **numbers),),
               Order((True,), (True,)), None)
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(("false", "holds"), [(0, True), (5, True), (10, True), (11, False), (40, False)])
def test_a_row_misses_if_its_whole_interval_is_above_the_goal(false: int, holds: bool):
    row = next(table.false_claims(_results("null", false, 100)))
    assert (row.figure, row.number, row.holds) == (false / 100, 100, holds)
    exact = stats.beta.ppf(0.025, false, 101 - false) if false else 0
    assert row.low == pytest.approx(exact)


def test_a_claim_that_cannot_be_tested_is_not_counted_as_true():
    assert list(table.false_claims(_results("null", 0, 10, tested=0))) == []


@pytest.mark.parametrize(("covered", "holds"), [(4, False), (3, False)])
def test_intervals_that_never_or_always_cover_miss(covered: int, holds: bool):
    (row,) = table.coverage(_results("planted", 0, 200, covered=covered))
    assert (row.figure, row.holds) == (covered / 4, holds)


def test_the_interval_of_a_share_is_wilsons_for_independent_ones_and_wider_for_dependent_ones():
    hits = [1] * 90 + [0] * 10
    share, low, high = table.clustered(hits, [1] * 100)
    exact = stats.binomtest(90, 100).proportion_ci(method="wilson")
    assert (share, low, high) == pytest.approx((0.9, exact.low, exact.high), abs=2e-3)
    _, wide_low, wide_high = table.clustered([5 * hit for hit in hits], [5] * 100)
    assert (wide_low, wide_high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.endurance(only=True)
def test_the_command_prints_every_row_and_names_those_that_miss():
    command = [sys.executable, "-m", "tests.benchmarks.truth", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["name"] for row in rows}) == len(rows) > 40
    for row in rows:
        assert row["low"] - 1e-9 <= row["figure"] <= row["high"] + 1e-9
    missed = [f"misses its goal: {row['name']}" for row in rows if not row["holds"]]
    assert (done.returncode, done.stderr.splitlines()) == (1 if missed else 0, missed)
