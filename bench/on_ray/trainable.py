"""The function that Ray Tune runs for each trial."""

from collections.abc import Mapping
from typing import Any

from ray import tune

from bench.worker.trial import train
from bench.worker.watchdog import watched
from trainers.common.heartbeat import beat


def train_on_ray(config: Mapping[str, Any]) -> None:
    """Run one trial in a process of Ray, and report its rungs to Ray Tune; see `bench.worker.trial.train`."""
    with watched(config["resources"]["stall_minutes"]):
        for report in train(config):
            beat()
            tune.report(report)
