"""What a source's networks make of a target: the predictors of `trainers.config.predictors`, each an estimate.

The number of images, the budgets and the seeds are fixed, so that the values of all sources can be compared.
"""

import numpy as np
import torch
from torch import Tensor

from trainers.common.heartbeat import beat
from trainers.common.seeds import derive_seed
from trainers.config.predictors import PredictorName
from trainers.config.settings import TrainingConfig
from trainers.config.strategies import get_strategy
from trainers.core.adam import Adam
from trainers.core.gan import Gan, to_device
from trainers.core.sampling import BATCH, fixed_statistics, latents, sample
from trainers.domains import Images, Split, get, subset
from trainers.evaluation.comparison import METRICS, Comparison
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.evaluator import EVALUATION_SEED
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.references import Reference
from trainers.networks import Critic, Generator, make_critic
from trainers.trial import checkpoints
from trainers.trial.checkpoints import Checkpoint
from trainers.trial.run import start

#: Images of the target that are projected and the steps and the rate of the search for each; images that a critic scores.
PROJECTED, SEARCH_STEPS, SEARCH_RATE, SCORED = 32, 100, 0.1, 500

#: Training images, generator steps and seed of a probe, which no trial has: seeds of sweeps are below 2**31.
PROBED, PROBE_STEPS, PROBE_SEED = 100, 20, 2**31


def respond(
    kind: PredictorName, source: Checkpoint, target: str, training: TrainingConfig, reference: Reference, embedding: Embedding,
    samples: int,
) -> tuple[Estimate, int]:  # fmt: skip
    """Return a predictor of a source for a target, and the number of the target's images that it is computed from.

    Args:
        target: a domain's name; `reference` is its reference in the embedding.
        training, samples: the settings of the adaptations and the generated images behind each FID, for a probe.
    """
    resolution = source.trial.gan.resolution
    if kind == "probe":
        chosen, names = _some(target, "train", resolution, PROBED, balanced=bool(source.classes)), get(target).classes
        return probe(source, training, chosen.images, chosen.labels, names, reference, embedding, samples), len(chosen.images)
    generator, critic = source_networks(source)
    images = _some(target, "reference", resolution, PROJECTED if kind == "projection" else SCORED).images
    if kind == "projection":
        return projection_error(generator, source.trial.gan.latent, images), len(images)
    own = _some(source.trial.domain.name, "train", resolution, SCORED).images
    return critic_response(critic, own, images), len(images)


def _some(domain: str, split: Split, resolution: int, most: int, *, balanced: bool = False) -> Images:
    """Return at most `most` images of a domain's split, with the shares of its classes, or equal ones if `balanced`."""
    known = get(domain)
    count = known.count(split)
    rows = subset(known.labels(split), count, min(most, count), PROBE_SEED, balanced=balanced)
    return known.pick(split, resolution, rows)


def source_networks(source: Checkpoint) -> tuple[Generator, Critic]:
    """Return the generator, with its moving average if it has one, and the critic of a source."""
    critic = to_device(make_critic(source.trial.gan, len(source.classes)), "cpu")
    critic.load_state_dict(source.network("critic"))
    return checkpoints.generator(source)[0], critic


def projection_error(generator: Generator, latent: int, images: np.ndarray, steps: int = SEARCH_STEPS) -> Estimate:
    """Return the mean root mean squared difference of images from their projections, with pixels in [-1, 1].

    An image's projection is the nearest image that a search finds: from the nearest of `BATCH` random ones, Adam moves the
    latent for `steps` steps. Its class, if the generator is conditional, is that of the random one.

    Args:
        images: uint8 (N, H, W, 3).
    """
    targets = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float().div(127.5).sub(1)
    z = latents(latent, BATCH, derive_seed("projection"))
    labels = np.arange(BATCH) % generator.classes if generator.classes else None
    generator.requires_grad_(False)
    with fixed_statistics(generator, z, labels):
        generator.eval()
        classes = None if labels is None else torch.from_numpy(labels)
        with torch.no_grad():
            drawn = generator(z, classes)
        nearest = torch.stack([_differences(drawn, image).argmin() for image in targets])
        point = z[nearest].clone().requires_grad_()
        of_nearest = None if classes is None else classes[nearest]
        optimiser = Adam([point], SEARCH_RATE, (0.9, 0.999))
        for _ in range(steps):
            optimiser.zero_grad()
            _differences(generator(point, of_nearest), targets).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            beat()
        with torch.no_grad():
            errors = _differences(generator(point, of_nearest), targets).sqrt().double().numpy()
    generator.train()
    return Estimate(float(errors.mean()), float(errors.std(ddof=1) / len(errors) ** 0.5))


def _differences(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference (N,) of each image (N, C, H, W) from its target."""
    return (images - targets).square().flatten(1).mean(1)


def critic_response(critic: Critic, own: np.ndarray, images: np.ndarray) -> Estimate:
    """Return 2 ** ((mean score of `own` - mean score of `images`) / standard deviation of the scores of `own`).

    Both are images uint8 (N, H, W, 3), `own` the critic's training images. The zero and the scale of the scores do not matter.
    """
    of_own, of_images = _scores(critic, own), _scores(critic, images)
    deviation = of_own.std(ddof=1)
    gap = (of_own.mean() - of_images.mean()) / deviation
    error = (1 / len(of_own) + (of_images.std(ddof=1) / deviation) ** 2 / len(of_images)) ** 0.5
    return Estimate(float(2**gap), float(2**gap * np.log(2) * error))


@torch.no_grad()
def _scores(critic: Critic, images: np.ndarray) -> np.ndarray:
    critic.eval()
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float().div(127.5).sub(1)
    scores = torch.cat([critic(batch)[0] for batch in torch.split(pixels, BATCH)]).double().numpy()
    critic.train()
    beat()
    return scores


def probe(
    source: Checkpoint, training: TrainingConfig, images: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...],
    reference: Reference, embedding: Embedding, samples: int,
) -> Estimate:  # fmt: skip
    """Return FID after `PROBE_STEPS` steps of fine-tuning over that from scratch, with the same images and random numbers.

    Args:
        training: the settings of the adaptations.
        images, labels: the target's training images uint8 (N, H, W, 3) and their classes int64 (N,), or None.
        classes: names of the target's classes; used if the source is conditional.
        reference: that of the target.
        samples: generated images behind each FID.
    """
    found = []
    for name in ("finetune", "scratch"):
        ours = classes if source.classes else ()
        gan = Gan(source.trial.gan, training, classes=len(ours), seed=PROBE_SEED)
        start(gan, get_strategy(name), source, ours)
        gan.train(images, labels if ours else None, PROBE_STEPS)
        features = embedding(sample(gan.evaluated, gan.latent, samples, EVALUATION_SEED))
        found.append(METRICS["fid"](Comparison(reference, features)))
        beat()
    tuned, scratch = found
    ratio = tuned.value / scratch.value
    relative = np.hypot(tuned.standard_error / tuned.value, scratch.standard_error / scratch.value)
    return Estimate(ratio, float(ratio * relative))
