"""The results of a trial at a rung, and how they are measured."""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from trainers.config.augmentations import get_augmentation
from trainers.config.metrics import STATE
from trainers.config.trial import TrialConfig
from trainers.core.augmenter import Augmenter
from trainers.core.gan import Gan
from trainers.evaluation.evaluator import Evaluator, Measurement, Subject
from trainers.evaluation.references import References
from trainers.trial import checkpoints
from trainers.trial.checkpoints import Checkpoint, Match
from trainers.trial.images import training_images
from trainers.trial.plateau import Plateau

#: PNG bytes of a sample grid, and of the training images nearest to its images.
_Grids = tuple[bytes | None, bytes | None]


@dataclass
class Stopwatch:
    """Adds up the seconds of blocks, also of those that an exception ends; None stays None, for an unknown time before."""

    seconds: float | None = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self.seconds is not None:
                self.seconds += time.perf_counter() - started


@dataclass(frozen=True)
class Rung:
    """The results of a trial at step 0 or at a rung; without measurements, networks and samples if training has diverged.

    Attributes:
        view: how they were measured (see `EvaluationConfig.view`).
        checkpoint: safetensors bytes, from which the trial continues or, after its end, others start.
        generator: safetensors bytes of a checkpoint with the generator alone, to draw images from.
        critic: safetensors bytes of one with the critic alone; training elsewhere starts from both.
        samples: PNG bytes of a grid of generated images.
        nearest: PNG bytes of the training images that those of `samples` are nearest to, place by place; None at step 0, and if
            there are too many training images to compare with.
        images_seen: real images that the critic has seen.
        seconds: duration of the trial including evaluation, over all sessions that led to this rung.
        evaluation_seconds: those of `seconds` that evaluation took, with the embedding of the real images; None if unknown, as
            when the trial has resumed from a checkpoint of an older version.
        images_per_second: real images per second of training; None before any training in this session.
        peak_memory_mib: peak memory of the process (CPU) or of the device's allocator (GPU), MiB.
        diverged: the message of `Diverged`, if training has diverged.
        finished: whether this is the last rung.
        plateau: the state of `Plateau`, for a trial that ends at one.
    """

    step: int
    measurements: tuple[Measurement, ...]
    view: str
    checkpoint: bytes | None
    samples: bytes | None
    images_seen: int
    seconds: float
    evaluation_seconds: float | None
    images_per_second: float | None
    peak_memory_mib: float
    nearest: bytes | None = None
    generator: bytes | None = None
    critic: bytes | None = None
    diverged: str | None = None
    finished: bool = False
    plateau: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def report(self) -> dict[str, Any]:
        """The report to a scheduler: each metric by name, how it was measured, and the steps, time and memory used."""
        return {
            "steps": self.step,
            "view": self.view,
            "seconds": self.seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "images_per_second": self.images_per_second,
            "peak_memory_mib": self.peak_memory_mib,
            **{measurement.metric: measurement.value for measurement in self.measurements},
            **self.plateau,
        }


def subject_of(gan: Gan) -> Subject:
    """Return what is measured of a GAN at its present step."""
    return Subject(gan.step, gan.evaluated, gan.generator, gan.latent)


def _stored(checkpoint: Checkpoint, evaluate: Evaluator) -> Subject:
    """Return what `evaluate` measures of a checkpoint."""
    average, latent = checkpoints.generator(checkpoint, evaluate.device)
    raw = checkpoints.generator(checkpoint, evaluate.device, raw=True)[0] if evaluate.trial.evaluation.raw else average
    return Subject(checkpoint.step, average, raw, latent)


def measure_again(evaluate: Evaluator, checkpoint: Checkpoint, *, finished: bool) -> Rung:
    """Return the rung of a checkpoint with a generator as `evaluate` measures it now, with nothing but its measurements.

    The time is that at which the rung was reached. `finished`: whether the metrics of the last rung are wanted too.
    """
    subject = _stored(checkpoint, evaluate)
    return Rung(
        step=checkpoint.step,
        measurements=(*evaluate(subject), *(evaluate.at_end(subject) if finished else ())),
        view=evaluate.trial.evaluation.view,
        checkpoint=None,
        samples=None,
        images_seen=_images_seen(evaluate.trial, checkpoint.step),
        seconds=checkpoint.report["seconds"] or 0.0,
        evaluation_seconds=checkpoint.report.get("evaluation_seconds"),
        images_per_second=None,
        peak_memory_mib=peak_memory_mib(torch.device(evaluate.device)),
        finished=finished,
    )


def measured(
    gan: Gan, evaluate: Evaluator, matches: dict[str, Match], began: float, evaluation: Stopwatch, speed: float | None = None,
    plateau: Plateau | None = None,
) -> Rung:  # fmt: skip
    """Return the rung at a GAN's present step, with the measurements of `evaluate`; `began` is as of `time.perf_counter`.

    The time of the evaluation is added to `evaluation`. `speed` is in real images per second of training.
    """
    trial = evaluate.trial
    finished = trial.imported or gan.step >= trial.training.steps
    measurements, grids, finished = _results(evaluate, subject_of(gan), evaluation, finished, plateau)
    measurements += _state_of_augmentation(gan.augment, trial)
    rung = _rung(
        trial, gan.step, began, evaluation, speed, peak_memory_mib(gan.device), plateau,
        measurements=measurements, grids=grids, finished=finished,
    )  # fmt: skip
    ended = finished and _is_final(trial, gan.step)
    checkpoint = checkpoints.save(gan, trial, matches, rung.report, resumable=not ended, class_counts=evaluate.class_counts)
    generator = checkpoints.save_generator(gan, trial, matches, rung.report, evaluate.class_counts)
    critic = checkpoints.save_critic(gan, trial, matches, rung.report)
    return replace(rung, checkpoint=checkpoint, generator=generator, critic=critic)


def measure_reached(trial: TrialConfig, checkpoint: Checkpoint, references: References, device: str = "cpu") -> Rung:
    """Return the rung of a trial's last checkpoint, which `run` left unmeasured, as `run` would have measured it there.

    Speed and peak memory are those of its training.

    Raises:
        UserError: as `trainers.trial.images.training_images`.
    """
    before = checkpoint.report
    began = time.perf_counter() - before["seconds"]
    evaluation = Stopwatch(before["evaluation_seconds"])
    with evaluation.running():
        evaluate = Evaluator(trial, training_images(trial), references, device)
    finished = checkpoint.step >= trial.training.steps
    measurements, grids, finished = _results(evaluate, _stored(checkpoint, evaluate), evaluation, finished)
    augment = Augmenter(get_augmentation(trial.augmentation), batch=trial.training.batch, random=torch.Generator())
    augment.load(checkpoint.tensors)
    measurements += _state_of_augmentation(augment, trial)
    rung = _rung(
        trial, checkpoint.step, began, evaluation, before["images_per_second"], before["peak_memory_mib"],
        measurements=measurements, grids=grids, finished=finished,
    )  # fmt: skip
    ended = finished and _is_final(trial, checkpoint.step)
    return replace(
        rung,
        checkpoint=checkpoints.repack(checkpoint, trial, rung.report, checkpoints.NETWORKS if ended else ("",)),
        generator=checkpoints.repack(checkpoint, trial, rung.report, checkpoints.GENERATOR),
        critic=checkpoints.repack(checkpoint, trial, rung.report, checkpoints.CRITIC),
    )


def _is_final(trial: TrialConfig, step: int) -> bool:
    """Return whether no training continues from the end of a trial at a step: no larger budget, and no longer source."""
    may_be_longer = trial.kind == "pretrain" and not trial.imported and step >= trial.training.steps
    return trial.has_fixed_budget and not may_be_longer


def diverged(
    gan: Gan, trial: TrialConfig, fault: str, began: float, evaluation: Stopwatch, speed: float | None, plateau: Plateau | None
) -> Rung:
    """Return the rung at which training has diverged, with the message `fault` of `Diverged`; the rest is as in `measured`."""
    return _rung(
        trial, gan.step, began, evaluation, speed, peak_memory_mib(gan.device), plateau,
        diverged=fault, finished=gan.step >= trial.training.steps,
    )  # fmt: skip


def _rung(
    trial: TrialConfig, step: int, began: float, evaluation: Stopwatch, speed: float | None, memory: float,
    plateau: Plateau | None = None, *, measurements: tuple[Measurement, ...] = (), grids: _Grids = (None, None),
    diverged: str | None = None, finished: bool,
) -> Rung:  # fmt: skip
    """Return a rung that is reached now, without its checkpoint and networks."""
    return Rung(
        step=step,
        measurements=measurements,
        view=trial.evaluation.view,
        checkpoint=None,
        samples=grids[0],
        nearest=grids[1],
        images_seen=_images_seen(trial, step),
        seconds=time.perf_counter() - began,
        evaluation_seconds=evaluation.seconds,
        images_per_second=speed,
        peak_memory_mib=memory,
        diverged=diverged,
        finished=finished,
        plateau={} if plateau is None else plateau.state,
    )


def _results(
    evaluate: Evaluator, subject: Subject, evaluation: Stopwatch, finished: bool, plateau: Plateau | None = None
) -> tuple[tuple[Measurement, ...], _Grids, bool]:
    """Return the measurements of a rung, the sample grid with the nearest training images, and whether it is the
    last rung, by its step or by a plateau."""
    with evaluation.running():
        measurements = evaluate(subject)
        grids = evaluate.grid(subject), evaluate.nearest(subject) if subject.step else None
        if plateau is not None and subject.step:
            finished |= plateau.reached(evaluate.until(subject, plateau.until, measurements))
        if finished:
            measurements += evaluate.at_end(subject)
    return measurements, grids, finished


def _images_seen(trial: TrialConfig, step: int) -> int:
    return step * trial.training.batch * trial.training.critic_steps


def _state_of_augmentation(augment: Augmenter, trial: TrialConfig) -> tuple[Measurement, ...]:
    """Return the critic's overfitting signal under ADA, its target and the probability of a transform."""
    if augment.target is None:
        return ()
    state = {"signal": float(augment.signal), "target": augment.target, "probability": float(augment.probability)}
    return tuple(Measurement(f"{STATE}{name}", value, None, trial.training.batch) for name, value in state.items())


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory so far, MiB: of the process, or on a GPU of the device's allocator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
