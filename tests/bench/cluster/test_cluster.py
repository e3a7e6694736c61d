"""Drivers on a Ray cluster that are killed at any moment: what is left is finished, each result once."""

import os
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest
import ray
from ray.cluster_utils import Cluster

from bench.on_ray import cluster as joined
from bench.on_ray.slots import MAX_WORKERS
from bench.run import in_process
from bench.store import Store, open_store
from bench.sweeps.spec import ResourcesConfig
from bench.upkeep.check import check
from bench.worker.trial import train
from tests.benchmarks.overhead.trivial import trivial_plan, trivial_run
from tests.conftest import QUIET
from tests.support import tiny
from tests.support.endurance import repeats
from tests.support.victims import SERVER, drives
from trainers.common.errors import UserError

pytestmark = pytest.mark.slow

#: Drivers that are killed, two at a time, and enough trials that all of them have something to do.
KILLS = repeats(2, full=20)
TRIALS = 24 * -(-KILLS // 5)


def test_trials_wait_for_machines_where_the_head_says_that_some_may_come(tmp_path: Path):
    """As on a cluster that starts with a head alone, on which no trial fits."""
    cluster = Cluster(initialize_head=True, head_node_args={**QUIET, "num_cpus": 0, "resources": {MAX_WORKERS: 2}})
    try:
        driver = SERVER.Process(target=drives, args=(str(tmp_path), cluster.address, 3, os.environ.get("RAY_AUTH_MODE")))
        driver.start()
        tiny.wait_for(lambda: len(list((tmp_path / "claims").glob("[!.]*"))) == 2)  # as many as there may be machines
        cluster.add_node(num_cpus=1)
        driver.join()
    finally:
        cluster.shutdown()
    assert driver.exitcode == 0
    assert set(tiny.outcomes(tmp_path)["status"]) == {"done", "stopped"}


def test_a_run_takes_the_cores_that_its_process_may_use_and_not_all_of_the_machine():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with joined.cluster(ResourcesConfig()):
            assert ray.cluster_resources()["CPU"] == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("address", "cpus", "said"), [
    ("http://127.0.0.1:8265", None, "named by its head's HOST:PORT, or from outside by ray://HOST:10001"),
    ("127.0.0.1:1", None, "--address '127.0.0.1:1': no Ray cluster answers there"),
    ("ray://127.0.0.1:1", None, "--address 'ray://127.0.0.1:1': no .* Ray cluster answers there, or it refuses the token"),
    ("nonsense", None, "--address 'nonsense': no Ray cluster answers there"),
    ("127.0.0.1:1", 1, "leave it out with --address"),
])  # fmt: skip
def test_a_cluster_that_is_not_there_is_the_users_mistake(address: str, cpus: int | None, said: str):
    with pytest.raises(UserError, match=said), joined.cluster(ResourcesConfig(), cpus, address):
        pass


def drive(store: Path, cluster: Cluster) -> Any:
    driver = SERVER.Process(target=drives, args=(str(store), cluster.address, TRIALS, os.environ.get("RAY_AUTH_MODE")))
    driver.start()
    return driver


def alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the same sweep undisturbed, in this process and without Ray."""
    with monkeypatch.context() as patch:
        patch.setattr(in_process, "train", partial(train, run=trivial_run))
        tiny.run_here(trivial_plan(TRIALS, steps=4, rule="halving"), open_store(str(store), create=True))


def rows(store: Store, table: str) -> int:
    return ds.dataset(store.path(table), format="parquet").count_rows() if Path(store.path(table)).exists() else 0


def temporary_files_apart(store: Store) -> list[str]:
    """Return all that is wrong with a store but the temporary files that killed writers leave."""
    return [str(fault) for fault in check(store) if fault.kind != "temporary"]


@pytest.mark.endurance
def test_drivers_killed_at_any_moment_lose_and_double_nothing(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    """Two at a time, while they start, or when so and so many outcomes have been published, each time a moment later."""
    cluster.add_node(num_cpus=1)
    dice = random.Random(20)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    alone(undisturbed, monkeypatch)
    for i in range(KILLS // 2):
        before = tiny.trial_rows(killed)
        assert before < TRIALS, "there was nothing left to disturb"
        drivers = [drive(killed, cluster) for _ in range(2)]
        if i % 2:
            time.sleep(dice.uniform(0, 3))
        else:
            wanted = before + dice.randint(1, 5)
            tiny.wait_for(lambda: tiny.trial_rows(killed) >= wanted)  # noqa: B023 - called at once
        for driver in dice.sample(drivers, 2):
            time.sleep(dice.uniform(0, 0.1))
            driver.kill()
            driver.join()
            assert driver.exitcode != 0, "it had finished before it was killed"
    last = drive(killed, cluster)
    last.join()
    assert last.exitcode == 0, "a driver that is not killed must not crash"
    one, other = open_store(str(killed)), open_store(str(undisturbed))
    pd.testing.assert_frame_equal(tiny.outcomes(one), tiny.outcomes(other))
    pd.testing.assert_series_equal(tiny.values(one), tiny.values(other), check_exact=True)
    assert len(tiny.outcomes(one)) == len(trivial_plan(TRIALS).trials)
    assert {"done", "stopped"} == set(tiny.outcomes(one)["status"])
    assert temporary_files_apart(one) == temporary_files_apart(other) == []
    assert tiny.claimed(killed) == []
    # A trial may be recorded again that a killed driver's worker recorded in its last moments; finished ones do not run again.
    assert rows(one, "trials") <= rows(other, "trials") + 2 * KILLS
