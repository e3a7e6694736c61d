"""Whether trials with the same seed are independent: a source, and trials from scratch on two targets."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.science.table import Row
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Gan
from trainers.domains import get
from trainers.trial import checkpoints
from trainers.trial.run import run

GAN = GanConfig(resolution=8, width=4, latent=8)
TRAINING = TrainingConfig(steps=2, batch=8, critic_steps=1)

#: Kind and domain of the trials; all have seed 0.
TRIALS = (("pretrain", "letters"), ("adapt", "digits"), ("adapt", "numerals"))


def study(quick: bool) -> Iterator[Row]:
    """Yield the shares of the weights at step 0, and of the random numbers of training, that are equal in any two trials."""
    del quick  # it takes seconds anyway
    fresh = Gan(GAN, TRAINING, classes=0, seed=0)
    networks = {f"{name}.{key}": p for name, network in fresh.networks.items() for key, p in network.state_dict().items()}
    before = [{**networks, "draws": _draws(fresh.random.get_state())}] * len(TRIALS)
    after = [_at_step_0(kind, name) for kind, name in TRIALS]
    for what, prefixes in (("weights at step 0", ("generator.", "critic.")), ("random draws in training", ("draws",))):
        shares = [max(_equal(a, b, prefixes) for a, b in combinations(states, 2)) for states in (before, after)]
        yield Row(
            f"a source and two targets from scratch, seed 0: equal {what}", f"{shares[0]:.0%}", f"{shares[1]:.1%}",
            "at most 1%", shares[1] <= 0.01,
        )  # fmt: skip


def _at_step_0(kind: str, name: str) -> Mapping[str, Tensor]:
    """Return the tensors of a trial's checkpoint before its first step, and its first random numbers."""
    domain = get(name)
    trial = TrialConfig(
        kind="pretrain" if kind == "pretrain" else "adapt", size=50, gan=GAN, training=TRAINING,
        domain=DomainRef(name=name, fingerprint=domain.fingerprint, classes=domain.classes),
        strategy=None if kind == "pretrain" else "scratch", evaluation=EvaluationConfig(samples=64),
    )  # fmt: skip
    data = next(run(trial)).checkpoint
    assert data is not None
    tensors = checkpoints.load(data, "memory").tensors
    return {**tensors, "draws": _draws(tensors["random"])}


def _draws(state: Tensor) -> Tensor:
    """Return the next thousand normal numbers of a generator with a state."""
    return torch.randn(1000, generator=torch.Generator().set_state(state))


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> float:
    """Return the share of equal numbers in the random tensors of those prefixes; constants, as of norms, are left out."""
    names = [name for name in a if name.startswith(prefixes) and a[name].unique().numel() > 1]
    return float(np.mean(np.concatenate([(a[name] == b[name]).flatten().numpy() for name in names])))
