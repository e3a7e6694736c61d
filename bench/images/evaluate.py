"""Measures a folder of generated images against a domain: the metrics alone, without a sweep or a store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainers.common.errors import UserError, unknown_name, within
from trainers.config.settings import GanConfig

#: Fewest images on the generated side and in the reference split.
FEWEST, FEWEST_REFERENCE = 8, 4

#: The metric that trains a critic of its own, and is told only when asked for.
IW = "iw"

#: Steps of that critic.
IW_STEPS = 200


def evaluate(
    folder: Path,
    against: str,
    embedding: str,
    resolution: int,
    metrics: Sequence[str],
    tell: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Measure all images in a folder against a domain's reference split.

    Args:
        folder: the generated images, flat or in sub-folders.
        against: a domain's name. Its train split is what memorisation is looked for in.
        embedding: an embedding's name.
        resolution: height and width that both sides are brought to, pixels.
        metrics: names; all but the independent critic's when empty.
        tell: told of progress.

    Returns:
        By metric: `value`, its 95 % interval `low` and `high`, and `samples`, how many images are behind it.

    Raises:
        UserError: the folder, the domain, the embedding or a metric is not what it should be.
    """
    import torch

    from trainers.config.embeddings import check_embedding
    from trainers.config.metrics import metrics as records
    from trainers.domains import get
    from trainers.evaluation.comparison import METRICS, Comparison, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.evaluator import MEMORISABLE
    from trainers.evaluation.metrics.iw import iw_distance
    from trainers.evaluation.references import references

    for name in metrics:
        if name not in (*METRICS, IW):
            raise unknown_name("metric", name, (*METRICS, IW))
    critic = _critic(resolution) if IW in metrics else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_embedding(check_embedding(embedding), device)
    domain = get(against)
    domain.check_resolution(resolution)
    if domain.count("reference") < FEWEST_REFERENCE:
        raise UserError(f"domain {against!r} has {domain.count('reference')} reference images and needs {FEWEST_REFERENCE}")
    images = _images(folder, resolution)
    chosen = list(metrics or METRICS)
    copying = [name for name in chosen if records()[name].needs_training]
    if copying and domain.count("train") > MEMORISABLE:
        if metrics:
            raise UserError(f"{copying[0]} is not looked for in {domain.count('train'):,} training images; leave it out")
        chosen = [name for name in chosen if name not in copying]

    tell(f"embedding {len(images):,} images and {domain.count('reference'):,} of {against} with {network.identity}")
    reference = references(against, resolution, network)
    training = network(domain.load("train", resolution).images) if set(copying) & set(chosen) else None
    pair = Comparison(reference, network(images), training)
    found = {}
    for name in chosen:
        tell(f"computing {name}")
        if name == IW:
            assert critic is not None
            estimate = iw_distance(domain.load("reference", resolution).images, images, critic, 0, IW_STEPS, device)
            found[name] = {**interval(name, estimate), "samples": len(images), "steps": IW_STEPS}
        else:
            found[name] = {**interval(name, METRICS[name](pair)), "samples": len(images)}
    return found


def _images(folder: Path, resolution: int) -> np.ndarray:
    from trainers.domains import get

    with within("--images"):
        domain = get(f"folder:{folder}")
    domain.check_resolution(resolution)
    images = np.concatenate([domain.load(split, resolution).images for split in ("train", "reference")])
    if len(images) < FEWEST:
        raise UserError(f"--images: {str(folder)!r} has {len(images)} readable images and needs {FEWEST} or more")
    return images


def _critic(resolution: int) -> GanConfig:
    """Return the size of the independent critic."""
    try:
        return GanConfig(resolution=resolution)
    except ValueError as error:
        raise UserError(f"--metrics iw: its critic takes a --resolution of 8, 16, 32, ..., not {resolution}") from error
