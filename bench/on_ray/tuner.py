"""The part of a sweep that Ray does: one Tuner for the whole grid, no barrier between pre-training and adaptation.

The ledger and the store stay in charge: Ray is told what may start, and tells what has become of it. Nothing that Ray
keeps is needed again, so a second run after any crash is a fresh experiment over what is left.
"""

import os
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, RunConfig, TuneConfig
from ray.tune.experiment import Trial

from bench.costs.budget import Budget
from bench.driver.claims import Claims
from bench.driver.ledger import ENDED, Ledger
from bench.driver.recorder import Recorder
from bench.driver.sharing import Sharing
from bench.on_ray.cluster import MAX_WORKERS
from bench.on_ray.scheduler import CellHalving
from bench.on_ray.searcher import PlanSearcher
from bench.on_ray.tasks import reason
from bench.on_ray.trainable import train_on_ray
from bench.store import Store, StoreUnwritableError
from bench.sweeps.plan import Plan
from bench.sweeps.spec import ResourcesConfig

#: Seconds that a trial waits before it is taken up again the first time; twice as long each further time.
BACK_OFF = 2.0


class Events(Callback):
    """Passes on what only Ray knows: which trials run now, and which have failed; has these taken up again.

    Ray's own retries would not do: a process that dies while it is handed its next trial ends that trial for good.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        searcher: PlanSearcher,
        recorder: Recorder,
        budget: Budget,
        resources: ResourcesConfig,
    ) -> None:
        self._budget = budget
        self._ledger = ledger
        self._store = store
        self._searcher = searcher
        self._recorder = recorder
        self._resources = resources
        self._failures: Counter[tuple[str, int]] = Counter()  # by the trial and the rung that it had reached

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and ours is in the store."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Hear of a trial that has been given a process, for the first time or again."""
        self._budget.look()
        self._ledger.start(trial.config["key"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Hear of a failed trial: it is taken up again later, until there have been too many failures since its last rung."""
        self._budget.look()
        key = trial.config["key"]
        if self._ledger.status[key] in ENDED:  # while Ray was busy pausing it
            return
        # Not `trial.get_error()`: it looks where the file is only copied to later.
        file = trial.error_file
        text = Path(file).read_text(errors="replace") if file and Path(file).is_file() else ""
        since = key, self._ledger.last_rung(key)  # so that a long trial may lose more machines than a short one
        self._failures[since] += 1
        # A full disk is full for all, but a server may be out of reach of one host alone.
        for_all = StoreUnwritableError.__name__ in text and "://" not in self._store.address
        if self._failures[since] <= self._resources.retries and not for_all:
            self._searcher.repeat(key, BACK_OFF * 2 ** (self._failures[since] - 1))
        else:
            self._recorder.on_failure(key, reason(text, self._resources.stall_minutes))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the experiment, as an interrupt does, when nothing can be recorded any more or nothing more may be spent."""
        busy = (Trial.PENDING, Trial.RUNNING)
        spent = self._budget.refused is not None and not any(trial.status in busy for trial in trials)
        if self._recorder.unwritable or spent:
            signal.raise_signal(signal.SIGINT)


def run_trials(
    plan: Plan,
    ledger: Ledger,
    store: Store,
    recorder: Recorder,
    trainable: Callable[[Mapping[str, Any]], None] = train_on_ray,
    budget: Budget | None = None,
) -> None:
    """Run the ledger's open trials to their ends, until SIGINT, or as far as the budget allows; Ray must be up.

    A trial that fails does not take the sweep with it; the ledger tells what became of each. A store that takes nothing more
    ends it as SIGINT does; the recorder tells why. Each trial is a call of `trainable`, in a process of Ray's.
    """
    resources = plan.spec.resources
    common = {"store": store.address, "sweep": plan.spec.name, "resources": resources.model_dump()}

    def config_of(key: str) -> dict[str, Any]:
        return {"key": key, "trial": plan.by_key[key].canonical_json(), **common}

    bundle: dict[str, float] = {"CPU": resources.cpus}
    if resources.gpus:
        bundle["GPU"] = resources.gpus
    # As many as can run wait in Ray's queue, so that processes are handed on and not ended; more would be claimed for nothing.
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    budget = budget or Budget(ledger)
    fitting = [there.get(kind, 0) / each for kind, each in bundle.items()]
    to_come = there.get(MAX_WORKERS, 0)
    budget.slots = int(max(1, to_come, min(fitting)))
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(int(max(1, to_come, *fitting)))
    with Claims(store) as claims, tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True) as scratch:
        sharing = Sharing(ledger, store, claims, recorder.settle)
        searcher = PlanSearcher(ledger, sharing, budget, config_of)
        tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=CellHalving(ledger, sharing, budget, recorder),
                num_samples=sum(1 + len(plan.by_key[key].rungs) for key in ledger.open_trials()) * (1 + resources.retries),
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name=f"{plan.spec.name}-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                callbacks=[Events(ledger, store, searcher, recorder, budget, resources)],
                verbose=0,
            ),
        ).fit()
