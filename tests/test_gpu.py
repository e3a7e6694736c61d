"""What a GPU adds: the same code on CUDA, its gradients, and a trial that resumes. Runs where there is one."""

import numpy as np
import pytest
import torch

from trainers import checkpoints
from trainers.benchmark import measure
from trainers.config import DomainRef, EvaluationConfig, GanConfig, TrainingConfig, TrialConfig
from trainers.core import Gan, sample
from trainers.losses import critic_loss
from trainers.networks import set_low_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and this machine has none")

SMALL = GanConfig(resolution=16, width=8, latent=8)


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("family", ["resnet", "sngan", "dcgan"])
def test_a_run_goes_on_from_its_checkpoint(family: str, precision: str):
    gan = SMALL.model_copy(update={"family": family})
    loss = {"loss": "wgan-gp" if family == "resnet" else "hinge"}
    training = TrainingConfig.model_validate({"batch": 4, "critic_steps": 2, "precision": precision, "ema": 0.9, **loss})
    domain = DomainRef(name="toy", fingerprint="toy/1")
    evaluation = EvaluationConfig()
    written = TrialConfig(kind="pretrain", domain=domain, size=24, gan=gan, training=training, evaluation=evaluation)
    whole, first, resumed = (Gan(gan, training, classes=0, seed=seed, device="cuda") for seed in (0, 0, 9))
    whole.train(images(), None, 4)
    first.train(images(), None, 2)
    checkpoints.resume(resumed, checkpoints.load(checkpoints.save(first, written, {}, {}, resumable=True), "here"))
    resumed.train(images(), None, 4)
    ours, theirs = (sample(each.generator, 8, 16, 0).astype(int) for each in (whole, resumed))
    assert np.abs(ours - theirs).mean() < 2


def test_low_gradients_are_within_a_hundredth():
    torch.manual_seed(0)
    made = Gan(GanConfig(resolution=32, width=32), TrainingConfig(), classes=0, seed=0, device="cuda")
    real, mix = torch.rand(16, 3, 32, 32, device="cuda") * 2 - 1, torch.rand(16, 1, 1, 1, device="cuda")
    fake = made.generator(torch.randn(16, 128, device="cuda")).detach()
    found = []
    for low in (False, True):
        set_low_gradients(made.critic, low)
        loss = critic_loss(made.config, made.critic, real, None, fake, mix)
        each = torch.autograd.grad(loss, list(made.critic.parameters()), allow_unused=True)
        found.append(torch.cat([g.flatten() for g in each if g is not None]))
    assert 0 < (found[1] - found[0]).norm() / found[0].norm() < 1e-2


def test_the_benchmark_measures_every_mode_and_the_memory_of_each():
    rows = measure((8, 4, 4, 1, 1), "cuda", rounds=1)
    assert [row["mode"] for row in rows] == ["plain", "float32", "bf16"]
    assert all(row["peak_mib"] > 0 and row["device"] == torch.cuda.get_device_name() for row in rows)
