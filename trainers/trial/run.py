"""One trial, from its configuration to its last measurement.

`run` is a generator: it yields at step 0 and at every rung, with the measurements and a checkpoint to go on from. Whoever
drives it decides where these are kept and whether the trial goes on; nothing in here knows of a store or a cluster.
"""

import gc
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from trainers.adaptation.anchors import Anchors
from trainers.adaptation.fisher import fisher
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.augmentations import get_augmentation
from trainers.config.strategies import get_strategy
from trainers.config.strategy import Strategy
from trainers.config.trial import TrialConfig
from trainers.core.gan import Diverged, Gan
from trainers.domains import Images, get, subset
from trainers.evaluation.evaluator import Evaluator, Measurement
from trainers.evaluation.references import References, references
from trainers.trial import checkpoints, transfer
from trainers.trial.checkpoints import Checkpoint, Match


@dataclass(frozen=True)
class Rung:
    """What a trial has to show at step 0 or at a rung.

    Attributes:
        step: generator steps taken.
        measurements: empty when the trial has diverged.
        embedding: identity of the embedding of the measurements.
        checkpoint: safetensors bytes; None when the trial has diverged.
        samples: PNG bytes, a grid of generated images.
        images_seen: real images through the critic so far.
        seconds: of this trial, evaluation included, over all sessions that counted.
        images_per_second: real images per second of training.
        peak_memory_mib: of the process (CPU) or of the device's allocator (GPU).
        diverged: what happened, when training left the range of sensible losses.
        finished: whether this was the last rung.
    """

    step: int
    measurements: tuple[Measurement, ...]
    embedding: str
    checkpoint: bytes | None
    samples: bytes | None
    images_seen: int
    seconds: float
    images_per_second: float | None
    peak_memory_mib: float
    diverged: str | None = None
    finished: bool = False

    @property
    def report(self) -> dict[str, float | None]:
        """What a scheduler is told: each metric by name, and what the trial has cost."""
        return {
            "steps": self.step,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "peak_memory_mib": self.peak_memory_mib,
            **{measured.metric: measured.value for measured in self.measurements},
        }


def run(
    trial: TrialConfig, *, parent: Checkpoint | None = None, resume: Checkpoint | None = None, device: str = "cpu",
    graphs: bool = False, references: References = references,
) -> Iterator[Rung]:  # fmt: skip
    """Run a trial, from `resume` (a checkpoint that it yielded itself) or from the start.

    Args:
        trial: what to run.
        parent: the pre-trained source; required when the strategy copies from one.
        resume: the trial's own last checkpoint; its rung is not yielded again.
        device: torch device.
        graphs: whether training steps are replayed as CUDA graphs.
        references: has the reference that the trial is measured against.

    Yields:
        step 0 (unless resumed), then every rung; ends after the budget or after divergence.

    Raises:
        UserError: the domain or the parent does not fit the trial, or the trial stands for an import.
    """
    if trial.imported:
        raise UserError(f"source {trial.as_source.name!r} was imported, and the store has lost it; import it again")
    began = time.perf_counter()
    if torch.device(device).type == "cuda":
        gc.collect()  # of a trial before this one in the process: its memory counts against this one's share of the GPU
    data = training_images(trial)
    classes = trial.domain.classes if trial.conditional else ()
    gan = Gan(
        trial.gan, trial.training, classes=len(classes), seed=trial.seed, device=device, graphs=graphs,
        augmentation=get_augmentation(trial.augmentation),
    )  # fmt: skip
    spent = 0.0
    matches: dict[str, Match] = {}
    strategy = get_strategy(trial.strategy) if trial.strategy is not None else None
    if resume is not None:
        if strategy is not None:
            gan.follow(strategy, None if strategy.penalty is None else Anchors(strategy.penalty.weight))
        checkpoints.resume(gan, resume)
        matches, spent = resume.matches, resume.report["seconds"] or 0.0
    elif strategy is not None:
        matches = start(gan, strategy, parent, classes)
    evaluate = Evaluator(trial, data, references, device)
    if gan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(gan.device)

    trained = 0.0
    first = gan.step

    def rung(diverged: str | None = None) -> Rung:
        per_step = trial.training.batch * trial.training.critic_steps
        finished = gan.step >= trial.training.steps
        measurements, samples = ((), None) if diverged else (evaluate(gan), evaluate.grid(gan))
        fishers = None
        if finished and trial.kind == "pretrain" and not diverged:
            fishers = fisher(gan.generator, gan.critic, trial.training, gan.latent, trial.seed)
        shown = Rung(
            step=gan.step,
            measurements=measurements,
            embedding=evaluate.embedding.identity,
            checkpoint=None,
            samples=samples,
            images_seen=gan.step * per_step,
            seconds=spent + time.perf_counter() - began,
            images_per_second=(gan.step - first) * per_step / trained if trained else None,
            peak_memory_mib=peak_memory_mib(gan.device),
            diverged=diverged,
            finished=finished,
        )
        if diverged:
            return shown
        data = checkpoints.save(gan, trial, matches, shown.report, resumable=not shown.finished, fishers=fishers)
        return replace(shown, checkpoint=data)

    if resume is None:
        shown = rung()
        yield shown
        spent, began = shown.seconds, time.perf_counter()  # the driver's time between rungs is not the trial's
    for step in trial.rungs:
        if step <= gan.step:
            continue
        started = time.perf_counter()
        try:
            gan.train(data.images, data.labels, step)
        except Diverged as error:
            yield rung(str(error))
            return
        trained += time.perf_counter() - started
        shown = rung()
        yield shown
        spent, began = shown.seconds, time.perf_counter()


def training_images(trial: TrialConfig) -> Images:
    """Return the training images that the trial may see: a nested, class-balanced subset by size and seed.

    Raises:
        UserError: the domain's content is not what the trial was planned with, or it has no labels to condition on.
    """
    domain = get(trial.domain.name)
    domain.check_resolution(trial.gan.resolution)
    if domain.fingerprint != trial.domain.fingerprint:
        raise UserError(f"domain {trial.domain.name!r} has changed since the sweep was planned; run the command again")
    labels = domain.labels("train")
    if trial.conditional and labels is None:
        raise UserError(f"domain {trial.domain.name!r} has no class labels: set conditional to false")
    seed = derive_seed("subset", trial.domain.fingerprint, trial.seed)
    return domain.pick("train", trial.gan.resolution, subset(labels, domain.count("train"), trial.size, seed))


def start(gan: Gan, strategy: Strategy, parent: Checkpoint | None, classes: tuple[str, ...]) -> dict[str, Match]:
    """Let a fresh GAN start from a source as a strategy says, and follow it; return what came over, by network.

    Args:
        gan: fresh networks.
        strategy: what to do.
        parent: the source; None for a strategy that needs none.
        classes: names of the GAN's classes; empty when unconditional.

    Raises:
        UserError: the strategy needs a source, and there is none or it does not fit.
    """
    matches: dict[str, Match] = {}
    anchors = None
    if strategy.needs_source:
        if parent is None:
            raise UserError(f"strategy {strategy.name!r} starts from a source, and none was given")
        for name in strategy.copies:
            part = strategy.copied(name, gan.shape)
            matches[name] = transfer.transfer(parent, name, gan.networks[name], classes, part=part)
        if strategy.penalty is not None:
            anchors = transfer.anchors(parent, gan.networks, matches, classes, strategy.penalty)
    gan.follow(strategy, anchors)
    return matches


def peak_memory_mib(device: torch.device) -> float:
    """Return the most memory used so far, MiB: of the process, or on a GPU of the device's allocator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
