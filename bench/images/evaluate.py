"""Metrics of a folder of generated images against a domain, without a sweep or a store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.sweeps.expansion import check_measurable
from trainers.common.counts import counted
from trainers.common.errors import UserError, unknown_name, within
from trainers.config.settings import GanConfig
from trainers.domains.account import skipped_line

if TYPE_CHECKING:
    from trainers.domains import Split
    from trainers.evaluation.comparison import Comparison

#: What sets the resolution, in messages.
_OPTION = "--resolution"

#: Fewest generated images.
FEWEST = 8

#: The metric of the independent Wasserstein critic, which is trained for it and therefore computed on request only, and the
#: critic's training steps.
IW, IW_STEPS = "iw", 200


def evaluate(
    folder: Path,
    against: str,
    embedding: str,
    resolution: int,
    metrics: Sequence[str],
    tell: Callable[[str], None],
    splits: "Sequence[Split]" = ("reference",),
) -> dict[str, dict[str, Any]]:
    """Measure all images in a folder and its sub-folders against the images in some splits of a domain.

    Memorisation always compares the train split with the reference split.

    Args:
        resolution: height and width to which all images are resized, pixels.
        metrics: names; if empty, all except the independent critic's.
        tell: called with a line on progress.

    Returns:
        By metric: `value`, its 95 % interval `low` and `high`, and `samples`, the number of generated images. A metric that
        these images do not define has None, and the `reason`.

    Raises:
        UserError: the folder, the domain, the embedding or a metric cannot be used.
    """
    import torch

    from trainers.config.embeddings import check_embedding
    from trainers.config.metrics import metrics as records
    from trainers.domains import get
    from trainers.evaluation.comparison import METRICS, Comparison, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.metrics.iw import iw_score
    from trainers.evaluation.references import joined, references

    for name in metrics:
        if name not in (*METRICS, IW):
            raise unknown_name("metric", name, (*METRICS, IW))
    critic = _critic(resolution) if IW in metrics else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_embedding(check_embedding(embedding), device)
    domain = get(against)
    check_measurable(domain, resolution, _OPTION)
    images, skipped = _images(folder, resolution)
    for source, line in (("--images", skipped), (against, skipped_line(domain.skipped))):
        if line:
            tell(f"{source}: {line}")
    chosen = list(metrics or METRICS)
    for name in [name for name in chosen if 0 < records()[name].training_images < domain.count("train")]:
        count = f"{domain.count('train'):,} training images, more than {records()[name].training_images:,}"
        if metrics:
            raise UserError(f"--metrics {name} is not measured for {against}, which has {count}; leave it out")
        tell(f"{name} is not measured: {against} has {count}")
        chosen.remove(name)

    which = "" if "train" not in splits else ", its train split," if len(splits) == 1 else ", all of it,"
    real = sum(map(domain.count, splits))
    tell(f"embedding {counted(len(images), 'image')} and {real:,} of {against}{which} with {network.identity}")
    of_splits = {split: references(against, resolution, network, split) for split in splits}
    reference = joined(list(of_splits.values()))
    training, held_out = None, None
    if any(records()[name].training_images for name in chosen):
        trained = of_splits.get("train")
        training = network(domain.load("train", resolution).images) if trained is None else trained.features
        held_out = None if trained is None else references(against, resolution, network)
    pair = Comparison(reference, network(images), training, held_out)
    results = {}
    for name in chosen:
        tell(f"computing {name}")
        if name == IW:
            assert critic is not None
            loaded = np.concatenate([domain.load(split, resolution).images for split in splits])
            estimate = iw_score(loaded, images, critic, 0, IW_STEPS, device)
            results[name] = {**interval(name, estimate), "samples": len(images), "steps": IW_STEPS}
        else:
            results[name] = {**_measured(name, pair), "samples": len(images)}
            if reason := results[name].get("reason"):
                tell(f"{name} cannot be taken: {reason}")
    return results


def _measured(name: str, pair: "Comparison") -> dict[str, Any]:
    """Return a metric's value and interval; None for each, and the `reason`, if it is not defined for these images."""
    from trainers.evaluation.comparison import METRICS, interval

    try:
        values: dict[str, Any] = interval(name, METRICS[name](pair))
    except ValueError as error:
        return dict.fromkeys(("value", "low", "high")) | {"reason": str(error)}
    if not np.isfinite(values["value"]):
        return dict.fromkeys(("value", "low", "high")) | {"reason": "it is not a finite number"}
    return {key: value if np.isfinite(value) else None for key, value in values.items()}


def _images(folder: Path, resolution: int) -> tuple[np.ndarray, str]:
    """Return the images of a folder, uint8 (N, resolution, resolution, 3), and a phrase on those that are skipped, or ""."""
    from trainers.domains import get

    with within("--images"):
        domain = get(f"folder:{folder}")
    with within(_OPTION):
        domain.check_resolution(resolution)
    images = np.concatenate([domain.load(split, resolution).images for split in ("train", "reference")])
    if len(images) < FEWEST:
        raise UserError(f"--images: {str(folder)!r} has {len(images)} readable images and needs {FEWEST} or more")
    return images, skipped_line(domain.skipped)


def _critic(resolution: int) -> GanConfig:
    """Return the networks of the independent critic."""
    try:
        return GanConfig(resolution=resolution)
    except ValueError as error:
        raise UserError(f"--metrics iw: its critic needs a --resolution of 8, 16, 32, ..., not {resolution}") from error
