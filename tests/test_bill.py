"""What a sweep will cost: against stores with known times, and against the rule's own counts."""

from pathlib import Path

import pytest

from bench.bill import bills, expected_shares
from bench.ledger import Ledger
from bench.plan import Plan, make_plan
from bench.spec import SweepSpec
from bench.store import open_store
from tests import tiny
from tests.timed import TRUTH, seconds, write


def fresh(plan: Plan) -> Ledger:
    return Ledger(plan, dict.fromkeys(plan.by_key, "pending"), {key: {} for key in plan.by_key})


def test_as_many_trials_are_expected_at_each_rung_as_the_rule_keeps():
    plan = make_plan(SweepSpec.model_validate(tiny.SPEC))
    shares = expected_shares(fresh(plan))
    for keys in plan.cells.values():
        assert [sum(shares[key][rung] for key in keys) for rung in range(3)] == pytest.approx([5, 3, 2])
    assert all(set(shares[trial.key]) == {1.0} for trial in plan.of_kind("pretrain"))
    without = make_plan(SweepSpec.model_validate({**tiny.SPEC, "stopping": {"rule": "none"}}))
    assert {share for each in expected_shares(fresh(without)).values() for share in each} == {1.0}


def test_known_values_decide_before_drawn_ones():
    plan = make_plan(SweepSpec.model_validate(tiny.SPEC))
    ledger = fresh(plan)
    keys = next(iter(plan.cells.values()))
    for place, key in enumerate(keys):
        ledger.reach(key, 2, float(place))
    shares = expected_shares(ledger)
    assert [shares[key][1] for key in keys] == pytest.approx([1, 1, 1, 0, 0])


def test_hours_in_all_and_of_what_is_left_are_those_of_the_trials(tmp_path: Path):
    half = make_plan(SweepSpec.model_validate({**tiny.SPEC, "conditional": [False]}))
    store = open_store(str(tmp_path / "store"), create=True)
    write(store, half)
    (bill,) = bills(half, store)
    truth = sum(seconds(trial, trial.rungs[-1]) for trial in half.trials)
    assert bill.at_most.times(3600).value == pytest.approx(truth)
    setup, each, evaluation, last = TRUTH
    rungs = [2 * each + evaluation, 2 * each + evaluation, 4 * each + evaluation + last]
    expected = 5 * setup + sum(n * rung for n, rung in zip((5, 3, 2), rungs, strict=True))
    sources = sum(seconds(trial, trial.rungs[-1]) for trial in half.of_kind("pretrain"))
    assert bill.expected.times(3600).value == pytest.approx(sources + expected)
    assert (bill.left_at_most.value, bill.left_expected.value) == (0, 0)

    shared = make_plan(SweepSpec.model_validate({**tiny.SPEC, "conditional": [False], "sizes": [20, 30]}))
    (bill,) = bills(shared, store)
    assert bill.left_at_most.times(3600).value == pytest.approx(truth - sources), "the other cell, and no source again"
    assert bill.times(2)["left_expected"]["value"] * 1800 == pytest.approx(expected)
