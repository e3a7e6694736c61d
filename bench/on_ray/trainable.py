"""The function that Ray Tune runs for each trial."""

from collections.abc import Iterable, Mapping
from typing import Any

from ray import tune

from bench.store import StoreUnwritableError
from bench.worker.trial import train
from bench.worker.watchdog import watched
from trainers.common.heartbeat import beat

#: Status in the last report of a trial whose store accepted no write; "error" says why.
UNWRITABLE = "unwritable"


def train_on_ray(config: Mapping[str, Any]) -> None:
    """Run one trial in a process of Ray, and report its rungs to Ray Tune; see `bench.worker.trial.train`."""
    with watched(config["resources"]["stall_minutes"]):
        report(train(config))


def report(rungs: Iterable[dict[str, Any]]) -> None:
    """Report the rungs of a trial to Ray Tune as they come.

    An unwritable store is reported too, because Ray passes on an exception of another process only as text or as a pickle.
    """
    try:
        for rung in rungs:
            beat()
            tune.report(rung)
    except StoreUnwritableError as error:
        tune.report({"status": UNWRITABLE, "error": str(error)})
