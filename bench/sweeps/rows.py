"""The rows of the store that describe a trial, and the plan that the store keeps of each sweep."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from bench.sweeps.plan import Plan
from bench.sweeps.spec import PLAN_ONLY, SweepSpec, as_mapping
from trainers.common.errors import UserError
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.rung import Rung


def outcome_row(
    trial: TrialConfig, status: str, environment: str, report: Mapping[str, Any] = MappingProxyType({}), *,
    steps: int | None = None, checkpoint: str | None = None, samples: str | None = None, real_samples: str | None = None,
    error: str | None = None, rule: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the row of table `trials` that records how a trial ended.

    Args:
        trial, status: the trial, and how it ended.
        environment: hash of the machine and software that it ran on.
        report: of its last rung (see `Rung.report`); empty if it has none.
        steps: generator steps reached; by default those of the report.
        checkpoint, samples, real_samples: paths in the store of its last checkpoint and sample grids, None for no file.
        error: why it failed, diverged, stopped or is blocked.
        rule: the settings of the rule that stopped it, canonical JSON.
    """
    return {
        **trial_columns(trial),
        "status": status,
        "steps": report.get("steps") if steps is None else steps,
        "seconds": report.get("seconds"),
        "evaluation_seconds": report.get("evaluation_seconds"),
        "images_per_second": report.get("images_per_second"),
        "peak_memory_mib": report.get("peak_memory_mib"),
        "checkpoint": checkpoint,
        "samples": samples,
        "real_samples": real_samples,
        "error": error,
        "rule": rule,
        "environment": environment,
    }


def measurement_rows(trial: TrialConfig, rung: "Rung") -> list[dict[str, Any]]:
    """Return the rows of table `measurements` for the metrics of a trial at a rung."""
    return [
        {
            "trial": trial.key,
            "step": rung.step,
            "metric": measured.metric,
            "embedding": rung.view.partition("/")[0],
            "view": rung.view,
            "version": trial.evaluation.version(measured.metric),
            "value": measured.value,
            "standard_error": measured.standard_error,
            "replicates": measured.replicates,
            "samples": measured.samples,
            "images_seen": rung.images_seen,
            "seconds": rung.seconds,
        }
        for measured in rung.measurements
    ]


def same_evaluation(row: Mapping[Any, Any], trial: TrialConfig) -> bool:
    """Return whether a trial's recorded outcome rests on measurements that its present evaluation makes, at the same rungs."""
    recorded = trial_of(row["config"])
    if recorded is None or row["view"] != trial.evaluation.view:
        return False
    before, now = recorded.evaluation, trial.evaluation
    return (before.first_rung, before.rung_factor) == (now.first_rung, now.rung_factor)


def record(plan: Plan) -> dict[str, Any]:
    """Return a plan as the plain data that the store keeps (see `Store.write_sweep`)."""
    return {
        "spec": as_mapping(plan.spec),
        "view": plan.spec.evaluation.view,
        "trials": [trial_columns(trial) for trial in plan.trials],
    }


def recorded(planned: Mapping[str, Any]) -> Plan:
    """Return a plan without its grid from the data of `record`. Raises ValidationError if another version planned it."""
    spec = SweepSpec.model_validate(planned["spec"], context=PLAN_ONLY)
    _set_view(spec.evaluation, planned)
    plan = Plan(spec, tuple(map(recorded_trial, planned["trials"])), (), ())
    if unplanned := {trial.parent for trial in plan.trials} - plan.by_key.keys() - {None}:
        problem = PydanticCustomError("parent", "a trial's source is not planned")
        raise ValidationError.from_exception_data("plan", [{"type": problem, "loc": ("trials",), "input": str(unplanned)}])
    return plan


def evaluated_by(plan: Plan, evaluation: EvaluationConfig) -> Plan:
    """Return a plan whose trials are measured by another evaluation; their keys stay."""
    trials = []
    for trial in plan.trials:
        changed = trial.model_copy(update={"evaluation": evaluation})
        vars(changed).update(key=trial.key, cell=trial.cell)  # as in `recorded_trial`
        trials.append(changed)
    return replace(plan, spec=plan.spec.model_copy(update={"evaluation": evaluation}), trials=tuple(trials))


def recorded_trial(row: Mapping[Any, Any]) -> TrialConfig:
    """Return a trial from its columns (see `trial_columns`), with the key, the cell and the view from there.

    Computing them again would need the embedding's weights, which may not be on this machine.
    """
    trial = TrialConfig.model_validate_json(row.get("config") or "")
    vars(trial).update(key=row["key"], cell=cell if isinstance(cell := row.get("cell"), str) else None)
    _set_view(trial.evaluation, row)
    return trial


def _set_view(evaluation: EvaluationConfig, row: Mapping[Any, Any]) -> None:
    if isinstance(view := row.get("view"), str):
        vars(evaluation).update(view=view)


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
        "view": trial.evaluation.view,
    }
