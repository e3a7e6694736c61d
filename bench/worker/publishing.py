"""Publishes the results of one trial in the store: what its process trains, and what is measured of it.

At every rung the generator is published first, so that what has been measured can be measured in another way, with the critic
if the rung is the best so far; then the measurements, the samples, the checkpoint, and the outcome if the trial has ended.
Where drivers share a store, the claim on the trial is looked up before each of these files; without it nothing more is
published.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.driver.claims import holding
from bench.store import Held, Store
from bench.store.trial_files import (
    check_checkpoint,
    checkpoint_path,
    checkpoint_paths,
    critic_path,
    critics,
    generator_path,
    last_checkpoint,
    nearest_path,
    real_samples_path,
    samples_path,
)
from bench.sweeps.rows import measurement_rows, outcome_row
from trainers.common.errors import DamagedError, UserError
from trainers.config.metrics import SELECTION
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.checkpoints import Checkpoint
    from trainers.trial.rung import Rung


@dataclass
class Publisher:
    """Publishes the results of one trial.

    Attributes:
        sweep: the sweep whose results they are.
        claim: the path in the store of the claim under which they are published; None if none is needed.
        environment: hash of the machine and software that the trial is trained on.
        last: the trial's last checkpoint when this was made; None without one.
        held: raises LostClaimError once the claim is lost; None if none is needed.
    """

    store: Store
    trial: TrialConfig
    sweep: str
    claim: str | None
    environment: str
    last: "Checkpoint | None" = field(init=False)
    held: Held | None = field(init=False)

    def __post_init__(self) -> None:
        self.held = holding(self.store, self.claim)
        self.last = read_checkpoint(self.store, self.trial.key)
        self._lowest: float | None = None  # the FID of the critic that is kept
        self._samples = samples_path(self.trial.key, 0 if self.last is None else max(0, int(self.last.report["steps"])))

    @classmethod
    def of(cls, config: Mapping[str, Any], store: Store, environment: str) -> "Publisher":
        """Return the publisher for a trial, by the `config` of `bench.worker.trial.task`. Raises UserError."""
        trial = TrialConfig.model_validate_json(config["trial"])
        if trial.key != config["key"]:
            raise UserError(
                f"embedding {trial.evaluation.embedding!r} is a different file on this machine than on the one that planned "
                "the sweep; copy that file here"
            )
        return cls(store, trial, config["sweep"], config.get("claim"), environment)

    def report_again(self) -> dict[str, Any] | None:
        """Return the report of the rung of the last checkpoint, for the driver may not have received it; None before a rung.

        If the trial has ended there without a recorded outcome, record that.
        """
        if self.last is None or not self.last.step:
            return None
        measured, budget = self.last.report["steps"], self.trial.training.steps
        # At every rung the trial may have to wait or end.
        goes_on = self.last.resumable and (self.last.step < budget or measured < budget == self.last.step)
        status = "running" if goes_on else "done"
        if status == "done" and not self._is_recorded():
            self._end(status, self.last.step, self.last.report)
        return self._report(status, self.last.report) if measured > 0 else None

    def save(self, step: int, checkpoint: bytes) -> None:
        """Publish a checkpoint, and delete older ones."""
        name = checkpoint_path(self.trial.key, step)
        self.store.write_file(name, checkpoint, self.held)
        for older in checkpoint_paths(self.store, self.trial.key):
            if older < name:
                self.store.delete_file(older)

    def publish(self, rung: "Rung") -> dict[str, Any]:
        """Publish a rung, with the outcome if the trial has ended there; return its report for the driver."""
        key = self.trial.key
        if rung.generator is not None:
            self.store.write_file(generator_path(key, rung.step), rung.generator, self.held)
        if rung.critic is not None:
            self._keep_best(rung.step, rung.critic, rung.report)
        if rung.measurements:
            self.store.append("measurements", self.sweep, measurement_rows(self.trial, rung), self.held)
        if rung.samples is not None:
            self._samples = samples_path(key, rung.step)
            self.store.write_file(self._samples, rung.samples, self.held)
        if rung.nearest is not None:
            self.store.write_file(nearest_path(key, rung.step), rung.nearest, self.held)
        if rung.checkpoint is not None:
            self.save(rung.step, rung.checkpoint)
        status = "diverged" if rung.diverged else "done" if rung.finished else "running"
        if status != "running":
            self._end(status, rung.step, rung.report, rung.diverged)
        return self._report(status, rung.report, rung.diverged)

    def _keep_best(self, step: int, critic: bytes, report: Mapping[str, Any]) -> None:
        """Publish the critic of a rung if its FID is the lowest so far, and delete the others."""
        kept = critics(self.store, self.trial.key)
        if self._lowest is None:
            self._lowest = min((_fid(_report_of(self.store, path)) for path in kept.values()), default=math.inf)
        if _fid(report) < self._lowest:
            self._lowest = _fid(report)
            self.store.write_file(critic_path(self.trial.key, step), critic, self.held)
            for path in (path for at, path in kept.items() if at != step):
                self.store.delete_file(path)

    def _report(self, status: str, report: Mapping[str, Any], error: str | None = None) -> dict[str, Any]:
        return {"status": status, "error": error, "environment": self.environment, **report}

    def _end(self, status: str, step: int, report: Mapping[str, Any], error: str | None = None) -> None:
        checkpoint, real = checkpoint_path(self.trial.key, step), real_samples_path(self.trial)
        row = outcome_row(
            self.trial,
            status,
            self.environment,
            report,
            checkpoint=checkpoint if self.store.has_file(checkpoint) else None,
            samples=self._samples if self.store.has_file(self._samples) else None,
            real_samples=real,
            error=error,
        )
        self.store.append("trials", self.sweep, [row], self.held)

    def _is_recorded(self) -> bool:
        trials = self.store.read("trials")
        return bool(((trials["key"] == self.trial.key) & (trials["status"] == "done")).any())


def _fid(report: Mapping[str, Any]) -> float:
    """Return the FID that rungs are chosen by, from the report of one; infinite if it has none."""
    value = report.get("fid" + SELECTION, report.get("fid"))
    return value if value is not None and math.isfinite(value) else math.inf


def _report_of(store: Store, path: str) -> dict[str, Any]:
    """Return the report of a critic in the store, without values if it is damaged; it is replaced then."""
    from trainers.trial import checkpoints

    try:
        check_checkpoint(store, path, data := store.read_file(path))
        return checkpoints.load(data, path).report
    except (DamagedError, UserError):
        return {}


def read_checkpoint(store: Store, key: str) -> "Checkpoint | None":
    """Return a trial's last checkpoint, or None; damaged ones are set aside."""
    from trainers.trial import checkpoints

    named = last_checkpoint(store, key)
    return None if named is None else checkpoints.load(named[1], named[0])
