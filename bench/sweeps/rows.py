"""A trial as rows of the store."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.sweeps.plan import Plan
from bench.sweeps.spec import PLAN_ONLY, SweepSpec, as_mapping
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.run import Rung


def outcome_row(trial: TrialConfig, status: str, environment: str, **columns: Any) -> dict[str, Any]:
    """Return the row of table `trials` that records how a trial ended."""
    return {**trial_columns(trial), "status": status, "environment": environment, **columns}


def measurement_rows(key: str, rung: "Rung") -> list[dict[str, Any]]:
    """Return the rows of table `measurements` for what a trial has to show at a rung."""
    return [
        {
            "trial": key,
            "step": rung.step,
            "metric": measured.metric,
            "embedding": rung.embedding,
            "value": measured.value,
            "standard_error": measured.standard_error,
            "samples": measured.samples,
            "images_seen": rung.images_seen,
            "seconds": rung.seconds,
        }
        for measured in rung.measurements
    ]


def record(plan: Plan) -> dict[str, Any]:
    """Return what the store keeps of a plan (see `Store.write_sweep`)."""
    return {"spec": as_mapping(plan.spec), "trials": [trial_columns(trial) for trial in plan.trials]}


def recorded(planned: Mapping[str, Any]) -> Plan:
    """Return a plan, without its grid, from what the store keeps of it; needs no domain and no weights.

    Raises:
        ValidationError: another version of the program planned it.
    """
    spec = SweepSpec.model_validate(planned["spec"], context=PLAN_ONLY)
    return Plan(spec, tuple(map(recorded_trial, planned["trials"])), (), ())


def recorded_trial(row: Mapping[Any, Any]) -> TrialConfig:
    """Return a trial from its columns (see `trial_columns`), with the key and the cell that it has there.

    To work them out anew takes the embedding's weights, which may not be on this machine.
    """
    trial = TrialConfig.model_validate_json(row["config"])
    vars(trial).update(key=row["key"], cell=row["cell"] if isinstance(row["cell"], str) else None)
    return trial


def trial_of(config: str | None) -> TrialConfig | None:
    """Return the trial of column `config`, or None if this version of the program cannot read it."""
    try:
        return TrialConfig.model_validate_json(config or "")
    except (ValidationError, UserError):
        return None


def trial_columns(trial: TrialConfig) -> dict[str, Any]:
    """Return the columns of table `trials` that a trial's configuration decides."""
    adapt = trial.kind != "pretrain"
    source = trial.source if adapt else trial.as_source
    return {
        "key": trial.key,
        "kind": trial.kind,
        "source": None if source is None else source.name,
        "target": trial.domain.name if adapt else None,
        "size": trial.size,
        "strategy": trial.strategy if adapt else None,
        "conditional": trial.conditional,
        "seed": trial.seed,
        "cell": trial.cell,
        "parent": trial.parent,
        "resolution": trial.gan.resolution,
        "budget": trial.training.steps,
        "config": trial.canonical_json(),
    }
