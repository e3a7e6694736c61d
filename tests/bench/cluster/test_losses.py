"""Machines that are lost or drained in the middle of a trial: no retry is counted, as it is for a process that dies alone."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray import cluster as joined
from bench.on_ray.notice import heeded
from bench.on_ray.slots import alive
from bench.on_ray.tasks import map_tasks
from bench.on_ray.trainable import report
from bench.on_ray.tuner import run_trials
from bench.store import open_store
from bench.store.trial_files import checkpoint_path
from bench.sweeps.spec import ResourcesConfig
from tests.conftest import QUIET
from tests.support import tiny
from trainers.common.errors import Left

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """A cluster whose head runs no trial, and that takes as long as any to notice that a machine is gone."""
    running = Cluster(initialize_head=True, head_node_args={**QUIET, "num_cpus": 0})
    yield running
    running.shutdown()


@pytest.fixture
def machines(head: Cluster) -> Iterator[Cluster]:
    """The cluster; machines that are added to it end with the test."""
    yield head
    for node in [*head.worker_nodes]:
        head.remove_node(node, allow_graceful=False)


def raylet(node: Any) -> int:
    """Return the process that runs the machine's trials in its child processes."""
    return int(node.all_processes["raylet"][0].process.pid)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def kill(machines: Cluster, node: Any) -> None:
    """Take the machine away without notice."""
    for process in (raylet(node), *children(raylet(node))):
        with suppress(ProcessLookupError):  # it ended with the first
            os.kill(process, signal.SIGKILL)


def drain(machines: Cluster, node: Any) -> None:
    """Give notice that the machine will be taken away, as the clouds do."""
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = ray._raylet.GcsClient(address=machines.address)
    assert client.drain_node(node.node_id, reason, "it will be taken back", int(1000 * time.time()) + 60_000)[0]
    assert not any(machine.get("CPU") for machine in alive())


def take_back(machines: Cluster, node: Any) -> None:
    """Take the machine away immediately after a notice."""
    drain(machines, node)
    kill(machines, node)


def kill_process(machines: Cluster, node: Any) -> None:
    """Kill the process of the trial, as the kernel does for lack of memory; the machine lives on."""
    (process,) = (
        child for child in children(raylet(node)) if b"ray::ImplicitFunc" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    os.kill(process, signal.SIGKILL)


def run(machines: Cluster, folder: Path, *ends: Callable[[Cluster, Any], None]) -> tuple[str, str, list[str]]:
    """Run one trial on one machine after the other: in the middle, the machine or the process of the trial ends in some way.

    Returns:
        how the trial ended, why, and what the driver said of it meanwhile.
    """
    plan = tiny.make(sources=[], strategies=["scratch"], resources={"retries": 1})
    store = open_store(str(folder / "store"), create=True)
    (key,) = plan.by_key
    attempts = [folder / f"attempt-{attempt}" for attempt in range(len(ends) + 1)]

    def trains(config: Mapping[str, Any]) -> None:
        attempt = next(attempt for attempt in attempts if not attempt.exists())
        open_store(config["store"]).write_file(checkpoint_path(key, attempts.index(attempt)), b"")
        attempt.touch()
        if attempt == attempts[-1]:
            report([{"status": "done", "steps": 8, "fid": 1.0}])
            return

        def rungs(notice: Callable[[], str | None]) -> Iterator[dict[str, Any]]:
            while notice() is None:
                time.sleep(0.05)
            raise Left
            yield {}

        with heeded() as notice:
            report(rungs(notice), notice)

    said: list[str] = []

    def notice(subject: str | None, text: str) -> None:
        if subject == key:  # not that trials wait for a machine, as one takes long to start under load
            said.append(text)

    driver = Driver(Ledger.open(plan, store), store, notice=notice)
    node = machines.add_node(num_cpus=1)
    with joined.cluster(plan.spec.resources, address=machines.address):
        # Ray adds machines in the main thread only.
        runs = Thread(target=run_trials, args=(driver, trains), daemon=True)
        runs.start()
        for attempt, end in zip(attempts, ends, strict=False):
            tiny.wait_for(attempt.exists)
            end(machines, node)
            if end is not kill_process:
                node = machines.add_node(num_cpus=1)
        runs.join(tiny.PATIENCE)
        assert not runs.is_alive()
    return driver.ledger.status[key], driver.ledger.reasons.get(key, ""), said


def test_only_a_process_that_is_killed_on_a_machine_that_lives_on_counts_as_a_retry(machines: Cluster, tmp_path: Path):
    """The first death is retried, and so is the loss of three machines; the second death is one too many."""
    status, why, said = run(machines, tmp_path, kill_process, take_back, drain, kill, kill_process)
    assert status == "failed", said
    assert why.endswith("its process was killed, or ended itself after 60 minutes without progress")
    assert len(list(tmp_path.glob("attempt-*"))) == 5
    taken_back, drained, lost = said
    for text, became in ((taken_back, "taken back"), (lost, "does not answer); goes on from step 3")):
        assert text.startswith("machine lost (")
        assert became in text
        assert text.endswith(", not counted as a retry")
    assert drained.startswith("the machine ")
    assert drained.endswith(" is being taken back; goes on elsewhere from step 2, not counted as a retry")


def test_a_task_whose_machine_is_killed_runs_again_and_no_retry_is_counted(machines: Cluster, tmp_path: Path):
    attempts = [tmp_path / "attempt-0", tmp_path / "attempt-1"]

    def works() -> None:
        attempt = next(attempt for attempt in attempts if not attempt.exists())
        attempt.touch()
        if attempt != attempts[-1]:
            time.sleep(3600)

    needed = ResourcesConfig(retries=0)
    ended: list[Any] = []
    node = machines.add_node(num_cpus=1)
    with joined.cluster(needed, address=machines.address):
        runs = Thread(target=lambda: ended.extend(map_tasks(works, [()], needed)), daemon=True)
        runs.start()
        tiny.wait_for(attempts[0].exists)
        kill(machines, node)
        machines.add_node(num_cpus=1)
        runs.join(tiny.PATIENCE)
        assert not runs.is_alive()
    assert ended == [(0, None)]
    assert attempts[-1].exists()
