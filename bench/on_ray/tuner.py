"""The part of a sweep that Ray does: one Tuner for the whole grid, no barrier between pre-training and adaptation.

The ledger and the store stay in charge: Ray is told what may start, and tells what has become of it. Nothing that Ray
keeps is needed again, so a second run after any crash is a fresh experiment over what is left.
"""

import logging
import os
import signal
import socket
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by Ray when it is imported, or by the processes that it starts.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its newer display talks even at verbose=0
# A reused process runs each trial in a thread of its own, and each thread's arena would keep what the trial has freed.
os.environ.setdefault("MALLOC_ARENA_MAX", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Ray's record of the experiment, which nobody will read

import ray
from ray import tune
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # missing in its stubs
from ray.tune import Callback, RunConfig, TuneConfig
from ray.tune.experiment import Trial

from bench.costs.budget import Budget
from bench.driver.claims import Claims, Sharing
from bench.driver.ledger import ENDED, Ledger
from bench.on_ray.jobs import ACCESS
from bench.on_ray.scheduler import CellHalving
from bench.on_ray.searcher import PlanSearcher
from bench.store import Store, StoreUnwritableError
from bench.store.trial_files import Recorder
from bench.sweeps.plan import Plan
from bench.sweeps.spec import ResourcesConfig
from bench.worker.trial import train_on_ray, watched
from trainers.common.errors import UserError

#: Seconds that a trial waits before it is taken up again the first time; twice as long each further time.
BACK_OFF = 2.0

#: By a custom resource of this name the head of a cluster that starts machines as they are needed says how many it may start.
MAX_WORKERS = "max_workers"

#: What stands in the errors of trials that wanted more memory than there was: PyTorch's on a GPU and on a CPU, Python's, Ray's.
OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "can't allocate memory", "MemoryError", "memory running low")

#: What stands in Ray's error when a process has gone without one of its own.
GONE = ("died unexpectedly", "Worker unexpectedly exits", "actor is dead because its worker process has died")


@contextmanager
def cluster(needed: ResourcesConfig, cpus: int | None = None, address: str = "local") -> Iterator[None]:
    """Start Ray on this machine for the block, and shut down what was started; or join a cluster that is up, and leave it.

    Args:
        needed: what one trial takes.
        cpus: CPU cores that trials may use together on this machine; None for all.
        address: "local", or a running cluster's as HOST:PORT, or "auto" for the one that this machine belongs to.

    Raises:
        UserError: there is no such cluster, or one trial needs more than there is.
    """
    if address != "local" and cpus is not None:
        raise UserError("--cpus limits what is started on this machine; leave it out with --address")
    with joining(address):
        ray.init(
            address=address, num_cpus=cpus, include_dashboard=False if address == "local" else None,
            log_to_driver=False, logging_level=logging.CRITICAL,
        )  # fmt: skip
    try:
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        for key, kind in (("cpus", "CPU"), ("gpus", "GPU")):
            wanted = getattr(needed, key)
            if wanted > there.get(kind, 0) and not there.get(MAX_WORKERS):
                raise UserError(
                    f"resources.{key}: a trial asks for {wanted:g} {kind}s and there are {there.get(kind, 0):g}; "
                    f"set resources.{key} lower (--set resources.{key}=...)"
                )
        yield
    finally:
        ray.shutdown()


@contextmanager
def joining(address: str) -> Iterator[None]:
    """Make one line of whatever keeps the block from starting Ray here, or from joining a cluster there.

    Ray itself would try for minutes where nobody listens, and twenty times where the token is wrong; it talks much, and tells
    of a failed trial by a traceback, so those who join turn its logs off.
    """
    scheme, _, end = address.rpartition("://")
    if scheme not in ("", "ray"):
        raise UserError(
            f"--address {address!r}: a cluster is named by its head's HOST:PORT, or from outside by ray://HOST:10001; "
            "job servers, http://HOST:8265, are for `transfergan submit`"
        )
    try:
        host, colon, port = end.rpartition(":")
        if colon:
            socket.create_connection((host, int(port)), timeout=10).close()
            if not scheme:
                GcsClient(address=address)
        yield
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(_refusal(address, error)) from error


def _refusal(address: str, error: Exception) -> str:
    """Return, in one line, why Ray has not started here, or has not been joined there."""
    why = getattr(error, "message", str(error)).splitlines()[0]  # of a wrong token Ray says more than a line
    if address == "local":
        return f"Ray did not start on this machine: {why}; its files are in /tmp/ray, or in $RAY_TMPDIR/ray"
    if address.startswith("ray://") and isinstance(error, ConnectionError):  # all that Ray's client tells of a wrong token, too
        return (
            f"--address {address!r}: no client server of a Ray cluster answers there, or it refuses the token ({why}); {ACCESS}"
        )
    if any(name in f"{error!r} {error.__cause__!r}" for name in ("AuthenticationError", "InvalidAuthToken")):
        return f"--address {address!r}: the cluster refuses the token ({why}); {ACCESS}"
    return (
        f"--address {address!r}: no Ray cluster answers there ({why}); "
        "give the head's HOST:PORT, or leave it out to run on this machine"
    )


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


def map_tasks(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], resources: ResourcesConfig
) -> Iterator[tuple[int, str | None]]:
    """Call `function(*arguments)` for each tuple of arguments, as Ray tasks on CPUs.

    A task whose process is lost, or gives no sign of life for `resources.stall_minutes`, is tried again as often as a trial is.

    Yields:
        which of the arguments has ended, and why it failed or None; in the order in which they end.
    """

    def call(*own: Any) -> None:
        with watched(resources.stall_minutes):
            function(*own)

    remote = ray.remote(num_cpus=resources.cpus, max_retries=resources.retries)(call)
    waiting = {remote.remote(*each): i for i, each in enumerate(arguments)}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        error = None
        try:
            ray.get(ready)
        except ray.exceptions.RayError as failure:
            error = reason(str(failure), resources.stall_minutes).splitlines()[-1]
        yield waiting.pop(ready), error


def reason(error: str, stall_minutes: float, lines: int = 3, limit: int = 1000) -> str:
    """Return why a trial failed, from the text of its error: the end of it, and what it means where that is known.

    Where Ray wraps another process's traceback, the end is the error itself.
    """
    stripped = [line.strip() for line in error.splitlines() if line.strip()]
    end = "\n".join(stripped[-lines:])[-limit:] or "its process ended without an error message"
    if any(words in error for words in OUT_OF_MEMORY):
        return f"out of memory; lower training.batch, or give a trial more (resources.cpus, resources.gpus)\n{end}"
    if any(words in error for words in GONE):
        return f"{end}\nits process was killed, or ended itself after {stall_minutes:g} minutes without progress"
    return end
