"""Runs a sweep's trials on Ray: one Tuner for the whole grid, without a barrier between pre-training and adaptation.

The driver decides and the store keeps the results; Ray starts processes and reports events. Nothing that Ray keeps is needed
again, so a run after a crash is a new experiment over the remaining trials.
"""

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, RunConfig, TuneConfig
from ray.tune.experiment import Trial

from bench.driver.loop import Driver
from bench.on_ray.cluster import MAX_WORKERS
from bench.on_ray.scheduler import CellHalving
from bench.on_ray.searcher import PlanSearcher
from bench.on_ray.tasks import reason
from bench.on_ray.trainable import train_on_ray
from bench.worker.trial import task


class Events(Callback):
    """Reports to the driver what only Ray knows: which trials run now, and which have failed.

    Ray's own retries are not used: a process that dies while it receives its next trial would end that trial for good.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and our state is in the store."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a trial that was given a process, for the first time or again."""
        self._driver.start(trial.config["key"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a failed trial."""
        stall_minutes = self._driver.ledger.plan.spec.resources.stall_minutes
        self._driver.fail(trial.config["key"], reason(_text(trial), stall_minutes))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the experiment, as an interrupt does, once the store is unwritable or the limit is reached and no trial runs."""
        busy = any(trial.status in (Trial.PENDING, Trial.RUNNING) for trial in trials)
        if self._driver.unwritable or (self._driver.limit.refused is not None and not busy):
            signal.raise_signal(signal.SIGINT)


def run_trials(driver: Driver, trainable: Callable[[Mapping[str, Any]], None] = train_on_ray) -> None:
    """Run a driver's open trials to their ends, until SIGINT, or as far as its limit allows; Ray must be up.

    A trial that fails does not end the run; the driver's ledger has the status of every trial. A store that accepts no more
    writes ends it as SIGINT does; `driver.unwritable` says why. Each trial is a call of `trainable` in a process of Ray.
    """
    ledger, store = driver.ledger, driver.store
    assert store is not None
    plan, resources = ledger.plan, ledger.plan.spec.resources
    bundle: dict[str, float] = {"CPU": resources.cpus}
    if resources.gpus:
        bundle["GPU"] = resources.gpus
    # As many trials as can run wait in Ray's queue, so that processes are reused; more would be claimed without need.
    available = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    fitting = [available.get(kind, 0) / amount for kind, amount in bundle.items()]
    to_come = available.get(MAX_WORKERS, 0)
    driver.limit.slots = int(max(1, to_come, min(fitting)))
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(int(max(1, to_come, *fitting)))
    with driver.sharing(), tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
            tune_config=TuneConfig(
                search_alg=PlanSearcher(driver, lambda key: task(plan, store, key, driver.claim(key))),
                scheduler=CellHalving(driver),
                num_samples=sum(1 + len(plan.by_key[key].rungs) for key in ledger.open_trials()) * (1 + resources.retries),
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name=f"{plan.spec.name}-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                callbacks=[Events(driver)],
                verbose=0,
            ),
        ).fit()


def _text(trial: Any) -> str:
    """Return the text of a trial's error; not by `trial.get_error()`, which looks where the file is copied only later."""
    file = trial.error_file
    return Path(file).read_text(errors="replace") if file and Path(file).is_file() else ""
