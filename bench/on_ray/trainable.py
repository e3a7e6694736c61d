"""The function that Ray Tune runs for each trial, and the one that measures its rungs beside it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray import tune

from bench.on_ray.notice import heeded
from bench.store import StoreUnwritableError
from bench.worker.trial import measure_reached, train
from bench.worker.watchdog import watched
from trainers.common.errors import Left
from trainers.common.heartbeat import beat

#: Where a report has the values of a rung, as pairs. For each number of a report that Tune can see it keeps statistics, two KiB
#: per trial, as long as the run lasts.
RUNG = "rung"

#: Status in the last report of a trial whose store accepted no write; "error" says why.
UNWRITABLE = "unwritable"

#: Status in the last report of a trial that leaves its process at a checkpoint; "error" says why.
LEFT = "left"


def train_on_ray(config: Mapping[str, Any]) -> None:
    """Run one trial in a process of Ray, and report its rungs to Ray Tune; see `bench.worker.trial.train`."""
    with watched(config["resources"]["stall_minutes"]), heeded() as notice:
        report(train(config, leave=lambda: notice() is not None), notice)


def received(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a rung from what Ray Tune passes on of it."""
    return dict(result[RUNG])


def report(rungs: Iterable[dict[str, Any]], notice: Callable[[], str | None] = lambda: None) -> None:
    """Report the rungs of a trial to Ray Tune as they come; `notice` returns why the trial must leave, or None.

    That the store is unwritable, or that the trial has left, is reported too, because Ray passes on an exception of another
    process only as text or as a pickle.

    Raises:
        Left: the trial has left. This ends the process: Tune would give it another trial on a machine that will be taken back.
    """
    try:
        for rung in rungs:
            beat()
            tune.report({"status": rung["status"], RUNG: tuple(rung.items())})
    except StoreUnwritableError as error:
        tune.report({"status": UNWRITABLE, "error": str(error)})
    except Left:
        tune.report({"status": LEFT, "error": notice()})
        raise


def measure_on_ray(config: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Measure the rung that a trial has reached, in a process of Ray; see `bench.worker.trial.measure_reached`."""
    with watched(config["resources"]["stall_minutes"]):
        try:
            return measure_reached(config, environment)
        except StoreUnwritableError as error:  # as data, because Ray passes on an exception only as text or as a pickle
            return {"status": UNWRITABLE, "error": str(error)}
