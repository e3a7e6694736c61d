"""Runs a sweep's trials in this process, one at a time and without Ray: `transfergan run --address here`, for debugging.

An exception in a trial propagates with its stack trace. It is neither retried nor recorded, as if the run had been interrupted
there: the same command resumes that trial from its last rung, so a bug can be fixed and the run repeated. Nothing ends a trial
that hangs, and breakpoints work.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from bench.driver.claims import LostClaimError
from bench.driver.loop import Driver
from bench.driver.sharing import POLL
from bench.store import StoreUnwritableError
from bench.sweeps.spec import ResourcesConfig
from bench.worker.trial import measure_reached, task, train
from trainers.common.errors import UserError


def run_trials(driver: Driver) -> None:
    """Run a driver's open trials to their ends, as far as its limit allows, or until an outcome cannot be written.

    Raises:
        UserError, StoreUnwritableError: as `bench.worker.trial.train`.
        Exception: any other exception of a trial, with a note that names the trial. An OSError becomes the cause of a
            RuntimeError, because the command line prints an OSError without its stack trace.
    """
    with driver.sharing(), _threads(driver.ledger.plan.spec.resources):
        while not driver.over:
            key = driver.take()
            if key is None:  # other drivers run what is left
                time.sleep(POLL)
                continue
            driver.start(key)
            try:
                _run(driver, key)
            except LostClaimError as error:
                driver.fail(key, str(error))
            except (UserError, StoreUnwritableError):
                raise
            except OSError as error:
                raise RuntimeError(_note(key)) from error
            except Exception as error:
                error.add_note(_note(key))
                raise


def map_here(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], resources: ResourcesConfig
) -> Iterator[tuple[int, str | None]]:
    """Call `function(*arguments)` for each tuple of arguments in turn; yields as `bench.on_ray.tasks.map_tasks` does."""
    with _threads(resources):
        for number, of_call in enumerate(arguments):
            function(*of_call)
            yield number, None


@contextmanager
def _threads(resources: ResourcesConfig) -> Iterator[None]:
    """Limit the numerical libraries to a trial's CPU cores, as Ray does: their number of threads affects the last bits."""
    import scipy.linalg  # noqa: F401 - its BLAS is only limited once it is loaded

    with threadpool_limits(resources.cpus):
        yield


def _run(driver: Driver, key: str) -> None:
    """Run a trial up to where it waits or ends."""
    assert driver.store is not None
    config = task(driver.ledger.plan, driver.store, key, driver.claim(key))
    with closing(train(config)) as reports:
        for report in reports:
            if driver.rung(key, report) != "running":
                break
    if (reached := driver.next_evaluation()) is not None:
        driver.measured(key, measure_reached(config, reached[1]))


def _note(key: str) -> str:
    return f"trial {key} raised this; it is not recorded as failed, and the same command resumes it"
