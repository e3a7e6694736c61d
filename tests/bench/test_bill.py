"""The cost of a sweep: compared with stores of known times, and with the counts of the stopping rule."""

from pathlib import Path

import pytest

from bench.costs.bill import bills, expected_shares
from bench.driver.ledger import Ledger
from bench.run.tuning import Search
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import SweepSpec
from tests.support import tiny
from tests.support.timed import TRUTH, evaluation_seconds, seconds, write


def test_as_many_trials_are_expected_at_each_rung_as_the_rule_keeps():
    plan = make_plan(SweepSpec.model_validate(tiny.SPEC))
    shares = expected_shares(Ledger.fresh(plan))
    for keys in plan.cells.values():
        assert [sum(shares[key][rung] for key in keys) for rung in range(3)] == pytest.approx([5, 3, 2])
    assert all(set(shares[trial.key]) == {1.0} for trial in plan.of_kind("pretrain"))
    without = make_plan(SweepSpec.model_validate({**tiny.SPEC, "stopping": {"rule": "none"}}))
    assert {share for shares in expected_shares(Ledger.fresh(without)).values() for share in shares} == {1.0}


def test_measured_values_take_precedence_over_drawn_ones():
    plan = make_plan(SweepSpec.model_validate(tiny.SPEC))
    ledger = Ledger.fresh(plan)
    keys = next(iter(plan.cells.values()))
    for place, key in enumerate(keys):
        ledger.reach(key, 2, float(place))
    shares = expected_shares(ledger)
    assert [shares[key][1] for key in keys] == pytest.approx([1, 1, 1, 0, 0])


def test_in_a_search_the_settings_of_a_strategy_compete_and_smaller_budgets_end_earlier(tmp_path: Path):
    tuning = {"target": "letters", "size": 10, "trials": 4, "learning_rate": [1e-4, 1e-3], "steps": [4, 8]}
    plan = Search.of(tiny.make(stopping={"rule": "halving"}, tuning=tuning)).plan()
    shares = expected_shares(Ledger.fresh(plan))
    assert {len(shares[trial.key]) for trial in plan.of_kind("tune")} == {2, 3}
    for keys in plan.cells.values():
        assert [sum(shares[key][rung] for key in keys) for rung in range(2)] == pytest.approx([4, 2])
    store = open_store(str(tmp_path / "store"), create=True)
    write(store, tiny.make())
    (bill,) = bills(plan, store)
    assert bill.expected.value < bill.at_most.value


def test_a_trial_stopped_by_its_own_curve_does_not_decide_which_others_continue():
    rule = {"rule": "halving", "keep": 0.5, "plateau": 1, "protect_strategies": False}
    strategies = ["finetune", "finetune-d", "finetune-g"]
    plan = tiny.make(sources=["letters", "shapes", "textures"], strategies=strategies, stopping=rule, training={"steps": 16})
    ledger, (keys,) = Ledger.fresh(plan), plan.cells.values()
    for rung in (2, 4):
        for place, key in enumerate(keys):
            if ledger.status[key] != "stopped":
                ledger.reach(key, rung, place - (0 if place == 1 else rung / 10))  # the second does not improve
        ledger.settle()
    assert [key for key in keys if ledger.status[key] != "stopped"] == [keys[0], keys[2]]
    shares = expected_shares(ledger)
    assert [sum(shares[key][rung] for key in keys) for rung in range(4)] == pytest.approx([9, 5, 2, 1])


def test_total_and_remaining_hours_are_those_of_the_trials(tmp_path: Path):
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
    assert bill.left_at_most.times(3600).value == pytest.approx(truth - sources), "the other cell, without the sources"
    assert bill.times(2)["left_expected"]["value"] * 1800 == pytest.approx(expected)


def test_a_bill_states_the_share_of_evaluation_in_the_time_of_like_trials(tmp_path: Path):
    plan = tiny.make(conditional=[False])
    other = tiny.make(name="other", conditional=[False], evaluation={**tiny.SPEC["evaluation"], "samples": 128})
    store = open_store(str(tmp_path / "store"), create=True)
    write(store, other)
    (bill,) = bills(plan, store)
    assert bill.evaluation is None, "other evaluations take another time"
    write(store, plan)
    (bill,) = bills(plan, store)
    whole, evaluation = (sum(of(trial, trial.rungs[-1]) for trial in plan.trials) for of in (seconds, evaluation_seconds))
    assert bill.evaluation == pytest.approx(evaluation / whole)
