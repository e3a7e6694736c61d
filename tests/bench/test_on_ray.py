"""Why a trial failed, in words, from the errors that libraries really raise; and what becomes of it then, or when it hangs."""

import os
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch

from bench.costs.budget import Budget
from bench.driver.claims import Claims
from bench.driver.ledger import Ledger
from bench.driver.recorder import Recorder
from bench.driver.sharing import Sharing
from bench.on_ray.cluster import cluster
from bench.on_ray.searcher import PlanSearcher
from bench.on_ray.tasks import map_tasks, reason
from bench.on_ray.tuner import Events
from bench.store import Store
from bench.sweeps.spec import ResourcesConfig
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
def test_want_of_memory_is_told_from_a_bug(error: str):
    first, *rest = reason(error, 60).splitlines()
    assert first.startswith("out of memory; lower training.batch")
    assert rest[-1] == error.splitlines()[-1][:1000]


def test_a_bug_is_told_by_the_end_of_its_traceback():
    error = "Traceback\n  File a\n    x\n\n  File b\n    y = z\nNameError: name 'z' is not defined\n\n"
    assert reason(error, 60) == "File b\ny = z\nNameError: name 'z' is not defined"
    assert reason("", 60) == "its process ended without an error message"


def test_a_full_disk_ends_a_sweep_at_once_and_a_host_that_does_not_reach_the_server_does_not(store: Store, tmp_path: Path):
    plan = tiny.make()
    ledger = Ledger.open(plan, store)
    recorder = Recorder(plan, ledger, store, lambda key, result: None)
    sharing, budget = Sharing(ledger, store, Claims(store), recorder.settle), Budget(ledger)
    searcher = PlanSearcher(ledger, sharing, budget, lambda key: {"key": key})
    events = Events(ledger, store, searcher, recorder, budget, plan.spec.resources)
    (tmp_path / "error.txt").write_text("Traceback\nbench.store.StoreUnwritableError: store 'a' takes no more: why\n")
    trial = SimpleNamespace(config={"key": plan.trials[0].key}, error_file=str(tmp_path / "error.txt"))
    for _ in range(plan.spec.resources.retries if "://" in store.address else 0):
        events.on_trial_error(1, [], trial)
        assert recorder.unwritable is None
    events.on_trial_error(1, [], trial)
    assert str(recorder.unwritable) == "store 'a' takes no more: why"
    assert ledger.is_open()
    assert len(store.read("trials")) == 0, "no trial has failed"


def test_of_tasks_that_fail_die_or_hang_each_is_told_and_the_others_go_on():
    def task(fate: str) -> None:
        if fate == "fails":
            raise ValueError("a reason\nthat is long")
        if fate == "dies":
            os._exit(1)
        if fate == "hangs":
            Event().wait()

    fates = ["hangs", "fails", "dies", "ends"]
    with cluster(ResourcesConfig(), cpus=2):
        found = dict(map_tasks(task, [(fate,) for fate in fates], ResourcesConfig(retries=0, stall_minutes=0.02)))
    gone = "its process was killed, or ended itself after 0.02 minutes without progress"
    assert [found[number] for number in range(4)] == [gone, "that is long", gone, None]


def test_why_ray_did_not_start_here_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with (
        pytest.raises(UserError, match=r"Ray did not start on this machine: .*Not a dir") as error,
        cluster(ResourcesConfig()),
    ):
        pass
    assert "\n" not in str(error.value)
