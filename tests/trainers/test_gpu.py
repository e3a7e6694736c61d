"""The same code on CUDA: training, gradients, resuming, CUDA graphs. Skipped on a machine without a GPU."""

import numpy as np
import pytest
import torch

from tests.benchmarks import packing
from tests.benchmarks.training import MODES, measure
from tests.support import reference
from trainers.adaptation.anchors import Anchors
from trainers.config.augmentations import get_augmentation
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.strategies import get_strategy
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Diverged, Gan
from trainers.core.losses import critic_loss
from trainers.core.sampling import sample
from trainers.domains import get
from trainers.evaluation.comparison import METRICS, Comparison
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import statistics
from trainers.evaluation.references import Reference
from trainers.networks import set_low_gradients
from trainers.trial import checkpoints

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

SMALL = GanConfig(resolution=16, width=8, latent=8)


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("family", ["resnet", "sngan", "dcgan", "fast", "style"])
def test_a_run_resumes_from_its_checkpoint(family: str, precision: str):
    gan = SMALL.model_copy(update={"family": family})
    loss = {"loss": "wgan-gp" if family == "resnet" else "hinge"}
    training = TrainingConfig.model_validate({"batch": 4, "critic_steps": 2, "precision": precision, "ema": 0.9, **loss})
    domain = DomainRef(name="toy", fingerprint="toy/1")
    evaluation = EvaluationConfig()
    trial = TrialConfig(kind="pretrain", domain=domain, size=24, gan=gan, training=training, evaluation=evaluation)
    whole, first, resumed = (Gan(gan, training, classes=0, seed=seed, device="cuda") for seed in (0, 0, 9))
    whole.train(images(), None, 4)
    first.train(images(), None, 2)
    checkpoints.resume(resumed, checkpoints.load(checkpoints.save(first, trial, {}, {}, resumable=True), "here"))
    resumed.train(images(), None, 4)
    ours, theirs = (sample(gan.generator, 8, 16, 0).astype(int) for gan in (whole, resumed))
    assert np.abs(ours - theirs).mean() < 2


@pytest.mark.parametrize("extras", [{}, {"precision": "bf16", "ema": 0.9, "flip": True, "crop": 2}], ids=["plain", "extras"])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("family", ["resnet", "sngan", "dcgan", "fast", "style"])
def test_replayed_steps_equal_steps(family: str, classes: int, extras: dict[str, object]):
    """After the warm-up, with the same random numbers; a later call continues with the same recording."""
    gan = SMALL.model_copy(update={"family": family})
    loss = {"loss": "wgan-gp" if family == "resnet" else "hinge"}
    training = TrainingConfig.model_validate({"batch": 4, "critic_steps": 2, **loss, **extras})
    taken, replayed = (Gan(gan, training, classes=classes, seed=0, device="cuda", graphs=graphs) for graphs in (False, True))
    pixels, labels = images(), np.arange(24) % 3
    for until in (2, 6, 8):
        for run in (taken, replayed):
            run.train(pixels, labels, until)
    assert torch.equal(taken.random.get_state(), replayed.random.get_state())
    for name, network in taken.networks.items():
        for parameter, other in zip(network.parameters(), replayed.networks[name].parameters(), strict=True):
            torch.testing.assert_close(parameter, other, rtol=1e-2, atol=1e-3)


def test_a_replayed_run_resumes_from_its_checkpoint():
    training = TrainingConfig.model_validate({"batch": 4, "critic_steps": 2})
    domain, evaluation = DomainRef(name="toy", fingerprint="toy/1"), EvaluationConfig()
    trial = TrialConfig(kind="pretrain", domain=domain, size=24, gan=SMALL, training=training, evaluation=evaluation)
    whole, first, resumed = (Gan(SMALL, training, classes=0, seed=seed, device="cuda", graphs=True) for seed in (0, 0, 9))
    pixels = images()
    whole.train(pixels, None, 12)
    first.train(pixels, None, 6)
    checkpoints.resume(resumed, checkpoints.load(checkpoints.save(first, trial, {}, {}, resumable=True), "here"))
    resumed.train(pixels, None, 12)
    ours, theirs = (sample(gan.generator, 8, 16, 0).astype(int) for gan in (whole, resumed))
    assert np.abs(ours - theirs).mean() < 2


@pytest.mark.parametrize("augmentation", ["none", "diffaugment", "ada", "apa"])
@pytest.mark.parametrize(
    "strategy", ["freeze-d", "l2-sp", "lora", "mine", "cdc", "adam[share=0.25]", "linear-probe-then-finetune"]
)
def test_replayed_steps_follow_a_strategy_through_its_phases(strategy: str, augmentation: str):
    """The second phase starts after steps of the first were recorded; both runs freeze the same parameters."""
    training = TrainingConfig.model_validate({"batch": 4, "critic_steps": 2, "steps": 24, "ema": 0.9})
    followed, chosen, pixels = get_strategy(strategy), get_augmentation(augmentation), images()
    taken, replayed = (
        Gan(SMALL, training, classes=0, seed=0, device="cuda", graphs=graphs, augmentation=chosen) for graphs in (False, True)
    )
    for run in (taken, replayed):
        anchors = None
        if followed.penalty is not None:
            named = {f"{n}.{key}": p for n, network in run.networks.items() for key, p in network.named_parameters()}
            anchors = Anchors(0.1, {key: parameter.detach().clone() for key, parameter in named.items()})
        run.follow(followed, anchors)
        for until in (5, 8, 14):
            run.train(pixels, None, until, pixels[:3])
    assert torch.equal(taken.random.get_state(), replayed.random.get_state())
    for name, network in taken.networks.items():
        for parameter, other in zip(network.parameters(), replayed.networks[name].parameters(), strict=True):
            assert parameter.requires_grad == other.requires_grad
            torch.testing.assert_close(parameter, other, rtol=1e-2, atol=1e-3)


def test_divergence_is_detected_in_replayed_steps():
    wild = Gan(SMALL, TrainingConfig(batch=4, critic_steps=1, critic_lr=1e6), classes=0, seed=0, device="cuda", graphs=True)
    with pytest.raises(Diverged, match="by step 10"):
        wild.train(images(), None, 20)


def test_float32_gradients_agree_with_the_textbook_step():
    """TF32 is disabled, so that both compute in float32."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        ours = Gan(GanConfig(resolution=32, width=32), TrainingConfig(), classes=0, seed=0, device="cuda")
        plain = reference.PlainGan(32, 32, 16, 1, 128, "cuda")
        reference.carry_over(ours.critic, plain.critic)
        real, mix = torch.rand(16, 3, 32, 32, device="cuda") * 2 - 1, torch.rand(16, 1, 1, 1, device="cuda")
        fake = ours.generator(torch.randn(16, 128, device="cuda")).detach()
        critic_loss(ours.config, ours.critic, real, None, fake, mix).backward()
        reference.critic_loss(plain.critic, real, fake, mix).backward()
    finally:
        torch.backends.cudnn.allow_tf32 = before
    gaps, sizes = [], []
    for name, parameter in ours.critic.named_parameters():
        theirs = plain.critic.get_parameter(reference.plain_name(name)).grad
        if parameter.grad is not None and theirs is not None:
            gaps.append((parameter.grad - theirs).norm())
            sizes.append(theirs.norm())
    assert torch.stack(gaps).norm() < 1e-4 * torch.stack(sizes).norm()


def test_low_gradients_are_within_a_hundredth():
    torch.manual_seed(0)
    gan = Gan(GanConfig(resolution=32, width=32), TrainingConfig(), classes=0, seed=0, device="cuda")
    real, mix = torch.rand(16, 3, 32, 32, device="cuda") * 2 - 1, torch.rand(16, 1, 1, 1, device="cuda")
    fake = gan.generator(torch.randn(16, 128, device="cuda")).detach()
    gradients = []
    for low in (False, True):
        set_low_gradients(gan.critic, low)
        loss = critic_loss(gan.config, gan.critic, real, None, fake, mix)
        parts = torch.autograd.grad(loss, list(gan.critic.parameters()), allow_unused=True)
        gradients.append(torch.cat([g.flatten() for g in parts if g is not None]))
    exact, rounded = gradients
    assert 0 < (rounded - exact).norm() / exact.norm() < 1e-2


def test_no_metric_depends_on_the_device():
    digits, numerals = (get(name).load("reference", 32).images[:300] for name in ("digits", "numerals"))
    values = []
    for device in ("cpu", "cuda"):
        embed = load_embedding("builtin", device)
        real, fake = embed(digits), embed(numerals)
        pair = Comparison(Reference(real, None, statistics(real)), fake, real[:50])
        values.append({name: metric(pair).value for name, metric in METRICS.items()})
    on_cpu, on_gpu = values
    assert on_gpu == pytest.approx(on_cpu, rel=1e-5)


def test_the_benchmark_measures_speed_and_memory_of_every_mode():
    rows = measure((8, 4, 4, 1, 1), "cuda", rounds=1)
    assert [row["mode"] for row in rows] == ["plain", *MODES["cuda"]]
    assert all(row["peak_mib"] > 0 and row["device"] == torch.cuda.get_device_name() for row in rows)


def test_simultaneous_trials_on_the_gpu_are_measured_together():
    rows = list(packing.measure((1, 2), (8, 4, 4, 1, 1), 50, "cuda", seconds=1.0))
    assert [row["packed"] for row in rows] == [1, 2]
    assert all(row["trials_per_hour"] > 0 and row["gpu_mib_per_trial"] > 0 for row in rows)
