"""The images of a trial: those that it trains on, and those that its augmentation holds out."""

import numpy as np

from trainers.common.errors import UserError, within
from trainers.config.augmentations import get_augmentation
from trainers.config.trial import TrialConfig
from trainers.domains import Domain, Images, get, subset


def training_images(trial: TrialConfig) -> Images:
    """Return the training images of a trial: the nested subset of its size and seed, without those that are held out.

    The shares of the classes are those of the domain, or equal in a conditional trial.

    Raises:
        UserError: the content of the domain has changed since the trial was planned, or a conditional trial has no labels.
    """
    domain, rows = _subset(trial)
    kept = len(rows) - get_augmentation(trial.augmentation).held_out(len(rows))
    return domain.pick("train", trial.gan.resolution, rows[:kept])


def held_out_images(trial: TrialConfig) -> np.ndarray | None:
    """Return the images uint8 (N, H, W, 3) of a trial's subset that its augmentation holds out of training; None without any.

    Raises:
        UserError: as `training_images`.
    """
    domain, rows = _subset(trial)
    count = get_augmentation(trial.augmentation).held_out(len(rows))
    return domain.pick("train", trial.gan.resolution, rows[-count:]).images if count else None


def _subset(trial: TrialConfig) -> tuple[Domain, np.ndarray]:
    """Return the domain of a trial and the indices of its subset of the train split."""
    domain = get(trial.domain.name)
    with within("gan.resolution"):
        domain.check_resolution(trial.gan.resolution)
    if domain.fingerprint != trial.domain.fingerprint:
        raise UserError(f"domain {trial.domain.name!r} has changed since the sweep was planned; run the command again")
    labels = domain.labels("train")
    if trial.conditional and labels is None:
        raise UserError(f"domain {trial.domain.name!r} has no class labels: set conditional to false")
    return domain, subset(labels, domain.count("train"), trial.size, trial.base_seed, balanced=trial.conditional)
