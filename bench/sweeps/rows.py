"""The rows of the store that describe a trial, and the plan that the store keeps of each sweep."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from bench.sweeps.plan import Plan
from bench.sweeps.spec import PLAN_ONLY, SweepSpec, as_mapping
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.run import Rung


def outcome_row(
    trial: TrialConfig, status: str, environment: str, report: Mapping[str, Any] = MappingProxyType({}), *,
    steps: int | None = None, checkpoint: str | None = None, samples: str | None = None, real_samples: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the row of table `trials` that records how a trial ended.

    Args:
        trial, status: the trial, and how it ended.
        environment: hash of the machine and software that it ran on.
        report: of its last rung (see `Rung.report`); empty if it has none.
        steps: generator steps reached; by default those of the report.
        checkpoint, samples, real_samples: paths in the store of its last checkpoint and sample grids, None for no file.
        error: why it failed, diverged, stopped or is blocked.
    """
    return {
        **trial_columns(trial),
        "status": status,
        "steps": report.get("steps") if steps is None else steps,
        "seconds": report.get("seconds"),
        "images_per_second": report.get("images_per_second"),
        "peak_memory_mib": report.get("peak_memory_mib"),
        "checkpoint": checkpoint,
        "samples": samples,
        "real_samples": real_samples,
        "error": error,
        "environment": environment,
    }


def measurement_rows(key: str, rung: "Rung") -> list[dict[str, Any]]:
    """Return the rows of table `measurements` for the metrics of a trial at a rung."""
    return [
        {
            "trial": key,
            "step": rung.step,
            "metric": measured.metric,
            "embedding": rung.embedding,
            "value": measured.value,
            "standard_error": measured.standard_error,
            "replicates": measured.replicates,
            "samples": measured.samples,
            "images_seen": rung.images_seen,
            "seconds": rung.seconds,
        }
        for measured in rung.measurements
    ]


def record(plan: Plan) -> dict[str, Any]:
    """Return a plan as the plain data that the store keeps (see `Store.write_sweep`)."""
    return {"spec": as_mapping(plan.spec), "trials": [trial_columns(trial) for trial in plan.trials]}


def recorded(planned: Mapping[str, Any]) -> Plan:
    """Return a plan without its grid from the data of `record`. Raises ValidationError if another version planned it."""
    spec = SweepSpec.model_validate(planned["spec"], context=PLAN_ONLY)
    plan = Plan(spec, tuple(map(recorded_trial, planned["trials"])), (), ())
    if unplanned := {trial.parent for trial in plan.trials} - plan.by_key.keys() - {None}:
        problem = PydanticCustomError("parent", "a trial's source is not planned")
        raise ValidationError.from_exception_data("plan", [{"type": problem, "loc": ("trials",), "input": str(unplanned)}])
    return plan


def recorded_trial(row: Mapping[Any, Any]) -> TrialConfig:
    """Return a trial from its columns (see `trial_columns`), with the key and the cell from there.

    Computing them again would need the embedding's weights, which may not be on this machine.
    """
    trial = TrialConfig.model_validate_json(row.get("config") or "")
    vars(trial).update(key=row["key"], cell=cell if isinstance(cell := row.get("cell"), str) else None)
    return trial


def trial_of(config: str | None) -> TrialConfig | None:
    """Return the trial of column `config`, or None if this version of the program cannot read it."""
    try:
        return TrialConfig.model_validate_json(config or "")
    except (ValidationError, UserError):
        return None


def trial_columns(trial: TrialConfig) -> dict[str, Any]:
    """Return the columns of table `trials` that the configuration of a trial determines."""
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
