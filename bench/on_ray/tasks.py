"""Runs function calls in parallel as Ray tasks, evaluations beside the training too; explains a failure in a few lines."""

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import ray

from bench.driver.loop import Driver
from bench.driver.retries import Retries
from bench.on_ray.losses import full_machine
from bench.on_ray.slots import Rooms
from bench.on_ray.trainable import UNWRITABLE, measure_on_ray
from bench.store import StoreUnwritableError
from bench.sweeps.spec import ResourcesConfig
from bench.worker.watchdog import watched
from trainers.common.counts import counted

#: Texts in the errors of trials that ran out of memory: PyTorch's on a GPU and on a CPU, Python's, Ray's.
OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "can't allocate memory", "MemoryError", "memory running low")

#: Texts in Ray's error for a process that ended without raising one.
GONE = ("died unexpectedly", "Worker unexpectedly exits", "actor is dead because its worker process has died")

#: Seconds between two looks at the evaluations while nothing else happens.
PAUSE = 0.1


def map_tasks(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], resources: ResourcesConfig, gpus: float = 0.0
) -> Iterator[tuple[int, str | None]]:
    """Call `function(*arguments)` for each tuple of arguments, as Ray tasks that take `gpus` GPUs.

    A task whose process is lost, is ended by Ray's memory monitor, or has no heartbeat for `resources.stall_minutes`, is
    retried up to `resources.retries` times. If its machine is lost, it runs again and no retry is counted (see
    `bench.driver.retries`).

    Yields:
        the position of the arguments of a call that has ended, and why it failed or None; in the order of the ends.
    """

    def call(*of_task: Any) -> None:
        with watched(resources.stall_minutes):
            function(*of_task)

    remote = ray.remote(num_cpus=resources.cpus, num_gpus=gpus, max_retries=0)(call)
    retries = Retries(resources.retries, back_off=0.0)
    waiting = {remote.remote(*of_task): (i, time.monotonic()) for i, of_task in enumerate(arguments)}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        i, since = waiting.pop(ready)
        error = again = None
        try:
            ray.get(ready)
        except ray.exceptions.RayError as failure:
            error = reason(str(failure), resources.stall_minutes).splitlines()[-1]
            if isinstance(failure, ray.exceptions.NodeDiedError):
                again = retries.lose(str(i), 0, time.monotonic() - since)
            elif isinstance(failure, ray.exceptions.WorkerCrashedError | ray.exceptions.OutOfMemoryError):
                again = retries.wait(str(i), 0)
        if again is None:
            yield i, error
        else:
            waiting[remote.remote(*arguments[i])] = i, time.monotonic()


class Evaluations:
    """Measures the rungs that a driver asks for, each as a task that takes a trial's CPU cores and no GPU.

    An evaluation that ended because its machine's memory was full takes more room next time, as a trial does.

    As a context manager it ends those that run at the end of the block; the next run measures their rungs.
    """

    def __init__(self, driver: Driver, config_of: Callable[[str], dict[str, Any]]) -> None:
        """`config_of` returns the argument of `bench.worker.trial.train` for a trial's key."""
        self._driver, self._config_of = driver, config_of
        self._needed = driver.ledger.plan.spec.resources.model_copy(update={"gpus": 0.0})
        self._rooms = Rooms(self._needed)
        self._running: dict[Any, tuple[str, int, float]] = {}  # the trial, its slots, and since when
        self._measure = ray.remote(max_retries=0)(measure_on_ray)

    @property
    def slots(self) -> list[int]:
        """The slots that each evaluation takes, or waits for."""
        return [slots for _, slots, _ in self._running.values()]

    def look(self) -> None:
        """Take in the evaluations that have ended, and start those that are due; cheap to call."""
        if self._running:
            # Tune calls this without a pause while no trial runs.
            patience = 0.0 if self._driver.ledger.count("running", "queued") else PAUSE
            ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=patience)
            for task in ended:
                self._take_in(task, *self._running.pop(task))
            self._narrow()
        while (due := self._driver.next_evaluation()) is not None:
            key, environment = due
            slots = self._rooms.take(key)
            remote = self._measure.options(num_cpus=slots * self._needed.cpus)
            self._running[remote.remote(self._config_of(key), environment)] = key, slots, time.monotonic()

    def __enter__(self) -> "Evaluations":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._running:
            ray.cancel(task, force=True)

    def _narrow(self) -> None:
        """Withdraw the evaluations that wait for more slots than any machine has now."""
        for task, (key, slots, _) in [*self._running.items()]:
            if slots > 1 and not self._rooms.may_get(slots):
                del self._running[task]
                ray.cancel(task, force=True)
                self._driver.leave(key, self._rooms.narrowed(key, slots), measuring=True)

    def _take_in(self, task: Any, key: str, slots: int, since: float) -> None:
        driver = self._driver
        try:
            report = ray.get(task)
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.NodeDiedError):
                driver.lose(key, "where a rung was measured", time.monotonic() - since, measuring=True)
            else:
                driver.fail(key, reason(str(error), self._needed.stall_minutes), measuring=True)
                if full_machine(str(error)):
                    self._rooms.widen(key)
            return
        if report["status"] == UNWRITABLE:
            driver.fail(key, report["error"], StoreUnwritableError(report["error"]), measuring=True)
        else:
            driver.measured(key, report)


def reason(error: str, stall_minutes: float, lines: int = 3, limit: int = 1000) -> str:
    """Return why a trial failed: the last lines of its error's text, with an explanation of known errors.

    Ray wraps the traceback of another process, so the last lines are the error itself. Those of its memory monitor are a page
    on how to switch it off.
    """
    stripped = [line.strip() for line in error.splitlines() if line.strip()]
    end = "\n".join(stripped[-lines:])[-limit:] or "its process ended without an error message"
    if full := full_machine(error):
        machine, used, of_all = full
        return (
            f"out of memory: Ray ended its process when {used} of the {of_all} GB of machine {machine} were in use; let fewer "
            "trials run at a time (larger resources.cpus or resources.gpus), lower training.batch, or end other programs there"
        )
    if any(words in error for words in OUT_OF_MEMORY):
        return f"out of memory; lower training.batch, or give a trial more (resources.cpus, resources.gpus)\n{end}"
    if any(words in error for words in GONE):
        return (
            f"{end}\nits process was killed, or ended itself after {counted(float(stall_minutes), 'minute')} without progress"
        )
    return end
