"""The GAN core: sizes of the networks, losses compared with plain implementations, training that resumes to the bit."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.support import reference
from tests.trainers.test_networks import conv
from trainers.common.errors import UserError
from trainers.config.settings import STYLED, EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.data import Data, real_images
from trainers.core.gan import Diverged, Gan
from trainers.core.losses import critic_loss, generator_loss, gradient_penalty
from trainers.core.sampling import sample
from trainers.networks import layers
from trainers.networks.resnet import Critic, Generator
from trainers.trial import checkpoints, transfer
from trainers.trial.checkpoints import Match

SMALL = GanConfig(resolution=16, width=4, latent=8)
TRAINING = TrainingConfig(steps=6, batch=4, critic_steps=2)


def trial(conditional: bool = False, classes: tuple[str, ...] = ("a", "b", "c")) -> TrialConfig:
    return TrialConfig(
        kind="pretrain",
        domain=DomainRef(name="toy", fingerprint="toy/1", classes=classes),
        size=12,
        conditional=conditional,
        gan=SMALL,
        training=TRAINING,
        evaluation=EvaluationConfig(),
    )


def toy(n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8), np.arange(n) % 3


def gan(classes: int = 0, seed: int = 0) -> Gan:
    return Gan(SMALL, TRAINING, classes=classes, seed=seed)


def weights(trained: Gan) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for network in trained.networks.values() for p in network.parameters()])


# -- networks -----------------------------------------------------------------------------------------------------------


def test_the_networks_at_64_pixels_have_the_papers_shapes_and_sizes():
    """As in Wang et al. 2018: 512 channels at 4x4; blocks 512, 256, 128, 64; critic 64, 128, 256, 512, 512."""
    paper = GanConfig(resolution=64, width=64)
    generator, critic = Generator(paper), Critic(paper)

    expected = (128 + 1) * 4 * 4 * 512 + 2 * 64 + conv(64, 3, 3)
    for a, b in [(512, 512), (512, 256), (256, 128), (128, 64)]:
        expected += 2 * a + conv(a, b, 3, bias=False) + 2 * b + conv(b, b, 3) + conv(a, b, 1)
    assert sum(p.numel() for p in generator.parameters()) == expected

    expected = conv(3, 64, 3) + 4 * 4 * 512 + 1
    for a, b in [(64, 128), (128, 256), (256, 512), (512, 512)]:
        expected += 2 * a + conv(a, a, 3, bias=False) + 2 * a + conv(a, b, 3) + conv(a, b, 1)
    assert sum(p.numel() for p in critic.parameters()) == expected

    with torch.no_grad():
        images = generator(torch.randn(2, 128))
        assert images.shape == (2, 3, 64, 64)
        assert images.abs().max() <= 1
        assert critic(images)[0].shape == (2,)


@pytest.mark.parametrize("gan_config", [
    GanConfig(resolution=8, width=4), GanConfig(resolution=32, width=4), GanConfig(resolution=24, base=3, width=4),
    GanConfig(resolution=16, width=4, depth=2), GanConfig(resolution=128, width=2),
])  # fmt: skip
def test_networks_of_any_resolution_and_depth_fit_together(gan_config: GanConfig):
    images = Generator(gan_config)(torch.randn(2, 128))
    assert images.shape == (2, 3, gan_config.resolution, gan_config.resolution)
    assert Critic(gan_config)(images)[0].shape == (2,)


def test_initialisation_has_the_published_variance():
    generator = Generator(GanConfig(resolution=64, width=64))
    block = generator.blocks[0]
    assert block.conv1.weight.var().item() == pytest.approx(4 / (9 * 1024), rel=0.02)
    assert block.shortcut.weight.var().item() == pytest.approx(2 / 1024, rel=0.02)
    assert block.conv1.bias is None
    assert block.conv2.bias.abs().max() == 0


def test_the_score_of_an_image_does_not_depend_on_the_batch():
    critic = Critic(SMALL)
    x = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(critic(x)[0], torch.cat([critic(x[:2])[0], critic(x[2:])[0]]))


# -- losses -------------------------------------------------------------------------------------------------------------


def plain_losses(generator: Generator, critic: Critic, real: torch.Tensor, labels: torch.Tensor | None, z, eps):
    """WGAN-GP and AC-GAN in textbook form: separate passes for real, fake and interpolated images."""
    fake = generator(z, labels)
    d_real, c_real = critic(real)
    d_fake, _ = critic(fake.detach())
    x = (eps * fake.detach() + (1 - eps) * real).requires_grad_(True)
    penalty = 0.0
    for i in range(len(x)):
        (g,) = torch.autograd.grad(critic(x[i : i + 1])[0].sum(), x, create_graph=True)
        penalty = penalty + (g[i].pow(2).sum().sqrt() - 1) ** 2 / len(x)
    d_loss = d_fake.mean() - d_real.mean() + 10 * penalty
    g_loss = -critic(fake)[0].mean()
    if labels is not None:
        d_loss = d_loss - torch.log_softmax(c_real, 1)[torch.arange(len(labels)), labels].mean()
        g_loss = g_loss - torch.log_softmax(critic(fake)[1], 1)[torch.arange(len(labels)), labels].mean()
    return d_loss, g_loss


@pytest.mark.parametrize("classes", [0, 3])
def test_losses_and_their_gradients_agree_with_a_plain_implementation_in_float64(classes: int):
    torch.manual_seed(0)
    generator, critic = Generator(SMALL, classes).double(), Critic(SMALL, classes).double()
    real, z, eps = torch.rand(5, 3, 16, 16).double() * 2 - 1, torch.randn(5, 8).double(), torch.rand(5, 1, 1, 1).double()
    labels = torch.tensor([0, 1, 2, 1, 0]) if classes else None
    plain_d, plain_g = plain_losses(generator, critic, real, labels, z, eps)
    ours_d = critic_loss(TRAINING, critic, real, labels, generator(z, labels).detach(), eps)
    ours_g = generator_loss(TRAINING, critic, generator(z, labels), labels)
    for plain, ours, network in ((plain_d, ours_d, critic), (plain_g, ours_g, generator)):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)
        expected = torch.autograd.grad(plain, list(network.parameters()), retain_graph=True, allow_unused=True)
        gradients = torch.autograd.grad(ours, list(network.parameters()), retain_graph=True, allow_unused=True)
        for a, b in zip(expected, gradients, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_networks_losses_and_their_gradients_agree_with_the_textbooks_in_float64(resolution: int):
    """The textbook networks convolve at full resolution; ours fold the resampling into the convolutions."""
    torch.manual_seed(0)
    config = GanConfig(resolution=resolution, width=4, latent=8)
    ours = [Generator(config).double(), Critic(config).double()]
    plain = [reference.Generator(resolution, 4, 8).double(), reference.Critic(resolution, 4).double()]
    for ours_network, plain_network in zip(ours, plain, strict=True):
        for parameter in ours_network.parameters():
            torch.nn.init.normal_(parameter, 0.2 if parameter.ndim == 1 else 0.0, 0.3)  # biases, scales and shifts too
        reference.carry_over(ours_network, plain_network)
    z, mix = torch.randn(5, 8).double(), torch.rand(5, 1, 1, 1).double()
    real = torch.rand(5, 3, resolution, resolution).double() * 2 - 1
    fakes = ours[0](z), plain[0](z)
    torch.testing.assert_close(*fakes, rtol=1e-10, atol=1e-12)
    losses = [
        (generator_loss(TRAINING, ours[1], fakes[0], None), -plain[1](fakes[1]).mean()),
        (
            critic_loss(TRAINING, ours[1], real, None, fakes[0].detach(), mix),
            reference.critic_loss(plain[1], real, fakes[1].detach(), mix),
        ),
    ]
    for i, (loss, expected) in enumerate(losses):
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
        loss.backward()
        expected.backward()
        names = [reference.plain_name(name) for name, _ in ours[i].named_parameters()]
        assert sorted(names) == sorted(name for name, _ in plain[i].named_parameters())
        for name, parameter in zip(names, ours[i].parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, plain[i].get_parameter(name).grad, rtol=1e-8, atol=1e-10, msg=name)
        ours[1].zero_grad()
        plain[1].zero_grad()


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    class Linear(layers.Critic):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return 3 * x[:, 0, 0, 0] + 4 * x[:, 1, 0, 0], None

    real, fake = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    penalty = gradient_penalty(Linear(), real, fake, torch.rand(4, 1, 1, 1))
    assert penalty.item() == pytest.approx((5 - 1) ** 2)


# -- training -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 3])
def test_an_interrupted_and_resumed_run_takes_the_same_steps_to_the_bit(classes: int):
    images, labels = toy()
    whole = gan(classes)
    whole.train(images, labels, 6)

    first = gan(classes)
    first.train(images, labels, 3)
    data = checkpoints.save(first, trial(bool(classes)), {"critic": Match(matched=("x",))}, {"seconds": 1.5}, resumable=True)
    resumed = gan(classes, seed=99)  # every trace of another seed must be overwritten
    checkpoint = checkpoints.load(data, "here")
    checkpoints.resume(resumed, checkpoint)
    assert (resumed.step, checkpoint.report, checkpoint.matches) == (3, {"seconds": 1.5}, {"critic": Match(matched=("x",))})
    resumed.train(images, labels, 6)
    assert torch.equal(weights(whole), weights(resumed))


def test_training_continues_on_other_images():
    (images, labels), trained, other = toy(), gan(), gan()
    for run in (trained, other):
        run.train(images, labels, 2)
    trained.train(images, labels, 3)
    other.train(255 - images, labels, 3)
    assert not torch.equal(weights(trained), weights(other))


def test_equal_seeds_train_equally_and_others_do_not():
    images, labels = toy()
    runs = [gan(seed=seed) for seed in (0, 0, 1)]
    for run in runs:
        run.train(images, labels, 2)
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def test_an_unused_gan_is_freed_immediately():
    """Without garbage collection, since the next trial of the process needs its share of the GPU's memory."""
    trained = gan()
    trained.train(*toy(), 1)
    references = [weakref.ref(part) for part in (trained, trained.generator, trained.optimisers["critic"])]
    gc.disable()
    try:
        del trained
        assert [reference() for reference in references] == [None] * 3
    finally:
        gc.enable()


def test_making_a_gan_does_not_change_the_global_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    gan()
    assert torch.equal(torch.get_rng_state(), before)


def test_both_networks_are_trained_and_the_critic_stays_trainable():
    images, labels = toy()
    trained = gan()
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in trained.networks.items()}
    trained.train(images, labels, 2)
    for name, network in trained.networks.items():
        names = [key for key, _ in network.named_parameters()]
        unchanged = [key for key, a, b in zip(names, before[name], network.parameters(), strict=True) if torch.equal(a, b)]
        # The Wasserstein loss is a difference of scores, so terms that add the same to every score cancel.
        cancelled = {"score.bias", "blocks.1.conv2.bias", "blocks.1.shortcut.bias"}
        assert set(unchanged) <= (cancelled if name == "critic" else set())
        assert all(p.requires_grad for p in network.parameters())


@pytest.mark.slow
def test_training_approaches_a_constant_target():
    """On images of one colour, 60 steps bring the mean of the samples near it."""
    images = np.full((8, 16, 16, 3), (220, 40, 128), np.uint8)
    trained = Gan(SMALL, TrainingConfig(batch=8, critic_steps=2, generator_lr=4e-3, critic_lr=4e-3), classes=0, seed=0)
    away = []
    for step in (0, 60):
        trained.train(images, None, step)
        away.append(np.abs(sample(trained.generator, 8, 64, 0).mean((0, 1, 2)) - (220, 40, 128)).max())
    assert away[1] < 30 < 100 < away[0]


@pytest.mark.parametrize("paused", [False, True])
def test_divergence_is_detected_at_the_same_step_with_pauses(paused: bool):
    images, labels = toy()
    wild = Gan(SMALL, TrainingConfig(batch=4, critic_steps=1, critic_lr=1e6), classes=0, seed=0)

    def train() -> None:
        while wild.step < 20:
            wild.train(images, labels, 20, pause=lambda: paused)

    with pytest.raises(Diverged, match="by step 10"):
        train()


FAMILIES = {
    "resnet": TRAINING,
    "sngan": TRAINING.model_copy(update={"loss": "hinge", "gradient_penalty": 0.0}),
    "dcgan": TRAINING.model_copy(update={"loss": "hinge", "gradient_penalty": 0.0}),
    "fast": TRAINING.model_copy(update={"loss": "hinge", "gradient_penalty": 0.0}),
    "style": TRAINING.model_copy(
        update={"loss": "non-saturating", "penalty_every": 3, "path_length": 2.0, "path_length_every": 2}
    ),
    "style-bilinear": TRAINING,
}
EXTRAS = {"ema": 0.9, "flip": True, "crop": 2, "precision": "bf16"}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "classes"), [
    *((family, classes) for family in ("resnet", "sngan", "dcgan", "style") for classes in (0, 3)),
    ("fast", 3), ("style-bilinear", 0),
])  # fmt: skip
def test_every_family_trains_with_every_extra_and_resumes_to_the_bit(family: str, classes: int):
    images, labels = toy()
    mapping = {"mapping": 2} if family in STYLED else {}
    config = SMALL.model_copy(update={"family": family, "batch_norm": "running", **mapping})
    training = FAMILIES[family].model_copy(update=EXTRAS)
    configuration = trial(bool(classes)).model_copy(update={"gan": config, "training": training})
    whole, first, resumed = (Gan(config, training, classes=classes, seed=seed) for seed in (0, 0, 99))
    whole.train(images, labels, 6)
    first.train(images, labels, 3)
    checkpoints.resume(resumed, checkpoints.load(checkpoints.save(first, configuration, {}, {}, resumable=True), "here"))
    resumed.train(images, labels, 6)
    assert resumed.average is not None
    assert whole.average is not None
    for a, b in ((whole.generator, resumed.generator), (whole.critic, resumed.critic), (whole.average, resumed.average)):
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name
    assert not np.array_equal(sample(whole.average, 8, 4, 0), sample(whole.generator, 8, 4, 0))


def test_the_average_follows_the_generators_steps():
    images, _ = toy()
    trained = Gan(SMALL, TRAINING.model_copy(update={"ema": 0.75}), classes=0, seed=0)
    assert trained.average is not None
    expected = trained.generator.norm.scale.detach().double()
    for step in range(1, 5):
        trained.train(images, None, step)
        decay = min(0.75, step / (9 + step))  # (1 + n) / (10 + n) for the n steps before
        expected = decay * expected + (1 - decay) * trained.generator.norm.scale.detach().double()
    torch.testing.assert_close(trained.average.norm.scale.double(), expected, rtol=1e-6, atol=1e-7)


def drawn(trained: Gan, images: np.ndarray, labels: np.ndarray | None, times: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the real images uint8 (N, H, W, 3) and the labels of a number of minibatches."""
    data = Data.on(trained.device, images, labels)
    batches, names = [], []
    for _ in range(times):
        chosen, classes = data.choose(trained.config.batch, trained.random)
        pixels = real_images(data.pixels, chosen, trained.config, trained.random).add(1).mul(127.5).round()
        batches.append(pixels.permute(0, 2, 3, 1).numpy().astype(np.uint8))
        names.append(classes.numpy() if classes is not None else None)
    return np.concatenate(batches), np.concatenate(names) if labels is not None else None


def test_classes_and_the_images_of_a_class_have_equal_probability():
    images, _ = toy(40)
    labels = np.array([5] * 30 + [2] * 9 + [7])  # few classes, of unequal sizes, not in order, not starting at 0
    batches, names = drawn(gan(8), images, labels, 1500)
    assert names is not None
    share = np.bincount(names, minlength=8) / len(names)
    np.testing.assert_allclose(share, np.isin(np.arange(8), [2, 5, 7]) / 3, atol=0.03)
    index = {image.tobytes(): i for i, image in enumerate(images)}
    seen = np.array([index[image.tobytes()] for image in batches])
    np.testing.assert_array_equal(labels[seen], names)
    counts = np.bincount(seen[names == 5], minlength=40)[:30]
    assert counts.min() > 0.5 * counts.mean()


def test_without_flip_and_crop_images_are_unchanged():
    images, _ = toy()
    batches, _ = drawn(gan(), images, None, 20)
    assert {image.tobytes() for image in batches} <= {image.tobytes() for image in images}


def test_flips_mirror_half_of_the_images():
    images, _ = toy(2)
    trained = Gan(SMALL, TRAINING.model_copy(update={"flip": True}), classes=0, seed=0)
    batches, _ = drawn(trained, images, None, 200)
    plain, mirrored = ({image[:, ::step].tobytes() for image in images} for step in (1, -1))
    share = np.mean([image.tobytes() in mirrored for image in batches])
    assert {image.tobytes() for image in batches} == plain | mirrored
    assert 0.4 < share < 0.6


def test_crops_move_images_by_every_offset_and_mirror_their_edges():
    images, _ = toy(1)
    trained = Gan(SMALL, TRAINING.model_copy(update={"crop": 2}), classes=0, seed=0)
    batches, _ = drawn(trained, images, None, 200)
    padded = np.pad(images[0], ((2, 2), (2, 2), (0, 0)), "reflect")
    expected = {padded[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(5)}
    assert {image.tobytes() for image in batches} == expected


# -- samples ------------------------------------------------------------------------------------------------------------


def test_samples_do_not_depend_on_their_number():
    generator = gan().generator
    few, many = sample(generator, 8, 5, 0), sample(generator, 8, 300, 0)
    assert few.shape == (5, 16, 16, 3)
    assert few.dtype == np.uint8
    assert many.shape[0] == 300
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(few, sample(generator, 8, 5, 1))


def test_conditional_samples_follow_their_labels():
    generator = gan(classes=3).generator
    with torch.no_grad():
        for module in generator.modules():
            if hasattr(module, "shift"):
                module.shift[1] += 1.0
    zeros = sample(generator, 8, 4, 0, np.zeros(4, np.int64))
    ones = sample(generator, 8, 4, 0, np.ones(4, np.int64))
    assert not np.array_equal(zeros, ones)


# -- checkpoints --------------------------------------------------------------------------------------------------------


def source(conditional: bool = False, classes: tuple[str, ...] = ("a", "b", "c")) -> tuple[Gan, checkpoints.Checkpoint]:
    trained = gan(len(classes) if conditional else 0, seed=3)
    trained.train(*toy(), 1)
    data = checkpoints.save(trained, trial(conditional, classes), {}, {}, resumable=False)
    return trained, checkpoints.load(data, "source")


def test_a_transferred_generator_generates_the_images_of_its_source():
    theirs, checkpoint = source()
    ours = gan(seed=7)
    match = transfer.transfer(checkpoint, "generator", ours.generator, ())
    assert set(match.matched) == set(ours.generator.state_dict())
    assert not match.unmatched
    np.testing.assert_array_equal(sample(ours.generator, 8, 9, 0), sample(theirs.evaluated, 8, 9, 0))


def test_classes_are_mapped_by_name_and_new_ones_start_from_the_mean():
    theirs, checkpoint = source(conditional=True)
    ours = gan(classes=4, seed=7)
    match = transfer.transfer(checkpoint, "generator", ours.generator, ("c", "a", "new", "b"))
    transfer.transfer(checkpoint, "critic", ours.critic, ("c", "a", "new", "b"))
    old, new = theirs.evaluated.norm.scale, ours.generator.norm.scale
    assert torch.equal(new[[1, 3, 0]], old)
    torch.testing.assert_close(new[2], old.mean(0))
    assert "norm.scale" in match.remapped
    assert theirs.critic.classify is not None
    assert ours.critic.classify is not None
    assert torch.equal(ours.critic.classify.weight[[1, 3, 0]], theirs.critic.classify.weight)


CLASSES = ("a", "b", "c")


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("fast", "style-bilinear")])
@pytest.mark.parametrize("conditioning", ["batch-norm", "concat"])
@pytest.mark.parametrize(
    ("theirs", "ours"), [(None, CLASSES), (CLASSES, None), (CLASSES, ("b", "a", "c")), (CLASSES, ("x", "b"))]
)
def test_after_a_transfer_the_images_are_those_of_the_source(
    family: str, conditioning: str, theirs: tuple[str, ...] | None, ours: tuple[str, ...] | None
):
    """From no classes: every class as the source. Between classes: each as its namesake. Into no classes: the mean."""
    if family in STYLED and conditioning == "concat":
        return  # both are the same there
    config = SMALL.model_copy(update={"family": family, "conditioning": conditioning})
    training = FAMILIES[family]
    configuration = trial(theirs is not None).model_copy(update={"gan": config, "training": training})
    source = Gan(config, training, classes=len(theirs or ()), seed=3)
    source.train(*toy(), 2)
    target = Gan(config, training, classes=len(ours or ()), seed=7)
    checkpoint = checkpoints.load(checkpoints.save(source, configuration, {}, {}, resumable=False), "source")
    for name, network in target.networks.items():
        match = transfer.transfer(checkpoint, name, network, ours or ())
        assert not match.unmatched
        heads = [key for key in network.state_dict() if key.startswith("classify.")]
        assert set(match.fresh) >= (set(heads) if theirs is None else set())
    n = 12

    def draw(gan: Gan, label: int | None) -> np.ndarray:
        network = gan.evaluated if gan is source else gan.generator
        return sample(network, 8, n, 0, None if label is None else np.full(n, label))

    if theirs is None:
        for label in range(3):
            np.testing.assert_array_equal(draw(target, label), draw(source, None))
    elif ours is not None:
        for label, name in enumerate(ours):
            if name in CLASSES:
                np.testing.assert_array_equal(draw(target, label), draw(source, CLASSES.index(name)))
        assert len({draw(target, label).tobytes() for label in range(len(ours))}) == len(ours)
    elif family in STYLED:
        mapping = source.evaluated.input
        mean = mapping.latent.bias + mapping.classes.weight.mean(0)  # a class is part of the map from latents to styles
        torch.testing.assert_close(target.generator.input.latent.bias, mean)
    elif conditioning == "batch-norm":
        state = source.evaluated.state_dict()
        for key, tensor in target.generator.state_dict().items():
            torch.testing.assert_close(tensor, state[key].mean(0) if key.endswith((".scale", ".shift")) else state[key])
    else:
        z = torch.randn(n, 8)
        by_class = [source.evaluated.input(z, torch.full((n,), label)) for label in range(3)]
        torch.testing.assert_close(target.generator.input(z, None), torch.stack(by_class).mean(0))


def test_a_class_head_that_the_source_lacks_is_not_copied():
    _, checkpoint = source()
    ours, untouched = gan(classes=3, seed=7), gan(classes=3, seed=7)
    transfer.transfer(checkpoint, "critic", ours.critic, CLASSES)
    assert torch.equal(ours.critic.classify.weight, untouched.critic.classify.weight)
    assert not torch.equal(ours.critic.score.weight, untouched.critic.score.weight)


def test_an_unmatched_tensor_is_an_error():
    _, checkpoint = source()
    for other in ({"width": 8}, {"resolution": 32}):
        target = Gan(SMALL.model_copy(update=other), TRAINING, classes=0, seed=0)
        with pytest.raises(UserError, match="the critic of source 'toy' does not fit"):
            transfer.transfer(checkpoint, "critic", target.critic, ())


@pytest.mark.parametrize("data", [b"", b"not safetensors at all", (2**40).to_bytes(8, "little") + b"{}"])
def test_bytes_without_a_checkpoint_are_refused(data: bytes):
    with pytest.raises(UserError, match="checkpoint there is damaged"):
        checkpoints.load(data, "there")


def test_a_checkpoint_of_a_later_version_is_refused():
    _, checkpoint = source()
    data = checkpoints.pack(checkpoint.tensors, Later(**dict(trial())), 0, {}, {})
    with pytest.raises(UserError, match="checkpoint there is of a trial that this transfergan does not support; upgrade"):
        checkpoints.load(data, "there")


class Later(TrialConfig):
    novelty: int = 1


def test_a_run_resumes_from_another_kind_of_device_with_new_random_numbers():
    images, labels = toy()
    trained, resumed = gan(), gan()
    trained.train(images, labels, 2)
    checkpoint = checkpoints.load(checkpoints.save(trained, trial(), {}, {}, resumable=True), "here")
    other = replace(checkpoint, tensors={**checkpoint.tensors, "random": torch.zeros(16, dtype=torch.uint8)})  # a GPU's
    checkpoints.resume(resumed, other)
    assert torch.equal(weights(trained), weights(resumed))
    resumed.train(images, labels, 3)
    assert not torch.equal(weights(trained), weights(resumed))


def test_the_checkpoint_of_a_finished_trial_has_no_optimiser():
    _, checkpoint = source()
    assert not checkpoint.resumable
    assert {name.partition(".")[0] for name in checkpoint.tensors} == {"generator", "critic", "average"}


def test_the_gradient_penalty_does_not_reach_the_class_head():
    """The penalty of a conditional critic is on its score only."""
    torch.manual_seed(0)
    critic = Critic(SMALL, 3)
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    gradient_penalty(critic, real, fake, torch.rand(4, 1, 1, 1)).backward()
    assert critic.classify is not None
    assert critic.classify.weight.grad is None
    assert F.cross_entropy(critic(real)[1], torch.tensor([0, 1, 2, 0])).isfinite()
