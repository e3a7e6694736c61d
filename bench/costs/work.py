"""The work of a trial, by which its times are compared with those of another one."""

import json

from trainers.config.embeddings import ANNOUNCED
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import TrialConfig

#: Settings of the training that do not change the duration of a step.
_IRRELEVANT = {"steps", "generator_lr", "critic_lr", "betas"}


def alike(trial: TrialConfig) -> str:
    """Return an identifier that trials share whose steps and evaluations are the same work."""
    return json.dumps(
        [
            trial.gan.canonical_json(),
            trial.training.model_dump(mode="json", exclude=_IRRELEVANT),
            [network(trial.evaluation), trial.evaluation.samples, trial.evaluation.iw_steps],
            len(trial.domain.classes) if trial.conditional else 0,
            trial.augmentation,
        ],
        sort_keys=True,
    )


def differences(trial: TrialConfig, other: TrialConfig) -> tuple[str, ...]:
    """Return the keys of the sweep file that make two trials no like ones (see `alike`)."""

    def settings(of: TrialConfig) -> dict[str, object]:
        training = of.training.model_dump(exclude=_IRRELEVANT)
        return {
            **{f"gan.{key}": value for key, value in of.gan.model_dump().items()},
            **{f"training.{key}": value for key, value in training.items()},
            **{f"evaluation.{key}": getattr(of.evaluation, key) for key in ("samples", "iw_steps")},
            "conditional": len(of.domain.classes) if of.conditional else 0,
            "augmentation": of.augmentation,
        }

    ours, theirs = settings(trial), settings(other)
    return tuple(key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key))


def network(evaluation: EvaluationConfig) -> str:
    """Return the embedding's kind, independent of the path of its weights; for a custom embedding also its file."""
    name = evaluation.embedding.removeprefix(ANNOUNCED)
    kind = name.partition(":")[0]
    return name if kind == "custom" else kind


def work(trial: TrialConfig) -> int:
    """Return the floating-point operations of a step."""
    from trainers.core.flops import step_flops  # imports torch, which is slow

    return step_flops(trial.gan, trial.training, len(trial.domain.classes) if trial.conditional else 0)


def pixels(trial: TrialConfig) -> int:
    """Return the pixels of an evaluation."""
    return trial.evaluation.samples * trial.gan.resolution**2
