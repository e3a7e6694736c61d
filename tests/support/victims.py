"""The work of processes that tests kill. They are forks of a process with everything imported, so they start quickly."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from ray._raylet import Config

from bench.on_ray.cluster import cluster
from bench.store import open_store
from bench.upkeep.compact import compact
from tests.benchmarks.overhead.trivial import run_timed, trivial_on_ray, trivial_plan

#: Makes processes that have everything imported.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.support.victims"])


def compacts(uri: str, ready: Any) -> None:
    """Compact a store, after setting `ready`."""
    store = open_store(uri)
    store.read("trials")  # the first read is slow
    ready.set()
    compact(store)


def dies_before_publishing(uri: str) -> None:
    """Write a part, and die when it is written under its temporary name."""
    store = open_store(uri)
    Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, method-assign]
    row = {"trial": "t", "step": 0, "metric": "fid", "embedding": "e", "view": "e/1000", "version": "1", "value": 1.0}
    store.append("measurements", "small", [row])


def drives(uri: str, address: str, trials: int, authentication: str | None) -> None:
    """Run a sweep of trivial trials, three rungs each, on a cluster that is up.

    `authentication` is the caller's RAY_AUTH_MODE: a Ray that it started and ended may have set it after `SERVER` had started.
    """
    if authentication is not None:
        os.environ["RAY_AUTH_MODE"] = authentication
        Config.initialize("")  # it has been read already
    plan = trivial_plan(trials, steps=4, rule="halving")
    with cluster(plan.spec.resources, address=address):
        run_timed(plan, open_store(uri, create=True), trivial_on_ray)
