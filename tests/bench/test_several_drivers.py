"""Several drivers on one store: the outcomes are those of an undisturbed run, whatever happens to the other drivers."""

from pathlib import Path

import pytest

from bench.driver.claims import Claims, LostClaimError
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.store import Store, open_store
from bench.sweeps.rows import outcome_row, record
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from bench.worker.trial import task, train
from tests.support import tiny
from tests.support.endurance import repeats
from tests.support.several_drivers import CROWDS, ONE, compare, planned

#: Simulated runs of each crowd.
SEEDS = repeats(2, full=40)

LETTERS, SHAPES, TEXTURES, SCRATCH, FROM_LETTERS, FROM_SHAPES, FROM_TEXTURES = ONE.by_key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), create=True)


def measure(store: Store, key: str, step: int, value: float) -> None:
    row = {"trial": key, "step": step, "metric": "fid", "embedding": "builtin", "value": value}
    row |= {"view": ONE.spec.evaluation.view, "version": "1"}
    store.append("measurements", "one", [row])


def finish(store: Store, key: str, status: str, steps: int) -> None:
    store.append("trials", "one", [outcome_row(ONE.by_key[key], status, "machine", steps=steps)])


def sources_done(store: Store) -> None:
    for key in (LETTERS, SHAPES, TEXTURES):
        measure(store, key, 2, 1.0)
        finish(store, key, "done", 2)


def opened(store: Store) -> Driver:
    return Driver(Ledger.open(ONE, store), store)


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize("crowd", CROWDS)
def test_disturbed_drivers_end_as_one_that_is_alone(tmp_path: Path, crowd: str):
    faults = {seed: wrong for seed in range(SEEDS) if (wrong := compare(tmp_path, seed, CROWDS[crowd]))}
    assert faults == {}


def test_a_trial_that_another_driver_has_taken_further_is_taken_with_all_its_rungs(store: Store):
    sources_done(store)
    driver = opened(store)
    with driver.sharing():
        for step in (2, 4):
            for key, value in ((FROM_LETTERS, 1.0), (FROM_SHAPES, 2.0), (FROM_TEXTURES, 9.0)):
                if step == 2 or key != FROM_TEXTURES:
                    measure(store, key, step, value)
        assert [driver.take(), driver.take(), driver.take()] == [SCRATCH, FROM_LETTERS, None]
        assert driver.ledger.values[FROM_LETTERS] == {2: 1.0, 4: 1.0}
        assert driver.ledger.status[FROM_TEXTURES] == "stopped"
        assert driver.ledger.status[FROM_SHAPES] == "stopped", "one of the two that reached step 4 goes on"


@pytest.mark.parametrize("status", ["done", "diverged", "failed"])
def test_a_trial_that_another_driver_has_ended_is_not_taken(store: Store, status: str):
    driver = opened(store)
    with driver.sharing():
        finish(store, LETTERS, status, 2)
        assert driver.take() == SHAPES
        assert driver.ledger.status[LETTERS] == status
        assert store.list_files("claims") == [driver.claim(SHAPES)]


def test_results_that_a_compaction_has_moved_are_read(store: Store):
    sources_done(store)
    driver = opened(store)
    with driver.sharing():
        measure(store, FROM_LETTERS, 2, 1.0)
        finish(store, SCRATCH, "diverged", 4)
        compact(store)
        assert driver.take() == FROM_SHAPES, "the first one waits for it at step 2"
        assert driver.ledger.values[FROM_LETTERS] == {2: 1.0}
        assert driver.ledger.status[SCRATCH] == "diverged"


def test_a_retried_failure_stays_open_and_a_later_one_counts(store: Store):
    finish(store, LETTERS, "failed", 0)
    driver = Driver(Ledger.open(ONE, store, retry_failed=True), store)
    with driver.sharing():
        assert driver.ledger.status[LETTERS] == "pending"
        finish(store, LETTERS, "failed", 0)
        assert driver.take() == SHAPES
        assert driver.ledger.status[LETTERS] == "failed"


def test_the_lost_results_of_a_reopened_trial_do_not_come_back(store: Store):
    sources_done(store)
    driver = opened(store)
    driver.ledger.reopen(LETTERS, 0)
    with driver.sharing():
        assert driver.ledger.status[LETTERS] == "pending"
        assert driver.take() == LETTERS
    assert driver.ledger.values[LETTERS] == {}


def test_a_rung_without_its_claim_is_not_decided_on_and_the_trial_is_let_go_of(store: Store):
    driver = opened(store)
    with driver.sharing():
        assert driver.take() == LETTERS
        driver.start(LETTERS)
        claim = driver.claim(LETTERS)
        assert claim is not None
        store.delete_file(claim)
        measure(store, LETTERS, 2, 1.0)
        assert driver.rung(LETTERS, {"status": "done", "steps": 2, "fid": 1.0}) == "elsewhere"
        assert driver.let_go == [LETTERS]
        finish(store, LETTERS, "done", 2)
        assert driver.take() == SHAPES
        assert driver.ledger.status[LETTERS] == "done", "by the results in the store"


def test_a_failure_without_its_claim_is_neither_retried_nor_recorded(store: Store):
    driver = Driver(Ledger.open(planned(resources={"retries": 0}), store), store)
    with driver.sharing():
        assert driver.take() == LETTERS
        driver.start(LETTERS)
        store.delete_file(str(driver.claim(LETTERS)))
        driver.fail(LETTERS, "boom")
        assert driver.ledger.status[LETTERS] == "elsewhere"
        assert store.read("trials").empty


def test_a_retry_whose_claim_is_lost_is_not_released(store: Store):
    driver = Driver(Ledger.open(ONE, store), store, back_off=0.0)
    with driver.sharing(), Claims(store) as other:
        assert driver.take() == LETTERS
        driver.start(LETTERS)
        driver.fail(LETTERS, "boom")
        store.delete_file(str(driver.claim(LETTERS)))
        assert other.take(LETTERS)
        assert driver.release() == SHAPES
        assert driver.ledger.status[LETTERS] == "elsewhere"


def test_a_waiting_trial_whose_claim_is_lost_is_not_promoted(store: Store):
    sources_done(store)
    driver = opened(store)
    with driver.sharing(), Claims(store) as other:
        assert [driver.take() for _ in range(4)] == [SCRATCH, FROM_LETTERS, FROM_SHAPES, FROM_TEXTURES]
        for key, value in ((FROM_LETTERS, 1.0), (FROM_SHAPES, 2.0), (FROM_TEXTURES, 9.0)):
            driver.start(key)
            driver.rung(key, {"status": "running", "steps": 2, "fid": value, "environment": "machine"})
        store.delete_file(str(driver.claim(FROM_LETTERS)))
        assert other.take(FROM_LETTERS)
        assert driver.ledger.next_promoted() == FROM_LETTERS
        assert driver.take() != FROM_LETTERS
        assert driver.ledger.status[FROM_LETTERS] == "elsewhere"


def test_a_driver_waits_while_the_only_trials_left_are_held_by_others(store: Store):
    driver = opened(store)
    with driver.sharing(), Claims(store) as other:
        for key in ONE.by_key:
            other.take(key)
        assert driver.take() is None
        assert not driver.over


@pytest.mark.slow
def test_a_worker_without_its_claim_publishes_nothing_more(store: Store):
    plan = tiny.make()
    key = plan.trials[0].key
    with Claims(store) as one:
        assert one.take(key)
        reports = train(task(plan, store, key, one.path(key)))
        assert next(reports)["steps"] == 2
        store.delete_file(one.path(key))
        before = sorted(store.files(below=True))
        with pytest.raises(LostClaimError, match=f"claims/{key}"):
            next(reports)
        assert sorted(store.files(below=True)) == before
    assert store.read("trials").empty


def test_a_stopped_trial_that_was_trained_on_is_a_fault_unless_a_sweep_lets_it_go_on(store: Store):
    sources_done(store)
    store.write_sweep("one", record(ONE))
    for key, value in ((FROM_LETTERS, 1.0), (FROM_SHAPES, 2.0), (FROM_TEXTURES, 9.0)):
        measure(store, key, 2, value)
    finish(store, FROM_TEXTURES, "stopped", 2)

    def outcomes() -> list[str]:
        return [str(fault) for fault in check(store) if fault.kind == "outcome"]

    assert outcomes() == []
    for step in (4, 8):
        measure(store, FROM_TEXTURES, step, 9.0)
    finish(store, FROM_TEXTURES, "done", 8)
    assert outcomes() == [f"trials, {FROM_TEXTURES}: done, but the stopping rule stops it in sweep one at step 2"]
    store.write_sweep("whole", record(planned("whole", stopping={"rule": "none"})))
    assert outcomes() == []
    store.delete_file("sweeps/whole.json")
    store.write_sweep("one", record(planned("one", stopping={"rule": "none"})))
    store.write_sweep("one", record(ONE))
    assert outcomes() == [], "its rule was another one when the trial went on"
