"""The ledger, and what the driver records: which trials start, stop or are blocked, in any order and after any restart."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.driver.ledger import ENDED, Ledger
from bench.driver.loop import Driver
from bench.driver.results import Results
from bench.driver.stopping import GO, Action, Verdict
from bench.store import Store, open_store
from bench.store.trial_files import checkpoint_path, real_samples_path, samples_path
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row
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
}
ENVIRONMENT = "machine"


def planned(**changes: Any) -> Plan:
    return make_plan(SweepSpec.model_validate({**BASE, **changes}))


#: One cell of scratch, which never stops, and two transfers: at rung 2 one of the two goes on.
PLAN = planned()
LETTERS, SHAPES, SCRATCH, FROM_LETTERS, FROM_SHAPES = PLAN.by_key

#: One cell of three transfers, two of them those of `PLAN`: at rung 2 two go on, at rung 4 one of the two.
THREE = planned(sources=["textures", "letters", "shapes"], strategies=["finetune"])
TEXTURES, _, _, FROM_TEXTURES, _, _ = THREE.by_key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), create=True)


def fresh(plan: Plan = PLAN) -> Ledger:
    """Return the ledger of an empty store."""
    return Ledger.fresh(plan)


def known(ledger: Ledger) -> tuple[object, ...]:
    """Return the whole state of a ledger."""
    return ledger.status, ledger.values, ledger.reasons, [ledger.verdict(key) for key in ledger.plan.by_key]


def measure(store: Store, key: str, step: int, value: float, metric: str = "fid") -> None:
    """Publish a measurement as a trial does."""
    row = {"trial": key, "step": step, "metric": metric, "embedding": "builtin", "value": value}
    row |= {"view": PLAN.spec.evaluation.view, "version": "1"}
    store.append("measurements", "t", [row])


def finish(store: Store, key: str, status: str, plan: Plan = PLAN, **columns: Any) -> None:
    """Publish an outcome as a trial or the driver does."""
    store.append("trials", "t", [outcome_row(plan.by_key[key], status, ENVIRONMENT, **columns)])


def recorded(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return every row of `trials` that was written, by key."""
    rows: dict[str, list[dict[str, Any]]] = {}
    if Path(store.path("trials")).exists():
        for row in ds.dataset(store.path("trials"), format="parquet").to_table().to_pylist():
            rows.setdefault(row["key"], []).append(row)
    return rows


# -- what may start -----------------------------------------------------------------------------------------------------


def test_sources_and_scratch_may_start_in_the_plans_order():
    assert fresh().ready() == [LETTERS, SHAPES, SCRATCH]


def test_a_child_may_start_once_its_own_source_is_done():
    ledger = fresh()
    ledger.start(LETTERS)
    ledger.start(SHAPES)
    ledger.reach(SHAPES, 2, 1.0)
    assert ledger.ready() == [SCRATCH]
    ledger.end(SHAPES, "done")
    assert ledger.ready() == [SCRATCH, FROM_SHAPES]
    ledger.end(LETTERS, "done")
    assert ledger.ready() == [SCRATCH, FROM_LETTERS, FROM_SHAPES]
    assert ledger.settle() == []


def test_open_pending_and_counted_trials():
    ledger = fresh()
    ledger.start(LETTERS)
    ledger.end(SHAPES, "done")
    assert ledger.having("pending") == [SCRATCH, FROM_LETTERS, FROM_SHAPES]
    assert ledger.open_trials() == [LETTERS, SCRATCH, FROM_LETTERS, FROM_SHAPES]
    assert (ledger.count("done"), ledger.count("running", "pending"), ledger.count("failed")) == (1, 4, 0)


def test_the_last_rung_is_the_furthest_that_was_measured():
    ledger = fresh()
    assert ledger.last_rung(SCRATCH) == 0
    ledger.reach(SCRATCH, 2, 5.0)
    ledger.reach(SCRATCH, 4, 5.0)
    ledger.reach(SCRATCH, 2, 5.0)  # reported again after a crash
    assert ledger.last_rung(SCRATCH) == 4


# -- which trials are blocked or stopped --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["failed", "diverged"])
def test_the_children_of_a_source_that_is_lost_are_blocked_with_the_reason(how: Any):
    ledger = fresh()
    ledger.end(LETTERS, how, "boom")
    assert ledger.settle() == [FROM_LETTERS]
    assert ledger.status[FROM_LETTERS] == "blocked"
    assert ledger.reasons[FROM_LETTERS] == f"its source letters {how} ({LETTERS})"
    assert ledger.reasons[LETTERS] == "boom"
    assert ledger.open_trials() == [SHAPES, SCRATCH, FROM_SHAPES]


def test_a_chain_waits_link_by_link_and_is_blocked_link_by_link(store: Store):
    plan = planned(sources=["letters -> numerals", "letters"])
    first, second, scratch, from_second, from_first = plan.by_key
    ledger = fresh(plan)
    assert ledger.ready() == [first, scratch]
    ledger.end(first, "done")
    assert ledger.ready() == [second, scratch, from_first]
    ledger.end(second, "done")
    assert ledger.ready() == [scratch, from_second, from_first]

    finish(store, first, "failed", plan, error="why")
    ledger = Ledger.open(plan, store)
    assert ledger.settle() == [second, from_second, from_first]
    assert ledger.reasons[second] == f"its source letters failed ({first})"
    assert ledger.reasons[from_second] == f"its source letters -> numerals is blocked ({second})"
    assert ledger.ready() == [scratch]
    for key in (second, from_second, from_first):
        finish(store, key, "blocked", plan)
    assert Ledger.open(plan, store).settle() == [], "all of it is recorded"
    again = Ledger.open(plan, store, retry_failed=True)
    assert again.settle() == []
    assert again.ready() == [first, scratch]


def test_a_cell_does_not_wait_for_a_blocked_trial():
    ledger = fresh(THREE)
    ledger.end(SHAPES, "done")
    for key, value in ((FROM_TEXTURES, 2.0), (FROM_SHAPES, 1.0)):
        ledger.start(key)
        ledger.reach(key, 2, value)
        ledger.pause(key)
    assert ledger.settle() == []
    assert ledger.verdict(FROM_TEXTURES) == Verdict(Action.WAIT, 2)
    ledger.end(LETTERS, "failed", "boom")
    assert ledger.settle() == [FROM_TEXTURES, FROM_LETTERS]  # one of the two that can still be compared
    assert (ledger.status[FROM_TEXTURES], ledger.status[FROM_SHAPES]) == ("stopped", "paused")
    assert ledger.verdict(FROM_SHAPES) == GO


def test_the_worst_stop_once_their_cell_is_complete_at_the_rung():
    ledger = fresh(THREE)
    for key in (TEXTURES, LETTERS, SHAPES):
        ledger.end(key, "done")
    for key, value in ((FROM_TEXTURES, 3.0), (FROM_LETTERS, 2.0)):
        ledger.start(key)
        ledger.reach(key, 2, value)
        ledger.pause(key)
        assert ledger.settle() == []
        assert ledger.verdict(key) == Verdict(Action.WAIT, 2)
    ledger.start(FROM_SHAPES)
    ledger.reach(FROM_SHAPES, 2, 1.0)
    ledger.pause(FROM_SHAPES)
    assert ledger.settle() == [FROM_TEXTURES]
    assert ledger.verdict(FROM_TEXTURES) == Verdict(Action.STOP, 2)
    assert ledger.verdict(FROM_LETTERS) == ledger.verdict(FROM_SHAPES) == GO


def test_scratch_neither_waits_nor_stops_and_takes_no_place():
    ledger = fresh()
    for key in (LETTERS, SHAPES):
        ledger.end(key, "done")
    for key, value in ((SCRATCH, 9.0), (FROM_LETTERS, 2.0), (FROM_SHAPES, 1.0)):
        ledger.start(key)
        ledger.reach(key, 2, value)
        assert ledger.verdict(SCRATCH) == GO
        ledger.pause(key)
    assert ledger.settle() == [FROM_LETTERS]  # one of the two transfers goes on
    assert ledger.verdict(FROM_SHAPES) == GO


def test_a_pretrain_trial_is_never_judged():
    ledger = fresh()
    ledger.reach(LETTERS, 2, float("inf"))
    ledger.pause(LETTERS)
    assert ledger.verdict(LETTERS) == GO
    assert ledger.settle() == []


def test_settling_twice_returns_and_changes_nothing_more():
    ledger = fresh()
    ledger.end(LETTERS, "failed", "boom")
    ledger.end(SHAPES, "diverged", "nan")
    assert ledger.settle() == [FROM_LETTERS, FROM_SHAPES]
    before = dict(ledger.status), dict(ledger.reasons)
    assert ledger.settle() == []
    assert (ledger.status, ledger.reasons) == before


# -- from the store -----------------------------------------------------------------------------------------------------


def test_the_ledger_of_an_empty_store_is_that_of_a_fresh_sweep(store: Store):
    assert known(Ledger.open(PLAN, store)) == known(fresh())


def test_outcomes_and_values_are_read_from_the_store(store: Store):
    finish(store, LETTERS, "done", steps=4)
    finish(store, SHAPES, "failed", error="boom")
    finish(store, SCRATCH, "diverged", error="a loss is nan")
    measure(store, FROM_LETTERS, 2, 3.5)
    ledger = Ledger.open(PLAN, store)
    assert list(ledger.status.values()) == ["done", "failed", "diverged", "pending", "pending"]
    assert ledger.values == {LETTERS: {}, SHAPES: {}, SCRATCH: {}, FROM_LETTERS: {2: 3.5}, FROM_SHAPES: {}}
    assert ledger.reasons == {SHAPES: "boom", SCRATCH: "a loss is nan"}


def test_only_trials_of_the_plan_and_the_metric_of_the_rule_count(store: Store):
    other = planned(seeds=[1])
    key = other.trials[-1].key
    finish(store, key, "failed", plan=other, error="boom")
    measure(store, key, 2, 1.0)
    measure(store, SCRATCH, 0, 400.0)
    measure(store, SCRATCH, 2, 0.1, "kid")
    assert known(Ledger.open(PLAN, store)) == known(fresh())
    by_kid = planned(stopping={"metric": "kid"})
    assert Ledger.open(by_kid, store).values[SCRATCH] == {2: 0.1}


def test_a_measurement_written_twice_is_one(store: Store):
    measure(store, SCRATCH, 2, 9.0)
    measure(store, SCRATCH, 2, 3.0)
    assert Ledger.open(PLAN, store).values[SCRATCH] == {2: 3.0}


def test_a_failed_source_stays_failed_until_a_retry_which_unblocks_its_children(store: Store):
    finish(store, LETTERS, "failed", error="boom")
    finish(store, FROM_LETTERS, "blocked", error="its source letters failed")
    measure(store, LETTERS, 2, 1.0)
    ledger = Ledger.open(PLAN, store)
    assert ledger.settle() == []  # the store knows
    assert (ledger.status[LETTERS], ledger.status[FROM_LETTERS]) == ("failed", "blocked")
    assert ledger.ready() == [SHAPES, SCRATCH]

    retried = Ledger.open(PLAN, store, retry_failed=True)
    assert retried.settle() == []
    assert retried.open_trials() == list(PLAN.by_key)
    assert retried.ready() == [LETTERS, SHAPES, SCRATCH]
    assert retried.reasons == {}
    assert retried.last_rung(LETTERS) == 2  # its checkpoint counts still
    retried.end(LETTERS, "done")
    assert FROM_LETTERS in retried.ready()


def test_a_cell_waits_for_the_values_of_a_trial_that_diverged_before_this_evaluation_measured_it(store: Store):
    ledger = fresh(THREE)
    for key, trial in THREE.by_key.items():
        if trial.kind == "pretrain":
            ledger.end(key, "done")
    for key, value in zip(ledger.ready()[1:], (2.0, 3.0), strict=True):
        ledger.pause(key)
        ledger.reach(key, 2, value)
    results = Results(THREE, store)
    finish(store, FROM_TEXTURES, "diverged", THREE, steps=4)

    def look(*, is_behind: bool) -> set[str]:
        ledger.take_in(results, results.update(), (), lambda key: 0, lambda key: is_behind)
        return {ledger.verdict(key).action.value for key in (FROM_LETTERS, FROM_SHAPES)}

    # Another evaluation has measured it at step 2, and this one can: at this rung it may be the best.
    assert look(is_behind=True) == {"wait"}
    assert FROM_TEXTURES in ledger.deferred
    assert not ledger.is_ready(FROM_TEXTURES)
    measure(store, FROM_TEXTURES, 2, 1.0)
    assert look(is_behind=False) == {"go", "stop"}
    assert ledger.status[FROM_TEXTURES] == "diverged"
    assert ledger.deferred == set()


def test_a_retry_does_not_repeat_diverged_trials(store: Store):
    finish(store, LETTERS, "diverged", error="nan")
    ledger = Ledger.open(PLAN, store, retry_failed=True)
    assert ledger.settle() == [FROM_LETTERS]
    assert (ledger.status[LETTERS], ledger.status[FROM_LETTERS]) == ("diverged", "blocked")


@pytest.mark.parametrize(("others", "status"), [
    ((5.0, 6.0), "pending"),  # second of four: two go on
    ((1.5, 6.0), "stopped"),
    ((float("nan"), float("inf")), "pending"),
])  # fmt: skip
def test_a_trial_that_a_smaller_cell_stopped_goes_on_if_a_larger_cell_keeps_it(
    store: Store, others: tuple[float, float], status: str
):
    small = planned(sources=["letters", "numerals"], strategies=["finetune"])
    large = planned(sources=["letters", "numerals", "shapes", "textures"], strategies=["finetune"])
    letters, numerals, shapes, textures = (trial.key for trial in large.of_kind("adapt"))
    assert set(small.by_key) > {LETTERS, letters, numerals}
    for trial in large.of_kind("pretrain"):
        finish(store, trial.key, "done", plan=large)
    measure(store, letters, 2, 1.0)
    measure(store, numerals, 2, 2.0)
    finish(store, letters, "done", plan=large)
    for step in (4, 8):
        measure(store, letters, step, 1.0)
    first = Ledger.open(small, store)
    assert first.settle() == [numerals]
    finish(store, numerals, "stopped", plan=large, steps=2)

    waiting = Ledger.open(large, store)
    assert waiting.settle() == []
    assert waiting.status[numerals] == "pending"
    assert waiting.verdict(numerals) == Verdict(Action.WAIT, 2)
    assert waiting.ready() == [shapes, textures]

    for key, value in zip((shapes, textures), others, strict=True):
        waiting.start(key)
        waiting.reach(key, 2, value)
        waiting.pause(key)
        measure(store, key, 2, value)
    again = Ledger.open(large, store)
    for ledger in (waiting, again):
        assert numerals not in ledger.settle()  # if it is stopped, the store knows
        assert ledger.status[numerals] == status
        assert (numerals in ledger.ready()) == (status == "pending")
    assert Ledger.open(small, store).verdict(numerals) == Verdict(Action.STOP, 2)


def test_a_done_trial_stays_done_even_if_a_larger_cell_would_have_stopped_it(store: Store):
    finish(store, FROM_TEXTURES, "done", THREE)
    for step in (2, 4, 8):
        measure(store, FROM_TEXTURES, step, 9.0)
    measure(store, FROM_LETTERS, 2, 1.0)
    measure(store, FROM_SHAPES, 2, 2.0)
    ledger = Ledger.open(THREE, store)
    assert ledger.verdict(FROM_TEXTURES) == Verdict(Action.STOP, 2)
    assert FROM_TEXTURES not in ledger.settle()
    assert ledger.status[FROM_TEXTURES] == "done"


# -- any order, any restart ---------------------------------------------------------------------------------------------

WIDE = planned(
    sources=["letters", "shapes", "textures"], sizes=[10, 20], strategies=["scratch", "finetune", "finetune-d"],
    resources={"retries": 0},
)  # fmt: skip

#: Each trial's course without stopping: its value at each rung, "diverged" or "failed".
Fates = dict[str, list[float | str]]
Event = Callable[[Ledger, str, int, float | str], Ledger]


@st.composite
def fates(draw: st.DrawFn) -> Fates:
    value = st.floats(0, 100) | st.sampled_from([1.0, float("nan"), "diverged", "failed"])
    return {key: [draw(value) for _ in trial.rungs] for key, trial in WIDE.by_key.items()}


def note(ledger: Ledger, key: str, rung: int, fate: float | str) -> Ledger:
    """Report an event to the ledger, as the driver does."""
    if isinstance(fate, str):
        ledger.end(key, "diverged" if fate == "diverged" else "failed", fate)
    else:
        ledger.reach(key, rung, fate)
        if rung == ledger.plan.by_key[key].rungs[-1]:
            ledger.end(key, "done")
        else:
            ledger.pause(key)
    ledger.settle()
    return ledger


def play(ledger: Ledger, fates: Fates, choose: Callable[[list[str]], str], event: Event = note) -> Ledger:
    """Run a sweep to its end: repeatedly move one of the trials that can go on to its next rung."""
    ledger.settle()
    while ledger.open_trials():
        promoted = [k for k, status in ledger.status.items() if status == "paused" and ledger.verdict(k) == GO]
        running = [k for k, status in ledger.status.items() if status == "running"]
        key = choose([*running, *promoted, *ledger.ready()])
        ledger.start(key)
        rungs = ledger.plan.by_key[key].rungs
        i = sum(rung <= ledger.last_rung(key) for rung in rungs)
        ledger = event(ledger, key, rungs[i], fates[key][i])
    return ledger


def ends(ledger: Ledger) -> dict[str, tuple[str, int, str | None]]:
    """Return each trial's end, its last rung and the reason."""
    return {key: (status, ledger.last_rung(key), ledger.reasons.get(key)) for key, status in ledger.status.items()}


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(fates(), st.randoms(use_true_random=False))
def test_a_sweep_ends_the_same_in_any_order_of_its_trials(fates: Fates, order: random.Random):
    expected = ends(play(fresh(WIDE), fates, lambda movable: movable[0]))
    assert ends(play(fresh(WIDE), fates, lambda movable: movable[-1])) == expected
    assert ends(play(fresh(WIDE), fates, order.choice)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_that_is_restarted_at_any_moment_ends_the_same_and_records_every_end_once(store: Store, seed: int):
    order = random.Random(seed)
    fates: Fates = {
        key: [order.choice([order.uniform(1, 9), order.uniform(1, 9), order.uniform(1, 9), float("nan")]) for _ in t.rungs]
        for key, t in WIDE.by_key.items()
    }
    adapts = [trial.key for trial in WIDE.of_kind("adapt")]
    lost = WIDE.trials[seed % 3].key  # its children will be blocked
    for key, how in ((lost, "failed"), (adapts[1], "diverged"), (adapts[-1], "failed")):
        fates[key][order.randrange(len(fates[key]))] = how
    drivers: dict[int, Driver] = {}

    def event(ledger: Ledger, key: str, rung: int, fate: float | str) -> Ledger:
        driver = drivers.setdefault(id(ledger), Driver(ledger, store))
        report = {"status": "running", "steps": rung, "environment": ENVIRONMENT}
        if fate == "failed":
            driver.fail(key, "failed")
        elif fate == "diverged":
            finish(store, key, "diverged", WIDE, steps=rung, error="diverged")
            driver.rung(key, {**report, "status": "diverged", "error": "diverged"})
        else:
            assert isinstance(fate, float)
            measure(store, key, rung, fate)
            if rung == WIDE.by_key[key].rungs[-1]:
                finish(store, key, "done", WIDE, steps=rung)
                report["status"] = "done"
            driver.rung(key, {**report, "fid": fate})
        rebuilt = Ledger.open(WIDE, store)
        rebuilt.settle()
        assert {key: rebuilt.verdict(key) for key in WIDE.by_key} == {key: ledger.verdict(key) for key in WIDE.by_key}
        for key, status in ledger.status.items():
            assert rebuilt.status[key] == (status if status in ENDED else "pending")
        return rebuilt if order.random() < 0.3 else ledger

    ended = play(Ledger.open(WIDE, store), fates, order.choice, event)
    assert ends(ended) == ends(play(fresh(WIDE), fates, lambda movable: movable[0]))
    assert {"done", "stopped", "failed", "blocked"} <= set(ended.status.values())
    rows = recorded(store)
    assert {key: [row["status"] for row in written] for key, written in rows.items()} == {
        key: [status] for key, status in ended.status.items()
    }
    for key, (status, last, reason) in ends(ended).items():
        (row,) = rows[key]
        assert row["error"] == reason
        assert row["environment"]
        if status != "diverged":
            assert row["steps"] == last


# -- what the driver records and announces ------------------------------------------------------------------------------


class Listener:
    """Notes what the driver announces."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int | None]] = []

    def __call__(self, key: str, result: Any) -> None:
        self.heard.append((key, result and result["steps"]))


def driver_at_first_rung(store: Store) -> tuple[Ledger, Driver, Listener]:
    """Return the driver of a sweep whose sources are done and whose trials have started."""
    ledger, listener = fresh(THREE), Listener()
    for key in (TEXTURES, LETTERS, SHAPES):
        ledger.end(key, "done")
    for key in (FROM_TEXTURES, FROM_LETTERS, FROM_SHAPES):
        ledger.start(key)
    return ledger, Driver(ledger, store, listener), listener


def rung(driver: Driver, key: str, step: int, value: float, **metrics: float) -> None:
    report = {"status": "running", "steps": step, "seconds": 0.5 * step, "environment": ENVIRONMENT}
    driver.rung(key, {**report, "fid": value, **metrics})


def test_a_stopped_trial_is_recorded_once_with_its_steps_and_its_files(store: Store):
    ledger, driver, listener = driver_at_first_rung(store)
    store.write_file(checkpoint_path(FROM_TEXTURES, 2), b"checkpoint")
    store.write_file(samples_path(FROM_TEXTURES, 2), b"samples")
    store.write_file(real_samples_path(THREE.by_key[FROM_TEXTURES]), b"real")
    rung(driver, FROM_TEXTURES, 2, 9.0)
    rung(driver, FROM_LETTERS, 2, 2.0)
    assert recorded(store) == {}
    assert ledger.status[FROM_TEXTURES] == "paused"
    rung(driver, FROM_SHAPES, 2, 1.0)
    assert listener.heard == [(FROM_TEXTURES, 2), (FROM_LETTERS, 2), (FROM_SHAPES, 2), (FROM_TEXTURES, None)]
    # The trial that completes the rung goes on immediately, a waiting one once there are resources.
    assert (ledger.status[FROM_SHAPES], ledger.status[FROM_LETTERS]) == ("running", "paused")
    driver.settle()
    rung(driver, FROM_SHAPES, 4, 1.0)
    ((row,),) = recorded(store).values()
    report = {"seconds": 1.0, "images_per_second": None, "peak_memory_mib": None}
    expected = outcome_row(
        THREE.by_key[FROM_TEXTURES], "stopped", ENVIRONMENT, report, steps=2,
        checkpoint=checkpoint_path(FROM_TEXTURES, 2), samples=samples_path(FROM_TEXTURES, 2),
        real_samples=real_samples_path(THREE.by_key[FROM_TEXTURES]), error=None, rule=THREE.spec.stopping.canonical_json(),
    )  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["budget"] == 8


def test_the_trial_that_completes_the_rung_may_itself_be_stopped(store: Store):
    ledger, driver, listener = driver_at_first_rung(store)
    for key, value in ((FROM_LETTERS, 2.0), (FROM_SHAPES, 1.0), (FROM_TEXTURES, 9.0)):
        rung(driver, key, 2, value)
    assert ledger.status[FROM_TEXTURES] == "stopped"
    assert [row["status"] for row in recorded(store)[FROM_TEXTURES]] == ["stopped"]
    assert listener.heard == [(FROM_LETTERS, 2), (FROM_SHAPES, 2), (FROM_TEXTURES, 2)]


def test_a_rung_that_is_reported_again_is_not_announced(store: Store):
    ledger, driver, listener = driver_at_first_rung(store)
    for _ in range(3):
        rung(driver, FROM_TEXTURES, 2, 9.0)
    assert listener.heard == [(FROM_TEXTURES, 2)]
    assert ledger.status[FROM_TEXTURES] == "paused"


def test_a_failure_and_the_trials_that_it_blocks_are_recorded_once_with_the_reason(store: Store):
    ledger, listener = fresh(), Listener()
    driver = Driver(ledger, store, listener, back_off=0.0)
    ledger.start(LETTERS)
    ledger.reach(LETTERS, 2, 3.0)
    store.write_file(checkpoint_path(LETTERS, 2), b"checkpoint")
    for _ in range(1 + PLAN.spec.resources.retries):
        driver.fail(LETTERS, "RuntimeError: out of memory")
    driver.settle()
    rows = recorded(store)
    assert set(rows) == {LETTERS, FROM_LETTERS}
    ((failed,), (blocked,)) = rows[LETTERS], rows[FROM_LETTERS]
    assert (failed["status"], failed["steps"], failed["error"]) == ("failed", 2, "RuntimeError: out of memory")
    assert failed["checkpoint"] == checkpoint_path(LETTERS, 2)
    assert (blocked["status"], blocked["steps"], blocked["checkpoint"]) == ("blocked", 0, None)
    assert blocked["error"] == f"its source letters failed ({LETTERS})"
    assert listener.heard == [(LETTERS, None), (FROM_LETTERS, None)]
    (environment,) = store.read("environments")["environment"]
    assert failed["environment"] == blocked["environment"] == environment


def test_ends_that_the_store_already_determines_are_recorded_once_at_the_start(store: Store):
    for key in (TEXTURES, LETTERS, SHAPES):
        finish(store, key, "done", THREE, error=None)
    for key, value in ((FROM_TEXTURES, 9.0), (FROM_LETTERS, 2.0), (FROM_SHAPES, 1.0)):
        measure(store, key, 2, value)
    for _ in range(2):
        listener = Listener()
        ledger = Ledger.open(THREE, store)
        Driver(ledger, store, listener).settle()
        assert ledger.status[FROM_TEXTURES] == "stopped"
        assert [row["steps"] for row in recorded(store)[FROM_TEXTURES]] == [2]
    assert listener.heard == []


def test_a_collapsed_trial_is_recorded_with_the_reason_also_after_a_restart(store: Store):
    ledger, driver, _ = driver_at_first_rung(store)
    for key in (TEXTURES, LETTERS, SHAPES):
        finish(store, key, "done", THREE, error=None)
    for key, steps, diversity in ((FROM_TEXTURES, (2,), 0.9), (FROM_LETTERS, (2, 4), 0.9), (FROM_SHAPES, (2,), 0.9)):
        for step in steps:
            value = {FROM_TEXTURES: 9.0, FROM_LETTERS: 2.0, FROM_SHAPES: 1.0}[key]
            share = diversity if step == 2 else 0.01
            measure(store, key, step, value)
            measure(store, key, step, share, "diversity")
            rung(driver, key, step, value, diversity=share)
            driver.settle()
    assert ledger.status[FROM_LETTERS] == "stopped"  # at rung 4, though it need not wait for the other
    (row,) = recorded(store)[FROM_LETTERS]
    assert row["error"] == "collapsed: its samples are 0.01 times as diverse as the reference images, and were 0.9 times"
    again = Ledger.open(THREE, store)
    again.settle()
    assert [again.status[key] for key in (FROM_TEXTURES, FROM_LETTERS)] == ["stopped", "stopped"]
    assert again.reasons == ledger.reasons
