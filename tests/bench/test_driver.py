"""The driver by itself: what it releases, retries, pauses, promotes, refuses and ends; without Ray, on a clock of the test."""

from pathlib import Path
from typing import Any

import pytest

from bench.driver.ledger import Ledger
from bench.driver.limit import Limit
from bench.driver.loop import Driver
from bench.driver.retries import LOSSES, SOON, Retries
from bench.store import Store, StoreUnwritableError, open_store
from bench.store.trial_files import checkpoint_path
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec

BASE: dict[str, Any] = {
    "name": "t",
    "sources": ["letters", "shapes"],
    "targets": ["digits"],
    "sizes": [10],
    "strategies": ["scratch", "finetune"],
    "training": {"steps": 8},
    "pretrain": {"steps": 4},
    "evaluation": {"first_rung": 2},
    "stopping": {"protect_strategies": False},
    "resources": {"retries": 2},
}


def planned(**changes: Any) -> Plan:
    return make_plan(SweepSpec.model_validate({**BASE, **changes}))


PLAN = planned()
LETTERS, SHAPES, SCRATCH, FROM_LETTERS, FROM_SHAPES = PLAN.by_key

#: One cell of three transfers, two of them those of `PLAN`: at rung 2 two go on, at rung 4 one of the two.
THREE = planned(sources=["textures", "letters", "shapes"], strategies=["finetune"])
TEXTURES, _, _, FROM_TEXTURES, _, _ = THREE.by_key


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Allowance(Limit):
    """A limit of a number of launches; it notes the calls that precede a change of the ledger."""

    def __init__(self, launches: int) -> None:
        self.launches, self.looks = launches, 0

    def look(self) -> None:
        self.looks += 1

    def allows(self, key: str) -> bool:
        if self.launches == 0:
            self.refused = 1.0
            return False
        self.launches -= 1
        return True


def made(store: Store | None = None, plan: Plan = PLAN, **options: Any) -> tuple[Driver, Clock]:
    clock = Clock()
    return Driver(Ledger.fresh(plan), store, clock=clock, **options), clock


def run(driver: Driver, key: str, *values: float, done: bool = False) -> str:
    """Start a trial and report values at its next rungs while it runs; return its status."""
    driver.start(key)
    rungs = [rung for rung in driver.ledger.plan.by_key[key].rungs if rung > driver.ledger.last_rung(key)]
    status = "running"
    for rung, value in zip(rungs, values, strict=False):
        last = done and rung == rungs[-1]
        status = driver.rung(key, {"status": "done" if last else "running", "steps": rung, "fid": value})
        if status != "running":
            break
    return status


def source_done(driver: Driver, *keys: str) -> None:
    for key in keys:
        assert driver.take() == key
        assert run(driver, key, 1.0, 1.0, done=True) == "done"


# -- release --------------------------------------------------------------------------------------------------------------


def test_trials_are_released_in_plan_order_each_once_its_source_is_done():
    driver, _ = made()
    assert [driver.release() for _ in range(4)] == [LETTERS, SHAPES, SCRATCH, None]
    assert run(driver, SHAPES, 1.0, 1.0, done=True) == "done"
    assert [driver.release(), driver.release()] == [FROM_SHAPES, None]
    assert not driver.over


def test_two_drivers_of_a_store_release_different_trials(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    one, two = (Driver(Ledger.open(PLAN, store), store) for _ in range(2))
    with one.sharing(), two.sharing():
        assert one.take() == LETTERS
        assert two.take() == SHAPES
        assert two.ledger.status[LETTERS] == "elsewhere"
    assert store.list_files("claims") == []


# -- retries ---------------------------------------------------------------------------------------------------------------


def test_a_failed_trial_is_retried_after_waits_that_double_and_then_recorded(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    heard: list[tuple[str, Any]] = []
    driver, clock = made(store, listener=lambda key, report: heard.append((key, report)))
    assert driver.take() == LETTERS
    for wait in (2.0, 4.0):
        driver.start(LETTERS)
        driver.fail(LETTERS, "boom")
        assert driver.ledger.status[LETTERS] == "queued"
        clock.now += wait - 0.1
        assert LETTERS not in {driver.release(), driver.release(), driver.release()}
        clock.now += 0.1
        assert driver.release() == LETTERS
    driver.start(LETTERS)
    driver.fail(LETTERS, "boom")
    assert (driver.ledger.status[LETTERS], driver.ledger.status[FROM_LETTERS]) == ("failed", "blocked")
    rows = store.read("trials").set_index("key")[["status", "error"]].to_dict("index")
    assert rows == {
        LETTERS: {"status": "failed", "error": "boom"},
        FROM_LETTERS: {"status": "blocked", "error": f"its source letters failed ({LETTERS})"},
    }
    assert heard == [(LETTERS, None), (FROM_LETTERS, None)]


def test_failures_are_counted_since_the_last_rung():
    driver, _ = made(back_off=0.0)
    assert driver.take() == LETTERS
    for rung in (2, None):
        for _ in range(2):
            driver.start(LETTERS)
            driver.fail(LETTERS, "boom")
            assert driver.release() == LETTERS
        if rung:
            assert run(driver, LETTERS, 1.0) == "running"
    driver.start(LETTERS)
    driver.fail(LETTERS, "boom")
    assert driver.ledger.status[LETTERS] == "failed"


def test_retries_of_several_trials_come_by_the_time_they_are_due():
    driver, clock = made()
    for key in (LETTERS, SHAPES, SCRATCH):
        assert driver.take() == key
        driver.start(key)
    for key in (LETTERS, SHAPES):
        driver.fail(key, "boom")
    assert driver.release() is None
    clock.now = 2.0
    assert [driver.release(), driver.release(), driver.release()] == [LETTERS, SHAPES, None]


def test_a_trial_that_ended_while_it_was_being_paused_does_not_fail():
    driver, _ = made(plan=THREE)
    source_done(driver, TEXTURES, LETTERS, SHAPES)
    for key, value in ((FROM_TEXTURES, 9.0), (FROM_LETTERS, 1.0), (FROM_SHAPES, 2.0)):
        run(driver, key, value)
    assert driver.ledger.status[FROM_TEXTURES] == "stopped"
    driver.fail(FROM_TEXTURES, "boom")
    assert driver.ledger.status[FROM_TEXTURES] == "stopped"
    assert driver.release() is None


@pytest.mark.parametrize("retries", [0, 3])
def test_retries_are_counted_by_job_and_checkpoint(retries: int):
    counter = Retries(retries, back_off=1.0)
    for key, checkpoint in (("a", 0), ("a", 5), ("b", 0)):
        assert [counter.wait(key, checkpoint) for _ in range(retries)] == [2.0**i for i in range(retries)]
        assert counter.wait(key, checkpoint) is None


# -- evaluation in another process -----------------------------------------------------------------------------------------


def reach(driver: Driver, key: str, step: int) -> str:
    driver.start(key)
    return driver.rung(key, {"status": "reached", "steps": step, "environment": "machine"})


def measure(driver: Driver, key: str, step: int, value: float, status: str = "running") -> str:
    """Take the next evaluation, which must be of this trial, report its value, and return the trial's status."""
    assert driver.next_evaluation() == (key, "machine")
    driver.measured(key, {"status": status, "steps": step, "fid": value})
    return driver.ledger.status[key]


def test_a_trial_waits_for_the_measurement_of_its_rung_and_the_rule_for_those_of_the_cell():
    heard: list[Any] = []
    driver, _ = made(plan=THREE, listener=lambda key, report: heard.append((key, report and report["steps"])))
    source_done(driver, TEXTURES, LETTERS, SHAPES)
    adapts = [driver.take() for _ in range(3)]
    assert adapts == [FROM_TEXTURES, FROM_LETTERS, FROM_SHAPES]
    heard.clear()
    for key in (FROM_TEXTURES, FROM_LETTERS, FROM_SHAPES):
        assert reach(driver, key, 2) == "measuring"
    assert driver.take() is None
    assert measure(driver, FROM_TEXTURES, 2, 9.0) == "paused"
    assert measure(driver, FROM_LETTERS, 2, 1.0) == "paused"
    assert (driver.take(), heard) == (None, [(FROM_TEXTURES, 2), (FROM_LETTERS, 2)])
    assert measure(driver, FROM_SHAPES, 2, 2.0) == "paused"
    assert driver.ledger.status[FROM_TEXTURES] == "stopped"
    assert [driver.take() for _ in range(3)] == [FROM_LETTERS, FROM_SHAPES, None]
    assert reach(driver, FROM_LETTERS, 8) == "measuring"
    assert measure(driver, FROM_LETTERS, 8, 1.0, "done") == "done"
    assert driver.next_evaluation() is None


def test_the_measurement_of_step_0_decides_nothing():
    heard: list[Any] = []
    driver, _ = made(listener=lambda key, report: heard.append(key))
    assert driver.take() == LETTERS
    assert reach(driver, LETTERS, 0) == "measuring"
    assert measure(driver, LETTERS, 0, 1.0) == "paused"
    assert (heard, driver.ledger.values[LETTERS]) == ([], {})
    assert driver.take() == LETTERS


def test_an_evaluation_that_fails_is_repeated_as_a_trial_is_and_a_lost_machine_counts_as_no_retry():
    driver, clock = made()
    assert driver.take() == LETTERS
    reach(driver, LETTERS, 2)
    assert driver.next_evaluation() == (LETTERS, "machine")
    for wait in (2.0, 2.0, 4.0):
        if clock.now:
            driver.fail(LETTERS, "boom", measuring=True)
        else:
            driver.lose(LETTERS, "gone", 5.0, measuring=True)
        assert (driver.ledger.status[LETTERS], driver.next_evaluation()) == ("measuring", None)
        clock.now += wait
        assert driver.next_evaluation() == (LETTERS, "machine")
    driver.fail(LETTERS, "boom", measuring=True)
    assert (driver.ledger.status[LETTERS], driver.ledger.reasons[LETTERS]) == ("failed", "boom")


def test_a_trial_that_fails_while_its_rung_is_measured_goes_on_with_another_process():
    """Its process may die while the runner pauses it."""
    driver, clock = made()
    assert driver.take() == LETTERS
    reach(driver, LETTERS, 2)
    driver.fail(LETTERS, "boom")
    assert driver.next_evaluation() is None
    clock.now += 2.0
    assert driver.release() == LETTERS
    reach(driver, LETTERS, 2)
    assert driver.next_evaluation() == (LETTERS, "machine")
    driver.fail(LETTERS, "boom")
    clock.now += 4.0
    assert driver.release() == LETTERS
    assert reach(driver, LETTERS, 4) == "measuring"
    driver.measured(LETTERS, {"status": "running", "steps": 2, "fid": 1.0})
    driver.fail(SHAPES, "boom", measuring=True)
    assert (driver.ledger.status[LETTERS], driver.ledger.status[SHAPES]) == ("measuring", "pending"), "too late"
    assert measure(driver, LETTERS, 4, 1.0, "done") == "done"


def test_nothing_is_measured_after_an_interrupt_or_without_a_claim(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    driver = Driver(Ledger.open(PLAN, store), store)
    with driver.sharing():
        assert [driver.take(), driver.take()] == [LETTERS, SHAPES]
        reach(driver, LETTERS, 2)
        reach(driver, SHAPES, 2)
        store.delete_file(str(driver.claim(LETTERS)))
        assert driver.next_evaluation() == (SHAPES, "machine")
        assert driver.ledger.status[LETTERS] == "elsewhere"
        driver.fail(SHAPES, "boom", measuring=True)
        driver.interrupted = True
        assert driver.next_evaluation() is None


# -- losses of machines ----------------------------------------------------------------------------------------------------


def test_a_lost_machine_counts_as_no_retry_and_the_trial_goes_on_from_its_last_checkpoint(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    notices: list[Any] = []
    driver, clock = made(store, notice=lambda key, text: notices.append((key, text)), plan=planned(resources={"retries": 1}))
    assert driver.take() == LETTERS
    driver.start(LETTERS)
    driver.fail(LETTERS, "boom")
    clock.now += 2.0
    assert driver.release() == LETTERS
    assert run(driver, LETTERS, 1.0) == "running"
    for checkpoint in (2, 3):  # that of its rung, and one on the way to the next
        for _ in range(5):
            store.write_file(checkpoint_path(LETTERS, checkpoint), b"")
            driver.lose(LETTERS, "gone", SOON + 1)
            assert driver.ledger.status[LETTERS] == "queued"
            assert LETTERS not in {driver.release() for _ in range(4)}, "it waits until Ray knows of the loss"
            clock.now += 2.0
            assert driver.release() == LETTERS
            driver.start(LETTERS)
    text = "machine lost (gone); goes on from step {}, not counted as a retry"
    assert notices == [(LETTERS, text.format(step)) for step in (2, 3) for _ in range(5)]
    driver.fail(LETTERS, "boom")
    assert driver.ledger.status[LETTERS] == "queued"
    driver.fail(LETTERS, "boom")
    assert driver.ledger.status[LETTERS] == "failed", "its own errors still count"


def test_a_trial_that_leaves_its_process_goes_on_at_once_however_often():
    said: list[tuple[str | None, str]] = []
    driver, _ = made(notice=lambda key, text: said.append((key, text)))
    for _ in range(LOSSES + 1):
        assert driver.release() == LETTERS
        driver.start(LETTERS)
        driver.leave(LETTERS, "the machine is being taken back")
    assert driver.release() == LETTERS
    line = "the machine is being taken back; goes on elsewhere from step 0, not counted as a retry"
    assert said == [(LETTERS, line)] * (LOSSES + 1)


def test_an_interrupted_run_starts_nothing_and_its_trials_wait_at_their_rungs_or_leave():
    driver, _ = made()
    assert [driver.release() for _ in range(3)] == [LETTERS, SHAPES, SCRATCH]
    driver.start(LETTERS)
    driver.interrupted = True
    assert driver.over
    assert run(driver, SHAPES, 1.0) == "paused"
    driver.leave(LETTERS, "the run ends")
    assert driver.take() is None
    assert set(driver.ledger.open_trials()) == set(PLAN.by_key)


def test_a_trial_whose_every_machine_is_lost_soon_fails_and_says_why():
    heard: list[Any] = []
    driver, _ = made(back_off=0.0, listener=lambda key, report: heard.append((key, report)))
    assert driver.take() == LETTERS
    for _ in range(LOSSES):
        driver.start(LETTERS)
        driver.lose(LETTERS, "gone", 5.0)
        assert driver.release() == LETTERS
    driver.start(LETTERS)
    driver.lose(LETTERS, "gone", 5.0)
    assert (driver.ledger.status[LETTERS], driver.ledger.status[FROM_LETTERS]) == ("failed", "blocked")
    assert driver.ledger.reasons[LETTERS] == "it lost its machine 21 times in a row soon after step 0: gone"
    assert heard == [(LETTERS, None), (FROM_LETTERS, None)]


def test_a_loss_that_comes_late_begins_the_count_of_losses_again():
    counter = Retries(0, back_off=1.0)
    for _ in range(3):
        assert [counter.lose("a", 5, SOON) for _ in range(LOSSES)] == [1.0] * LOSSES
        assert counter.lose("a", 5, SOON + 1) == 1.0
    for checkpoint, after in ((5, 0.0), (6, SOON)):
        assert [counter.lose("a", checkpoint, after) for _ in range(LOSSES + 1)] == [*[1.0] * LOSSES, None]


def test_a_loss_after_the_end_of_a_trial_changes_nothing():
    driver, _ = made()
    assert run(driver, str(driver.take()), 1.0, 1.0, done=True) == "done"
    driver.lose(LETTERS, "gone", 0.0)
    assert driver.ledger.status[LETTERS] == "done"


# -- an unwritable store ---------------------------------------------------------------------------------------------------


def test_a_full_local_disk_ends_the_run_at_the_first_error_and_no_trial_fails(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    driver, _ = made(store)
    key = driver.take()
    assert key is not None
    driver.start(key)
    driver.fail(key, "StoreUnwritableError: full", StoreUnwritableError("full"))
    assert str(driver.unwritable) == "full"
    assert driver.over
    assert "failed" not in driver.ledger.status.values()
    assert store.read("trials").empty


def test_an_outcome_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    driver, _ = made(open_store(str(tmp_path / "store"), create=True), plan=planned(resources={"retries": 0}))

    def refuse(*arguments: Any) -> None:
        raise StoreUnwritableError("full")

    monkeypatch.setattr(Store, "append", refuse)
    key = driver.take()
    assert key is not None
    driver.fail(key, "boom")
    assert str(driver.unwritable) == "full"
    assert driver.over


# -- pause, promotion, stopping ----------------------------------------------------------------------------------------------


def test_a_trial_waits_for_its_cell_and_is_promoted_before_new_trials_start():
    plan = planned(sources=THREE.spec.sources, strategies=["finetune"], sizes=[10, 20])
    driver, _ = made(plan=plan)
    *sources, first, second, third = list(plan.by_key)[:6]
    others = list(plan.by_key)[6:]
    source_done(driver, *sources)
    assert [driver.take() for _ in range(3)] == [first, second, third]
    assert run(driver, first, 1.0) == "paused"
    assert run(driver, second, 2.0) == "paused"
    assert driver.take() == others[0], "the paused ones may not go on yet"
    assert run(driver, third, 9.0) == "stopped"
    assert driver.take() == first
    assert driver.take() == second
    assert driver.take() == others[1]
    driver.start(first)
    report = {"status": "running", "steps": 2, "fid": 1.0}
    assert driver.rung(first, report) == "running", "it reports its rung again, and goes on"


def test_scratch_goes_on_without_its_cell():
    driver, _ = made()
    source_done(driver, LETTERS, SHAPES)
    assert run(driver, SCRATCH, 9.0, 9.0) == "running"
    assert run(driver, FROM_LETTERS, 2.0) == "paused"
    assert run(driver, FROM_SHAPES, 1.0) == "running"
    assert driver.ledger.status[FROM_LETTERS] == "stopped", "one of the two transfers"
    assert run(driver, SCRATCH, 9.0, done=True) == "done"


def test_the_trial_that_completes_the_rung_goes_on_without_a_pause():
    driver, _ = made(plan=THREE)
    source_done(driver, TEXTURES, LETTERS, SHAPES)
    assert run(driver, FROM_TEXTURES, 9.0) == "paused"
    assert run(driver, FROM_LETTERS, 2.0) == "paused"
    assert run(driver, FROM_SHAPES, 1.0) == "running"
    assert driver.ledger.status[FROM_TEXTURES] == "stopped"


def test_a_rung_is_announced_once_and_an_end_of_another_trial_without_a_report():
    heard: list[tuple[str, Any]] = []
    driver, _ = made(plan=THREE, listener=lambda key, report: heard.append((key, report and report["steps"])))
    source_done(driver, TEXTURES, LETTERS, SHAPES)
    heard.clear()
    for key, value in ((FROM_TEXTURES, 9.0), (FROM_TEXTURES, 9.0), (FROM_LETTERS, 2.0), (FROM_SHAPES, 1.0)):
        driver.start(key)
        driver.rung(key, {"status": "running", "steps": 2, "fid": value})
    assert heard == [(FROM_TEXTURES, 2), (FROM_LETTERS, 2), (FROM_SHAPES, 2), (FROM_TEXTURES, None)]


@pytest.mark.parametrize("end", ["diverged", "failed"])
def test_the_children_of_a_lost_source_are_blocked(end: str):
    driver, _ = made(plan=planned(resources={"retries": 0}))
    assert driver.take() == LETTERS
    driver.start(LETTERS)
    if end == "diverged":
        assert driver.rung(LETTERS, {"status": "diverged", "steps": 2, "error": "nan"}) == "diverged"
    else:
        driver.fail(LETTERS, "boom")
    assert (driver.ledger.status[LETTERS], driver.ledger.status[FROM_LETTERS]) == (end, "blocked")
    assert driver.ledger.status[FROM_SHAPES] == "pending"


# -- the limit and the end ---------------------------------------------------------------------------------------------------


def test_a_refused_launch_ends_the_run_with_trials_left():
    limit = Allowance(2)
    driver, _ = made(limit=limit)
    assert [driver.take(), driver.take(), driver.take()] == [LETTERS, SHAPES, None]
    assert driver.over
    assert driver.ledger.status[SCRATCH] == "pending"


def test_a_running_trial_that_the_limit_refuses_is_paused_at_its_rung():
    limit = Allowance(2)
    driver, _ = made(limit=limit)
    assert driver.take() == LETTERS
    assert run(driver, LETTERS, 1.0) == "running"
    assert driver.take() is None
    driver.rung(LETTERS, {"status": "done", "steps": 4, "fid": 1.0})
    assert driver.ledger.status[LETTERS] == "done", "an end needs no allowance"
    assert limit.looks == 3, "the time is accounted for before each change"

    driver, _ = made(limit=Allowance(1))
    assert driver.take() == LETTERS
    assert run(driver, LETTERS, 1.0) == "paused"
    assert driver.take() is None


def test_a_promotion_that_the_limit_refuses_leaves_the_trial_paused():
    driver, _ = made(plan=THREE, limit=Allowance(3 + 3 + 3))
    source_done(driver, TEXTURES, LETTERS, SHAPES)
    assert [driver.take() for _ in range(3)] == [FROM_TEXTURES, FROM_LETTERS, FROM_SHAPES]
    assert run(driver, FROM_TEXTURES, 1.0) == run(driver, FROM_LETTERS, 2.0) == "paused"
    assert run(driver, FROM_SHAPES, 9.0) == "stopped"
    assert driver.take() is None
    assert driver.ledger.status[FROM_TEXTURES] == "paused"


def test_a_sweep_is_over_when_all_trials_have_ended():
    driver, _ = made()
    while not driver.over:
        key = driver.take()
        assert key is not None
        run(driver, key, *[float(len(key))] * 3, done=True)
    assert set(driver.ledger.status.values()) == {"done", "stopped"}
    assert driver.take() is None
