"""Explanations of real errors, failed and hanging tasks, and what the driver learns of an unwritable store."""

import gc
import math
import os
import socket
from collections.abc import Iterator, Mapping
from numbers import Number
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakSet

import pytest
import torch
from ray import tune
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.air.execution.resources.fixed import FixedAcquiredResources
from ray.exceptions import OutOfMemoryError, RayError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils.util import flatten_dict

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray import scheduler as adapter
from bench.on_ray import slots, tasks, tuner
from bench.on_ray.cluster import cluster
from bench.on_ray.losses import lost_machine, memory_monitor_known
from bench.on_ray.scheduler import CellHalving
from bench.on_ray.slots import Rooms
from bench.on_ray.tasks import Evaluations, map_tasks, reason
from bench.on_ray.trainable import UNWRITABLE, received, report
from bench.on_ray.tuner import run_trials
from bench.store import Store, StoreUnwritableError, open_store
from bench.sweeps.spec import ResourcesConfig
from tests.benchmarks.overhead.trivial import trivial_on_ray, trivial_plan
from tests.support import tiny
from trainers.common.errors import UserError


def torch_is_out_of_memory() -> str:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50)
    return f"Traceback\nRuntimeError: {error.value}"


@pytest.mark.parametrize("error", [
    torch_is_out_of_memory(),
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
    "MemoryError",
])  # fmt: skip
def test_lack_of_memory_is_distinguished_from_a_bug(error: str):
    first, *rest = reason(error, 60).splitlines()
    assert first.startswith("out of memory; lower training.batch")
    assert rest[-1] == error.splitlines()[-1][:1000]


#: What Ray 2.60 said of a trial's process that its memory monitor had ended, without a page of figures and advice.
MONITOR = """Failure # 1 (occurred at 2026-11-29_19-05-27)
2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: \
729bcc2aa398fd38d0d0e0af24e461b7940eb9a9bd50bf3234782349) was 22.49GB used / 23.54GB limit (0.955396)
OOM kill reason: Memory usage 24148446438B exceeded threshold of 24012676915B (95.0% of 25276502016B limit)
Top 10 memory users: PID	MEM(GB)	COMMAND
2532	0.07	ray::IDLE
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io. To disable worker killing, set the \
environment variable `RAY_memory_monitor_refresh_ms` to zero. """


def test_a_process_that_rays_memory_monitor_has_ended_is_a_failure_explained_in_one_line():
    assert lost_machine(MONITOR) is None
    (line,) = reason(MONITOR, 60).splitlines()
    assert line.startswith("out of memory: Ray ended its process when 22.49 of the 23.54 GB of machine 192.0.2.2 were in use; ")
    assert "resources.cpus" in line
    assert "RAY_" not in line


def test_a_process_that_the_monitor_has_ended_fails_alone_and_does_not_end_the_run():
    """Tune raises an error that it does not know. The first check fails once it knows this one."""
    manager = RayActorManager(resource_manager=cast(Any, SimpleNamespace(free_resources=lambda acquired_resource: None)))
    told: list[str] = []
    actor = TrackedActor(1, on_error=lambda actor, error: told.append(f"actor: {error}"))
    call = TrackedActorTask(actor, on_error=lambda actor, error: told.append(f"call: {error}"))
    manager._live_actors_to_ray_actors_resources[actor] = (None, None)

    def fail(error: RayError) -> None:
        manager._actor_task_failed(tracked_actor_task=call, exception=error)

    with pytest.raises(RuntimeError, match="unexpected exception"):
        fail(OutOfMemoryError(MONITOR))
    with memory_monitor_known():
        fail(OutOfMemoryError(MONITOR))
        with pytest.raises(RuntimeError, match="unexpected exception: other"):
            fail(RayError("other"))
    assert told == [f"actor: {MONITOR}", f"call: {MONITOR}"]
    assert manager.is_actor_failed(actor)


def test_a_trial_that_lacked_memory_takes_twice_the_room_for_its_next_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its neighbours on a machine are then fewer; it never takes more than a machine."""
    store = open_store(str(tmp_path / "store"), create=True)
    plan = tiny.make(resources={"cpus": 2, "retries": 9})
    driver, rooms = Driver(Ledger.open(plan, store), store), Rooms(plan.spec.resources)
    monkeypatch.setattr(slots, "alive", lambda: [{"CPU": 4.0}, {"CPU": 13.0}])
    key, other = plan.trials[0].key, plan.trials[1].key
    events = tuner.Events(driver, cast(Any, None), rooms)
    trial = SimpleNamespace(config={"key": key}, error_file=str(tmp_path / "error.txt"))

    def fail(error: str) -> int:
        (tmp_path / "error.txt").write_text(error)
        driver.start(key)
        events.on_trial_error(0, [], trial)
        return rooms.take(key)

    assert [fail("NameError"), fail(MONITOR), fail(MONITOR), fail("NameError"), fail(MONITOR)] == [1, 2, 4, 4, 6]
    assert rooms.take(other) == 1
    room = rooms.reserve({"room": 2})
    assert (room.bundles, room.strategy) == ([{"CPU": 2.0}] * 2, "STRICT_PACK")


def test_a_trial_that_tune_starts_again_by_itself_waits_until_it_has_a_process(tmp_path: Path):
    """Its machine was taken back after a notice. It neither runs nor occupies its slots meanwhile."""
    plan = tiny.make()
    said: list[str | None] = []
    driver = Driver(Ledger.fresh(plan), notice=lambda key, text: said.append(key))
    events = tuner.Events(driver, cast(Any, None), Rooms(plan.spec.resources))
    key = plan.trials[0].key
    driver.start(key)
    events.on_trial_recover(0, [], SimpleNamespace(config={"key": key}, error_file=None))
    assert (driver.ledger.status[key], said) == ("queued", [key])


def scheduler_of(driver: Driver) -> CellHalving:
    return CellHalving(driver, Rooms(driver.ledger.plan.spec.resources), Evaluations(driver, lambda key: {}))


@pytest.mark.parametrize(("rooms", "evaluations", "freed"), [
    ([2, 1], [1], False),  # the machine has four slots: one is free
    ([2, 1], [1, 1], True),
    ([1, 1], [1, 1], False),
    ([1], [2], True),  # enough are free, but perhaps not on one machine
])  # fmt: skip
def test_idle_processes_end_if_evaluations_need_their_slots_and_a_process_may_take_several(
    rooms: list[int], evaluations: list[int], freed: bool, monkeypatch: pytest.MonkeyPatch
):
    plan = tiny.make(resources={"cpus": 2})
    manager = RayActorManager(resource_manager=cast(Any, None))
    reserved = Rooms(plan.spec.resources).reserve
    for number, room in enumerate(rooms):
        request = reserved({"room": room})
        taken = FixedAcquiredResources(bundles=request.bundles, resource_request=request)
        manager._live_actors_to_ray_actors_resources[TrackedActor(number)] = (None, taken)
    ended: list[bool] = []
    controller = SimpleNamespace(_actor_manager=manager, _cleanup_cached_actors=lambda force_all: ended.append(force_all))
    scheduler = scheduler_of(Driver(Ledger.fresh(plan)))
    monkeypatch.setattr(Evaluations, "slots", evaluations)
    monkeypatch.setattr(adapter, "alive", lambda: [{"CPU": 5.0}, {"CPU": 4.0}])
    scheduler._free_cores(controller)
    assert ended == [True] * freed


def test_a_bug_is_reported_by_the_end_of_its_traceback():
    error = "Traceback\n  File a\n    x\n\n  File b\n    y = z\nNameError: name 'z' is not defined\n\n"
    assert reason(error, 60) == "File b\ny = z\nNameError: name 'z' is not defined"
    assert reason("", 60) == "its process ended without an error message"


def test_an_exception_that_quotes_rays_words_for_a_lost_machine_is_a_failure():
    words = "The actor died unexpectedly before finishing this task.\n\tactor_id: 94afe9e264ae51f7d5bf2a0301000000"
    assert lost_machine(f"Failure # 1 (occurred at 2026-11-28_20-22-15)\nray::ImplicitFunc.train()\n{words}") is None
    assert lost_machine("") is None


def test_a_full_disk_ends_a_sweep_at_once_and_a_host_that_does_not_reach_the_server_does_not(store: Store, tmp_path: Path):
    plan = tiny.make()
    ledger = Ledger.open(plan, store)
    driver = Driver(ledger, store)
    scheduler = scheduler_of(driver)
    why = "store 'a' takes no more: why"
    trial = SimpleNamespace(config={"key": plan.trials[0].key})
    result = {"status": UNWRITABLE, "error": why}
    for _ in range(plan.spec.resources.retries if "://" in store.address else 0):
        assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
        assert driver.unwritable is None
    assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
    assert str(driver.unwritable) == why
    assert ledger.is_open()
    assert len(store.read("trials")) == 0, "no trial has failed"


def test_a_waiting_trial_whose_claim_is_lost_is_ended_and_not_the_one_that_follows_it(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    driver = Driver(Ledger.open(tiny.make(), store), store)
    scheduler = scheduler_of(driver)
    ended: list[Any] = []

    def end(trial: Any) -> None:
        ended.append(trial)
        trial.status = Trial.TERMINATED

    with driver.sharing():
        key = driver.release()
        assert key is not None
        first, second = (SimpleNamespace(config={"key": key}, status=Trial.PAUSED) for _ in range(2))
        scheduler.on_trial_add(None, first)
        driver.start(key)
        driver.ledger.pause(key)
        store.delete_file(str(driver.claim(key)))
        assert not driver.promote(key)
        scheduler.on_trial_add(None, second)
        for _ in range(2):
            scheduler.choose_trial_to_run(SimpleNamespace(stop_trial=end))
    assert [trial is first for trial in ended] == [True]


def test_why_ray_did_not_start_on_this_machine_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with (
        pytest.raises(UserError, match=r"Ray did not start on this machine: .*Not a dir") as error,
        cluster(ResourcesConfig()),
    ):
        pass
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Ray on this machine, with room for two tasks."""
    with cluster(ResourcesConfig(), cpus=2):
        yield


@pytest.mark.slow
def test_ray_keeps_no_trial_that_has_ended(ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Done, failed and retried, or stopped while they wait for their cell."""
    alive: WeakSet[Trial] = WeakSet()
    kept: dict[int, int] = {}
    add, choose = CellHalving.on_trial_add, CellHalving.choose_trial_to_run

    def added(scheduler: CellHalving, controller: Any, trial: Trial) -> None:
        alive.add(trial)
        add(scheduler, controller, trial)

    def chosen(scheduler: CellHalving, controller: Any) -> Trial | None:
        trial = choose(scheduler, controller)
        if (ends := len(driver.ledger.ends)) % 8 == 0 and ends not in kept:
            gc.collect()
            kept[ends] = sum(each.status in (Trial.TERMINATED, Trial.ERROR) for each in alive)
        return trial

    def fails_once(config: Mapping[str, Any]) -> None:
        marker = tmp_path / config["key"]
        if config["key"] in failing and not marker.exists():
            marker.touch()
            raise ValueError("once")
        trivial_on_ray(config)

    monkeypatch.setattr(CellHalving, "on_trial_add", added)
    monkeypatch.setattr(CellHalving, "choose_trial_to_run", chosen)
    plan = trivial_plan(24, steps=4, rule="halving")
    failing = {plan.trials[5].key}
    store = open_store(str(tmp_path / "store"), create=True)
    driver = Driver(Ledger.open(plan, store), store, back_off=0.0)
    run_trials(driver, fails_once)
    assert driver.ledger.count("done", "stopped") == len(plan.trials)
    assert driver.ledger.count("stopped")
    assert len(kept) > 1
    assert max(kept.values()) <= 8, kept


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The CPU cores of the one machine that seems to be up; Ray itself has two. Each look at it counts at once."""
    has = [4.0]
    for module in (slots, tuner):
        monkeypatch.setattr(module, "alive", lambda: [{"CPU": has[0]}])
    monkeypatch.setattr(slots, "LOOK", 0.0)
    return has


@pytest.mark.slow
def test_a_trial_that_waits_for_more_slots_than_any_machine_has_left_says_so_and_takes_fewer(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: list[float]
):
    added_to: list[tuple[int, int]] = []
    add = CellHalving.on_trial_add

    def widened(needed: ResourcesConfig) -> Rooms:
        made = Rooms(needed)
        for _ in range(2):
            made.widen(key)
        return made

    def added(scheduler: CellHalving, controller: Any, trial: Trial) -> None:
        added_to.append((trial.config["room"], len(controller._staged_trials)))
        add(scheduler, controller, trial)

    said: list[str] = []

    def notice(subject: str | None, text: str) -> None:
        said.append(text)
        if subject is None:
            cores[0] = 2.0

    monkeypatch.setattr(tuner, "PATIENCE", 0.0)
    monkeypatch.setattr(tuner, "Rooms", widened)
    monkeypatch.setattr(CellHalving, "on_trial_add", added)
    plan = tiny.make(sources=[], strategies=["scratch"])
    (key,) = plan.by_key
    store = open_store(str(tmp_path / "store"), create=True)
    driver = Driver(Ledger.open(plan, store), store, notice=notice)
    run_trials(driver, lambda config: report([{"status": "done", "steps": 8, "fid": 1.0}]))
    assert driver.ledger.status[key] == "done"
    assert added_to == [(4, 0), (2, 0)], "Tune has forgotten the first request"
    assert driver.limit.rooms == {key: 2}
    assert said[:2] == [
        "no trial runs: each waits for 4 CPUs and 0 GPUs (4 slots, as a machine's memory was full) that are free on one "
        "machine; machines that are up: 4 CPUs and 0 GPUs; start such a machine, or interrupt the run and repeat it: each "
        "trial takes one slot again",
        "no machine has the 4 slots that it waits for, so it takes 2; goes on elsewhere from step 0, not counted as a retry",
    ]


@pytest.mark.slow
def test_an_evaluation_that_lacked_memory_takes_twice_the_room_and_never_waits_for_more_than_there_is(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: list[float]
):
    plan = tiny.make(sources=[], strategies=["scratch"], evaluation={**tiny.SPEC["evaluation"], "where": "task"})
    (key,) = plan.by_key
    attempts = [tmp_path / f"attempt-{attempt}" for attempt in range(3)]

    def measures(config: Mapping[str, Any], environment: str) -> dict[str, Any]:
        attempt = next(attempt for attempt in attempts if not attempt.exists())
        attempt.touch()
        if attempt != attempts[-1]:
            raise RuntimeError(MONITOR)
        return {"status": "running", "steps": 2, "fid": 1.0}

    monkeypatch.setattr(tasks, "measure_on_ray", measures)
    said: list[str] = []
    driver = Driver(Ledger.fresh(plan), notice=lambda subject, text: said.append(text), back_off=0.0)
    driver.start(key)
    driver.rung(key, {"status": "reached", "steps": 2, "environment": ""})
    taken: list[list[int]] = []
    with Evaluations(driver, lambda key: {}) as evaluations:

        def ended() -> bool:
            evaluations.look()
            if evaluations.slots not in taken[-1:]:
                taken.append(evaluations.slots)
            if evaluations.slots == [4]:
                cores[0] = 2.0
            return not driver.ledger.count("measuring")

        tiny.wait_for(ended)
    assert taken == [[1], [2], [4], [2], []]
    assert said == [
        "no machine has the 4 slots that it waits for, so it takes 2; goes on elsewhere from step 0, not counted as a retry"
    ]


@pytest.mark.slow
def test_an_unwritable_store_is_reported_as_data_and_the_text_of_an_error_decides_nothing(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An error that only names the class in its text is an ordinary failure, and is retried and recorded."""
    hosts: list[str | None] = []
    original = tuner._host
    monkeypatch.setattr(tuner, "_host", lambda trial: hosts.append(original(trial)) or hosts[-1])

    def full(config: Mapping[str, Any]) -> None:
        def rungs() -> Iterator[dict[str, Any]]:
            raise StoreUnwritableError("store 'a' takes no more: why")
            yield {}

        report(rungs())

    def mentions(config: Mapping[str, Any]) -> None:
        raise ValueError("StoreUnwritableError: not really")

    plan = tiny.make(sources=[], strategies=["scratch"], resources={"retries": 0})
    drivers = []
    for trainable in (full, mentions):
        store = open_store(str(tmp_path / trainable.__name__), create=True)
        drivers.append(Driver(Ledger.open(plan, store), store))
        run_trials(drivers[-1], trainable)
    unwritable, failed = drivers
    assert set(hosts) == {socket.gethostname()}, "where Ray has started the trials"
    assert str(unwritable.unwritable) == "store 'a' takes no more: why"
    assert unwritable.ledger.is_open()
    assert failed.unwritable is None
    assert list(failed.ledger.status.values()) == ["failed"]
    assert failed.ledger.reasons[plan.trials[0].key].endswith("ValueError: StoreUnwritableError: not really")


@pytest.mark.slow
def test_tasks_that_fail_die_or_hang_are_each_reported_and_the_others_go_on(ray_here: None):
    def task(fate: str) -> None:
        if fate == "fails":
            raise ValueError("a reason\nthat is long")
        if fate == "dies":
            os._exit(1)
        if fate == "hangs":
            Event().wait()

    fates = ["hangs", "fails", "dies", "ends"]
    errors = dict(map_tasks(task, [(fate,) for fate in fates], ResourcesConfig(retries=0, stall_minutes=0.02)))
    gone = "its process was killed, or ended itself after 0.02 minutes without progress"
    assert [errors[number] for number in range(4)] == [gone, "that is long", gone, None]


def test_tune_keeps_no_statistics_of_the_values_of_a_rung(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", sent.append)
    rung = {"status": "running", "steps": 8, "fid": 1.5, "error": None, "kid_raw": math.nan}
    report([rung])
    assert not [value for value in flatten_dict(sent[0]).values() if isinstance(value, Number)]  # what Tune looks for
    assert received(sent[0]) == rung
