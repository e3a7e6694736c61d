"""The budget of a run: spent time is counted, and starts that would exceed the limit are refused. The tests set the clock."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from bench.costs.budget import Budget, hours
from bench.costs.estimate import Estimate
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray.searcher import PlanSearcher
from bench.store import open_store
from bench.sweeps.spec import ResourcesConfig
from tests.support import tiny
from trainers.common.errors import UserError


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fresh() -> Ledger:
    """Return the ledger of three trials with two or three rungs each, none of which has run."""
    plan = tiny.make(sources=[], strategies=["scratch"], seeds=[0, 1, 2])
    return Ledger.fresh(plan)


def known(ledger: Ledger) -> Mapping[str, Estimate]:
    """Return estimates of 2 seconds for the set-up, and 8, 10 and 20 for the three rungs."""
    return dict.fromkeys(ledger.plan.by_key, Estimate(2.0, (8.0, 10.0, 20.0)))


def test_slots_are_occupied_from_start_to_pause_or_end_and_failed_attempts_count(clock: Clock):
    ledger = fresh()
    budget, (one, two, _) = Budget(ledger, clock=clock), list(ledger.plan.by_key)
    for passed, event in (
        (5, lambda: ledger.start(one)),  # nothing has run yet
        (10, lambda: ledger.start(two)),
        (3, lambda: ledger.queue(two)),  # failed, and waits for its retry
        (7, lambda: ledger.start(two)),
        (1, lambda: ledger.pause(one)),
        (4, lambda: ledger.end(two, "done")),
        (50, lambda: None),
    ):
        clock.now += passed
        budget.look()
        event()
    assert budget.spent == 10 + 2 * 3 + 7 + 2 * 1 + 4


def test_a_trial_that_takes_the_room_of_several_counts_as_often(clock: Clock):
    ledger = fresh()
    one, two, three = ledger.plan.by_key
    budget = Budget(ledger, 52.0, lambda: known(ledger), clock)
    budget.rooms = {one: 2, three: 3}
    assert budget.allows(one)
    ledger.start(one)
    assert budget.allows(two)
    budget.look()
    ledger.start(two)
    clock.now += 4
    budget.look()
    assert budget.spent == 4 * (2 + 1)
    assert not budget.allows(three)
    assert budget.refused == pytest.approx(12 + 6 * (2 + 1) + 10 * 3)


def test_a_start_counts_to_the_next_rung_in_addition_to_running_and_queued_trials(clock: Clock):
    ledger = fresh()
    one, two, three = ledger.plan.by_key
    budget = Budget(ledger, 29.0, lambda: known(ledger), clock)
    assert budget.allows(one)
    budget.look()
    ledger.start(one)
    assert budget.allows(two)
    ledger.queue(two)
    clock.now += 6  # of the 10 seconds to the first rung
    assert budget.allows(one), "it is running"
    assert not budget.allows(three)
    assert budget.refused == pytest.approx(6 + 4 + 10 + 10)
    assert not budget.allows(two), "after one refusal all are refused"


def test_a_trial_continues_from_its_rung_only_within_the_limit(clock: Clock):
    ledger = fresh()
    one, *_ = ledger.plan.by_key
    budget = Budget(ledger, 35.0, lambda: known(ledger), clock)
    assert budget.allows(one)
    ledger.start(one)
    for rung, passed, goes_on in ((2, 11, True), (4, 12, False)):
        clock.now += passed
        budget.look()
        ledger.reach(one, rung, 1.0)
        budget.on_rung(one)
        assert budget.allows(one) is goes_on
    assert (budget.spent, budget.refused) == (23.0, 43.0)


def test_without_estimates_no_more_trials_are_queued_than_there_are_slots(clock: Clock):
    ledger = fresh()
    one, two, three = ledger.plan.by_key
    estimates: dict[str, Estimate] = {}

    def ask() -> Mapping[str, Estimate]:
        if not estimates:
            raise UserError("unknown")
        return estimates

    budget = Budget(ledger, 100.0, ask, clock)
    budget.slots = 2
    for key in (one, two):
        assert budget.allows(key)
        ledger.start(key)
    assert not budget.allows(three)
    assert budget.refused is None, "it may be started later"
    ledger.queue(two)
    budget.rooms = {one: 2}
    assert not budget.allows(two), "the other one takes both slots"
    ledger.start(two)
    clock.now += 20
    estimates |= known(ledger)
    ledger.reach(one, 2, 1.0)
    budget.on_rung(one)
    assert budget.allows(three)
    clock.now += 40
    assert not budget.allows(three), "the limit has been exceeded"


def test_estimates_are_updated_when_more_trials_have_been_measured(clock: Clock):
    """The first trial to reach a rung may have prepared what the others use."""
    ledger = fresh()
    one, two, _ = ledger.plan.by_key
    answers = [dict.fromkeys(ledger.plan.by_key, Estimate(2.0, (leg,) * 3)) for leg in (70.0, 20.0, 10.0)]
    budget = Budget(ledger, 100.0, lambda: answers.pop(0), clock, spent=25.0)
    assert budget.allows(one)
    ledger.start(one)
    for rung, left in ((2, 1), (4, 0)):
        ledger.reach(one, rung, 1.0)
        budget.on_rung(one)
        assert budget.allows(one)
        assert len(answers) == left
    assert budget.allows(two), "at 70 seconds it would be refused"
    clock.now += 65
    assert not budget.allows(two)
    assert budget.told().startswith(
        "stopped after 0.025 slot-hours: the next rungs would have made it 0.0283, and the limit is 0.0278; 3 trials left"
    )


def test_the_search_is_finished_after_a_refused_start(tmp_path: Path):
    """Ray asks again without end while nothing runs if the searcher returns None."""
    ledger, store = fresh(), open_store(str(tmp_path), create=True)
    driver = Driver(ledger, store, limit=Budget(ledger, 0.0))
    with driver.sharing():
        assert PlanSearcher(driver, lambda key: {"key": key}).suggest("first") == Searcher.FINISHED
        assert store.list_files("claims") == []


def test_hours_are_of_the_share_of_a_gpu():
    assert hours(7200, ResourcesConfig(gpus=0.25)) == 0.5
    assert hours(7200, ResourcesConfig(cpus=4)) == 2
