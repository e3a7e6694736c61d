"""One trial, from its configuration to its last measurement.

`run` is a generator: it yields the measurements and a checkpoint at step 0 and at every rung. Its caller stores them and
decides whether the trial continues; this module depends on neither the store nor a cluster.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from trainers.adaptation.anchors import Anchors
from trainers.common.errors import Left, UserError
from trainers.common.heartbeat import heard_by
from trainers.config.augmentations import get_augmentation
from trainers.config.strategy import Strategy
from trainers.config.trial import TrialConfig
from trainers.core.gan import CHECK_EVERY, Diverged, Gan
from trainers.evaluation.evaluator import Evaluator, class_counts
from trainers.evaluation.references import References, references
from trainers.trial import checkpoints, transfer
from trainers.trial.checkpoints import Checkpoint, Match
from trainers.trial.images import held_out_images, training_images
from trainers.trial.plateau import Plateau
from trainers.trial.rung import Rung, Stopwatch, diverged, measured, peak_memory_mib


@dataclass(frozen=True)
class Interim:
    """A checkpoint between two rungs, or at a rung that is not measured yet, as safetensors bytes.

    Its report is that of the last rung, but with the times of the trial so far, over all sessions. Before the first one is
    measured it has "steps" -1.

    Attributes:
        reached: whether it is the last event, at a rung that is to be measured elsewhere.
    """

    step: int
    checkpoint: bytes
    seconds: float
    reached: bool = False


def run(
    trial: TrialConfig, *, parent: Checkpoint | None = None, resume: Checkpoint | None = None, device: str = "cpu",
    graphs: bool = False, references: References = references, checkpoint_seconds: float = math.inf,
    leave: Callable[[], bool] = lambda: False, measure: bool = True,
) -> Iterator[Rung | Interim]:  # fmt: skip
    """Run a trial from the start, or from a checkpoint of it.

    Yields the rung at step 0 (unless resumed), then every later rung, and checkpoints between them; ends after the budget or on
    divergence.

    Args:
        parent: the last checkpoint of the source; required if the strategy needs one.
        resume: the last checkpoint of this trial, whose rung is not yielded again if it was measured.
        graphs: whether training steps are replayed as CUDA graphs.
        checkpoint_seconds: of training after a checkpoint, after which there is another one.
        measure: whether to measure at rungs. If not, this ends with a checkpoint at the next rung that is not measured, for
            `trainers.trial.rung.measure_reached`, unless the trial may end at a plateau: that is known only by measuring.
        leave: whether to end early; once true, it stays so. It is called after every step and at the heartbeats of evaluations.

    Raises:
        Left: `leave` has become true, and the last checkpoint, of that very step, was yielded before.
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

    def leave_now() -> None:
        if leave():
            raise Left

    evaluation = Stopwatch(0.0 if resume is None else resume.report.get("evaluation_seconds"))
    evaluate = None
    if measure or trial.until is not None:
        with heard_by(leave_now), evaluation.running():
            evaluate = Evaluator(trial, data, references, device)
    counts = class_counts(trial, data)
    plateau = None if trial.until is None else Plateau(trial.until, {} if resume is None else resume.report)
    if gan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(gan.device)

    trained = 0.0
    first = gan.step
    report = {"steps": -1} if resume is None else resume.report
    saved = time.monotonic()

    def speed() -> float | None:
        images_seen = (gan.step - first) * trial.training.batch * trial.training.critic_steps
        return images_seen / trained if trained else None

    def rung(evaluate: Evaluator) -> Rung:
        with heard_by(leave_now):
            return measured(gan, evaluate, matches, began, evaluation, speed(), plateau)

    def interim(*, reached: bool = False) -> Interim:
        seconds = time.perf_counter() - began
        present = {**report, "seconds": seconds, "evaluation_seconds": evaluation.seconds}
        if reached:
            # A session that only reaches the rung again has no speed.
            present |= {"images_per_second": speed() or report.get("images_per_second")}
            present |= {"peak_memory_mib": peak_memory_mib(gan.device)}
        data = checkpoints.save(gan, trial, matches, present, resumable=True, class_counts=counts)
        return Interim(gan.step, data, seconds, reached)

    def pause() -> bool:
        # By time only where training waits for the device anyway.
        return leave() or (gan.step % CHECK_EVERY == 0 and time.monotonic() >= saved + checkpoint_seconds)

    for step in (0, *trial.rungs):
        while gan.step < step:
            started = time.perf_counter()
            try:
                gan.train(data.images, data.labels, step, held_out, pause)
            except Diverged as error:
                yield diverged(gan, trial, str(error), began, evaluation, speed(), plateau)
                return
            trained += time.perf_counter() - started
            if gan.step < step:
                leaves, event = leave(), interim()
                yield event
                if leaves:
                    raise Left
                saved, began = time.monotonic(), time.perf_counter() - event.seconds
        if gan.step == step > report["steps"]:  # a trial that left before this rung was measured resumes at it
            if evaluate is None:
                yield interim(reached=True)
                return
            try:
                result = rung(evaluate)
            except Left:
                if step:  # nothing is lost at step 0
                    yield interim()
                raise
            report = result.report
            yield result
            if result.finished:
                return
            saved, began = time.monotonic(), time.perf_counter() - result.seconds  # the caller's time does not count


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
