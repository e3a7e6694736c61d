"""Runs of MLflow, written by mlflow: to MLFLOW_TRACKING_URI, else into a folder."""

import os
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from bench.logs.writer import LoggedTrial
from bench.store.grids import open_grid

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before mlflow is imported

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

#: Identifies the run of a trial.
TAG = "transfergan.trial"


class MlflowRuns:
    """Implements `Writer`: a run for each trial; the experiment is MLFLOW_EXPERIMENT_NAME or "transfergan"."""

    def __init__(self, folder: Path) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else newer versions ask for a database
            uri = folder.absolute().as_uri()
        self._client = MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "transfergan")
        experiment = self._client.get_experiment_by_name(name)
        self._experiment: str = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._running: dict[str, str] = {}  # the ids of MLflow's runs

    def steps(self, trial: LoggedTrial) -> Collection[int]:
        """Return the steps that the run has."""
        run = self._find(trial)
        return set() if run is None else {each.step for each in self._client.get_metric_history(run, "seconds")}

    def write(self, trial: LoggedTrial, step: int, values: Mapping[str, float], grid: bytes | None) -> None:
        """Log values and the grid at a step of the trial's run, which is started or continued."""
        run = self._running.get(trial.run)
        if run is None:
            run = self._running[trial.run] = self._find(trial) or self._new(trial)
            self._client.update_run(run, "RUNNING")
        if grid is not None:
            self._client.log_image(run, open_grid(grid), key="samples", step=step)
        now = int(1000 * time.time())
        # In a single request, so that a step is there with all its values or not at all.
        self._client.log_batch(run, [Metric(_name(name), value, now, step) for name, value in values.items()])

    def end(self, trial: LoggedTrial, *, failed: bool) -> None:
        """Note in the trial's run how it ended."""
        if (run := self._running.pop(trial.run, None)) is not None:
            self._client.set_terminated(run, "FAILED" if failed else "FINISHED")

    def close(self) -> None:
        """Mark the runs of trials that have not ended as killed."""
        for run in self._running.values():
            self._client.set_terminated(run, "KILLED")
        self._running.clear()

    def _find(self, trial: LoggedTrial) -> str | None:
        runs = self._client.search_runs([self._experiment], f"tags.`{TAG}` = '{trial.run}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def _new(self, trial: LoggedTrial) -> str:
        run = self._client.create_run(self._experiment, tags={TAG: trial.run, "sweep": trial.sweep}, run_name=trial.name)
        identity: str = run.info.run_id
        settings = [Param(name, str(value)) for name, value in trial.settings().items()]
        self._client.log_batch(identity, params=settings)
        return identity


def _name(metric: str) -> str:
    """Return a metric's name in the letters that MLflow accepts; names of classes may have others."""
    return re.sub(r"[^\w\-. :/]", "_", metric, flags=re.ASCII)
