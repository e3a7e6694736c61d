"""Runs a sweep's trials on Ray: one Tuner for the whole grid, without a barrier between pre-training and adaptation.

The driver decides and the store keeps the results; Ray starts processes and reports events. Nothing that Ray keeps is needed
again, so a run after a crash is a new experiment over the remaining trials.
"""

import math
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import ray
from ray import tune
from ray._private import state
from ray.tune import Callback, RunConfig, TuneConfig
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

from bench.driver.loop import Driver
from bench.on_ray.losses import full_machine, lost_machine, memory_monitor_known
from bench.on_ray.notice import given
from bench.on_ray.scheduler import CellHalving
from bench.on_ray.searcher import PlanSearcher
from bench.on_ray.slots import Rooms, alive, slots, waiting_for
from bench.on_ray.tasks import Evaluations, reason
from bench.on_ray.trainable import LEFT, train_on_ray
from bench.worker.trial import task

#: Seconds that trials wait for a machine while none runs, until the run says what they wait for.
PATIENCE = 30.0

#: Seconds that trials have, when the run is interrupted, to leave at checkpoints.
LEAVE = 30.0


class Events(Callback):
    """Reports to the driver what only Ray knows: which trials run now, which have failed, left or lost their machines.

    Ray's own retries are not used: a process that dies while it receives its next trial would end that trial for good.
    """

    def __init__(
        self, driver: Driver, evaluations: Evaluations, rooms: Rooms, give_notice: Callable[[], None] = lambda: None
    ) -> None:
        """`give_notice` asks all running trials to leave at their next checkpoints."""
        self._driver, self._evaluations, self._rooms, self._give_notice = driver, evaluations, rooms, give_notice
        self._since: dict[str, float] = {}  # the time of a trial's last rung or start
        self._left: dict[str, str] = {}  # why a trial that has reported so is leaving
        self._interrupted_at: float | None = None
        self._interrupt_tune: Any = None  # Tune's handler of SIGINT, which ends the experiment
        self._waits_since: float | None = None  # when trials began to wait while none runs; infinite once that was said

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and our state is in the store."""
        return {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Let the first SIGINT give notice to the trials; Tune's own handler is for the second."""
        if current_thread() is main_thread():
            self._interrupt_tune = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, self._interrupt_tune)
        self._interrupted_at = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a trial that was given a process, for the first time or again."""
        self._left.pop(trial.config["key"], None)
        self._since[trial.config["key"]] = time.monotonic()
        self._driver.start(trial.config["key"], _host(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """Note the time of a rung, or that the trial leaves."""
        key = trial.config["key"]
        self._since[key] = time.monotonic()
        if result.get("status") == LEFT:
            self._left[key] = result["error"]

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a failed trial, the loss of its machine, or that it has left."""
        key, error = trial.config["key"], _text(trial)
        if key in self._left:
            self._driver.leave(key, self._left.pop(key))
            return
        lost = lost_machine(error)
        if lost is None:
            self._driver.fail(key, reason(error, self._driver.ledger.plan.spec.resources.stall_minutes))
            if full_machine(error):
                self._rooms.widen(key)
        else:
            now = time.monotonic()
            self._driver.lose(key, lost, now - self._since.get(key, now))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say that a trial's machine was taken back after a notice: Tune starts such a trial again by itself."""
        lost = lost_machine(_text(trial)) or "taken back"
        self._driver.requeue(trial.config["key"])
        self._driver.notice(trial.config["key"], f"machine lost ({lost}); goes on from its checkpoint, not counted as a retry")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the experiment if the store is unwritable, others are to be measured, or none runs after a limit or interrupt."""
        driver = self._driver
        self._evaluations.look()
        moving = driver.ledger.count("measuring") or _any(trials, Trial.PENDING, Trial.RUNNING)
        refused = driver.limit.refused is not None and not moving
        if driver.unwritable or refused or driver.behind or self._has_ended(trials):
            if self._interrupt_tune is None:
                signal.raise_signal(signal.SIGINT)
            else:  # no signal, which would be answered as one of the user's
                signal.signal(signal.SIGINT, self._interrupt_tune)
                self._interrupt_tune(signal.SIGINT, None)
        pending = (trial for trial in trials if trial.status == Trial.PENDING)
        self._note_waiting([] if driver.ledger.count("running", "measuring") else [trial.config["room"] for trial in pending])

    def _has_ended(self, trials: list[Any]) -> bool:
        """Return whether, after an interrupt, all trials have left or have had their time; give them notice before."""
        if self._interrupted_at is None:
            return False
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        if running and not self._driver.interrupted:
            self._give_notice()
            self._driver.notice(None, f"interrupted; trials have {LEAVE:g} seconds for a checkpoint; Ctrl-C again ends at once")
        self._driver.interrupted = True
        return not running or time.monotonic() - self._interrupted_at >= LEAVE

    def _note_waiting(self, taken: list[int]) -> None:
        """Say once what trials wait for, if none has had a machine for some time; `taken` are the slots of those that wait."""
        now = time.monotonic()
        if not taken:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since >= PATIENCE:
            self._waits_since = math.inf
            self._driver.notice(None, waiting_for(alive(), self._driver.ledger.plan.spec.resources, taken))


class NoProgress(TrialProgressCallback):
    """Prints nothing. Unless Tune is given one of this type it adds one, which keeps every trial as long as the run lasts."""

    def log_result(self, *arguments: Any, **options: Any) -> None:
        """Do nothing."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Do nothing."""


def run_trials(driver: Driver, trainable: Callable[[Mapping[str, Any]], None] = train_on_ray) -> None:
    """Run a driver's open trials to their ends, until SIGINT, or as far as its limit allows; Ray must be up.

    A trial that fails does not end the run; the driver's ledger has the status of every trial. A store that accepts no more
    writes ends it as SIGINT does; `driver.unwritable` says why. Each trial is a call of `trainable` in a process of Ray.
    """
    plan, store = driver.ledger.plan, driver.store
    assert store is not None
    resources = plan.spec.resources
    # As many trials as can run wait in Ray's queue, so that processes are reused; more would be claimed without need.
    driver.limit.slots = slots(alive(), resources)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(driver.limit.slots)
    folder = tempfile.TemporaryDirectory(prefix="transfergan-", ignore_cleanup_errors=True)

    def config_of(key: str) -> dict[str, Any]:
        return task(plan, store, key, driver.claim(key))

    rooms, evaluations = Rooms(resources), Evaluations(driver, config_of)
    driver.limit.rooms = rooms.taken
    with memory_monitor_known(), given() as give_notice, driver.sharing(), evaluations, folder as scratch:
        tune.Tuner(
            tune.with_resources(trainable, rooms.reserve),
            tune_config=TuneConfig(
                search_alg=PlanSearcher(driver, lambda key: {**config_of(key), "room": rooms.take(key)}),
                scheduler=CellHalving(driver, rooms, evaluations),
                num_samples=-1,  # until the searcher says that there are no more
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name=f"{plan.spec.name}-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                callbacks=[Events(driver, evaluations, rooms, give_notice), NoProgress()],
                verbose=0,
            ),
        ).fit()


def _any(trials: list[Any], *statuses: str) -> bool:
    return any(trial.status in statuses for trial in trials)


def _host(trial: Any) -> str | None:
    """Return the name of the machine where a trial's process is; None if Ray does not know."""
    with suppress(Exception):  # it is only shown, so nothing that Ray answers may end the run
        node = state.actors(trial.temporary_state.ray_actor._actor_id.hex())["Address"]["NodeID"]
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
        return next(str(each["NodeManagerHostname"]) for each in nodes if each["NodeID"] == node)
    return None


def _text(trial: Any) -> str:
    """Return the text of a trial's error; not by `trial.get_error()`, which looks where the file is copied only later."""
    file = trial.error_file
    return Path(file).read_text(errors="replace") if file and Path(file).is_file() else ""
