"""One trial, from its configuration to its last measurement.

`run` is a generator: it yields the measurements and a checkpoint at step 0 and at every rung. Its caller stores them and
decides whether the trial continues; this module depends on neither the store nor a cluster.
"""

import gc
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from trainers.adaptation.anchors import Anchors
from trainers.common.errors import UserError
from trainers.config.augmentations import get_augmentation
from trainers.config.metrics import STATE
from trainers.config.strategy import Strategy
from trainers.config.trial import TrialConfig
from trainers.core.gan import Diverged, Gan
from trainers.evaluation.evaluator import Evaluator, Measurement, Subject
from trainers.evaluation.references import References, references
from trainers.trial import checkpoints, transfer
from trainers.trial.checkpoints import Checkpoint, Match
from trainers.trial.images import held_out_images, training_images
from trainers.trial.plateau import Plateau


@dataclass(frozen=True)
class Rung:
    """The results of a trial at step 0 or at a rung; without measurements, networks and samples if training has diverged.

    Attributes:
        view: how they were measured (see `EvaluationConfig.view`).
        checkpoint: safetensors bytes, from which the trial continues or, after its end, others start.
        generator: safetensors bytes of a checkpoint with the generator alone, to draw images from.
        samples: PNG bytes of a grid of generated images.
        images_seen: real images that the critic has seen.
        seconds: duration of the trial including evaluation, over all sessions that led to this rung.
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
    images_per_second: float | None
    peak_memory_mib: float
    generator: bytes | None = None
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
            "images_per_second": self.images_per_second,
            "peak_memory_mib": self.peak_memory_mib,
            **{measurement.metric: measurement.value for measurement in self.measurements},
            **self.plateau,
        }


@dataclass(frozen=True)
class Interim:
    """A checkpoint between two rungs, as safetensors bytes; its report is that of the last rung, with the time since then."""

    step: int
    checkpoint: bytes


def run(
    trial: TrialConfig, *, parent: Checkpoint | None = None, resume: Checkpoint | None = None, device: str = "cpu",
    graphs: bool = False, references: References = references, checkpoint_seconds: float = math.inf,
) -> Iterator[Rung | Interim]:  # fmt: skip
    """Run a trial from the start, or from a checkpoint of it.

    Yields the rung at step 0 (unless resumed), then every later rung, and checkpoints between them; ends after the budget or on
    divergence.

    Args:
        parent: the last checkpoint of the source; required if the strategy needs one.
        resume: the last checkpoint of this trial, whose rung is not yielded again.
        graphs: whether training steps are replayed as CUDA graphs.
        checkpoint_seconds: of training after a checkpoint, after which there is another one.

    Raises:
        UserError: the domain or the parent does not fit the trial, or the trial is an import.
    """
    if trial.imported:
        raise UserError(f"source {trial.as_source.name!r} is an import whose checkpoint the store lacks; import it again")
    began = time.perf_counter()
    if torch.device(device).type == "cuda":
        gc.collect()  # frees the memory of an earlier trial of this process, which counts against the share of the GPU
    data, held_out = training_images(trial), held_out_images(trial)
    classes = trial.domain.classes if trial.conditional else ()
    gan = Gan(
        trial.gan, trial.training, classes=len(classes), seed=trial.base_seed, device=device, graphs=graphs,
        augmentation=get_augmentation(trial.augmentation),
    )  # fmt: skip
    matches: dict[str, Match] = {}
    strategy = trial.follows
    if resume is not None:
        if strategy is not None:
            gan.follow(strategy, None if strategy.penalty is None else Anchors(strategy.penalty.weight))
        checkpoints.resume(gan, resume)
        matches = resume.matches
        began -= resume.report["seconds"] or 0.0
    elif strategy is not None:
        matches = start(gan, strategy, parent, classes)
    evaluate = Evaluator(trial, data, references, device)
    plateau = None if trial.until is None else Plateau(trial.until, {} if resume is None else resume.report)
    if gan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(gan.device)

    trained = 0.0
    first = gan.step
    report = {} if resume is None else resume.report
    saved = time.monotonic()

    def rung(diverged: str | None = None) -> Rung:
        images_seen = (gan.step - first) * trial.training.batch * trial.training.critic_steps
        return measured(gan, evaluate, matches, began, images_seen / trained if trained else None, diverged, plateau)

    if resume is None:
        result = rung()
        yield result
        report = result.report
        began = time.perf_counter() - result.seconds  # the caller's time between rungs does not count
    for step in trial.rungs:
        while gan.step < step:
            started = time.perf_counter()
            try:
                gan.train(data.images, data.labels, step, held_out, saved + checkpoint_seconds)
            except Diverged as error:
                yield rung(str(error))
                return
            trained += time.perf_counter() - started
            if gan.step < step:
                report = {**report, "seconds": time.perf_counter() - began}
                yield Interim(
                    gan.step,
                    checkpoints.save(gan, trial, matches, report, resumable=True, class_counts=evaluate.class_counts),
                )
            else:
                result = rung()
                report = result.report
                yield result
                if result.finished:
                    return
            saved = time.monotonic()
            began = time.perf_counter() - report["seconds"]


def subject_of(gan: Gan) -> Subject:
    """Return what is measured of a GAN at its present step."""
    return Subject(gan.step, gan.evaluated, gan.generator, gan.latent)


def measure_again(evaluate: Evaluator, checkpoint: Checkpoint, *, finished: bool) -> Rung:
    """Return the rung of a checkpoint with a generator as `evaluate` measures it now, with nothing but its measurements.

    The time is that at which the rung was reached. `finished`: whether the metrics of the last rung are wanted too.
    """
    average, latent = checkpoints.generator(checkpoint, evaluate.device)
    raw = checkpoints.generator(checkpoint, evaluate.device, raw=True)[0] if evaluate.trial.evaluation.raw else average
    subject = Subject(checkpoint.step, average, raw, latent)
    training = evaluate.trial.training
    return Rung(
        step=checkpoint.step,
        measurements=(*evaluate(subject), *(evaluate.at_end(subject) if finished else ())),
        view=evaluate.trial.evaluation.view,
        checkpoint=None,
        samples=None,
        images_seen=checkpoint.step * training.batch * training.critic_steps,
        seconds=checkpoint.report["seconds"] or 0.0,
        images_per_second=None,
        peak_memory_mib=peak_memory_mib(torch.device(evaluate.device)),
        finished=finished,
    )


def measured(
    gan: Gan, evaluate: Evaluator, matches: dict[str, Match], began: float, speed: float | None = None,
    fault: str | None = None, plateau: Plateau | None = None,
) -> Rung:  # fmt: skip
    """Return the rung at a GAN's present step, with the measurements of `evaluate`; `began` is as of `time.perf_counter`.

    `speed` is in real images per second of training; `fault` is the message of `Diverged`, if training has diverged.
    """
    trial = evaluate.trial
    finished = trial.imported or gan.step >= trial.training.steps
    subject = subject_of(gan)
    measurements, samples = ((), None) if fault else (evaluate(subject), evaluate.grid(subject))
    if plateau is not None and gan.step and not fault:
        finished |= plateau.reached(evaluate.until(subject, plateau.until, measurements))
    if finished and not fault:
        measurements += evaluate.at_end(subject)
    if not fault:
        measurements += _state_of_augmentation(gan)
    rung = Rung(
        step=gan.step,
        measurements=measurements,
        view=trial.evaluation.view,
        checkpoint=None,
        samples=samples,
        images_seen=gan.step * trial.training.batch * trial.training.critic_steps,
        seconds=time.perf_counter() - began,
        images_per_second=speed,
        peak_memory_mib=peak_memory_mib(gan.device),
        diverged=fault,
        finished=finished,
        plateau={} if plateau is None else plateau.state,
    )
    if fault:
        return rung
    ended = finished and trial.has_fixed_budget  # else a larger budget may continue it
    checkpoint = checkpoints.save(gan, trial, matches, rung.report, resumable=not ended, class_counts=evaluate.class_counts)
    generator = checkpoints.save_generator(gan, trial, matches, rung.report, evaluate.class_counts)
    return replace(rung, checkpoint=checkpoint, generator=generator)


def _state_of_augmentation(gan: Gan) -> tuple[Measurement, ...]:
    """Return the critic's overfitting signal under ADA, its target and the probability of a transform."""
    if gan.augment.target is None:
        return ()
    signal, probability = float(gan.augment.signal), float(gan.augment.probability)
    state = {"signal": signal, "target": gan.augment.target, "probability": probability}
    return tuple(Measurement(f"{STATE}{name}", value, None, gan.config.batch) for name, value in state.items())


def start(gan: Gan, strategy: Strategy, parent: Checkpoint | None, classes: tuple[str, ...]) -> dict[str, Match]:
    """Transfer a source's networks into a GAN before its first step, and let its training follow the strategy.

    `classes` are the names of the GAN's classes, empty when unconditional. Returns the outcome by network that was copied.

    Raises:
        UserError: the strategy needs a source, and `parent` is None or does not fit.
    """
    matches: dict[str, Match] = {}
    anchors = None
    if strategy.needs_source:
        if parent is None:
            raise UserError(f"strategy {strategy.name!r} needs a source, and none was given")
        for name in strategy.copies:
            part = strategy.copied(name, gan.shape)
            matches[name] = transfer.transfer(parent, name, gan.networks[name], classes, part=part)
        if strategy.penalty is not None:
            anchors = transfer.anchors_at(parent, gan.networks, matches, classes, strategy.penalty)
    gan.follow(strategy, anchors)
    return matches


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory so far, MiB: of the process, or on a GPU of the device's allocator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
