"""The style-based family: its parts compared with NumPy and SciPy in float64; regularisers, mixing, truncation, settings."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.support import stylegan2
from trainers.config.settings import GanConfig, TrainingConfig, check_penalty
from trainers.core.gan import Gan
from trainers.core.losses import lazy_r1
from trainers.core.path_length import SHARE, PathLength, path_lengths
from trainers.networks import make_critic, make_generator
from trainers.networks.style.base import LATENTS, StyleGenerator
from trainers.networks.style.critic import with_deviation
from trainers.networks.style.filters import blur, down, up
from trainers.networks.style.modulated import ModulatedConv

STYLE = GanConfig(family="style", resolution=8, width=3, latent=6, mapping=2)
TRAINING = TrainingConfig(loss="non-saturating", batch=4, critic_steps=2)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def generator(gan: GanConfig = STYLE, classes: int = 0) -> StyleGenerator:
    torch.manual_seed(0)
    network = make_generator(gan, classes).double()
    assert isinstance(network, StyleGenerator)
    for name, parameter in network.named_parameters():
        if name.endswith("strength"):
            torch.nn.init.normal_(parameter)
    return network


def close(ours: Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-9)


# -- parts --------------------------------------------------------------------------------------------------------------


def test_resampling_is_scipys_upfirdn():
    x = random(2, 3, 6, 6)
    close(up(torch.from_numpy(x)), stylegan2.resample(x, 2, 1, 2, 1, 4.0))
    close(down(torch.from_numpy(x)), stylegan2.resample(x, 1, 2, 1, 1, 1.0))
    close(blur(torch.from_numpy(x), 2, gain=3.0), stylegan2.resample(x, 1, 1, 2, 2, 3.0))
    flat = torch.ones(1, 1, 8, 8).double()
    for resampled in (up(flat), down(flat)):
        torch.testing.assert_close(resampled[..., 1:-1, 1:-1], torch.ones_like(resampled[..., 1:-1, 1:-1]))


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_modulated_convolution_is_that_of_each_image_with_its_own_weight(kernel: int, demodulate: bool, upsample: bool):
    if upsample and kernel == 1:
        return
    torch.manual_seed(0)
    conv = ModulatedConv(4, 5, kernel, 6, demodulate=demodulate, upsample=upsample).double()
    x, style = random(3, 4, 5, 5), random(3, 6)
    scales = style @ conv.modulation.weight.detach().numpy().T / math.sqrt(6) + 1
    weight = conv.weight.detach().numpy()
    expected = stylegan2.modulated_convolution(x, weight, scales, demodulate=demodulate, upsample=upsample)
    close(conv(torch.from_numpy(x), torch.from_numpy(style)), expected)


@pytest.mark.parametrize("n", [1, 3, 4, 6, 8, 7])
def test_the_deviation_of_a_minibatch_is_that_of_its_groups(n: int):
    h = random(n, 3, 4, 4)
    joined = with_deviation(torch.from_numpy(h))
    close(joined[:, :3], h)
    close(joined[:, 3], np.broadcast_to(stylegan2.minibatch_deviation(h)[:, None, None], (n, 4, 4)))


# -- regularisers -------------------------------------------------------------------------------------------------------


def test_lazy_r1_is_the_squared_gradient_by_the_images_before_augmentation():
    """Compared with finite differences of the sum of the scores."""
    torch.manual_seed(0)
    critic = make_critic(STYLE).double()
    real = torch.randn(4, 3, 8, 8).double()
    config = TRAINING.model_copy(update={"gradient_penalty": 3.0, "penalty_every": 16})

    def augment(images: Tensor) -> Tensor:
        return images.flip(3) * 0.7

    squares = 0.0
    for index in np.ndindex(*real.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = real.clone()
            moved[index] += step
            values.append(critic(augment(moved))[0].sum().item())
        squares += ((values[0] - values[1]) / 2e-5) ** 2
    assert lazy_r1(config, critic, real, None, augment).item() == pytest.approx(16 * 3.0 / 2 * squares / 4, rel=1e-6)


def test_path_lengths_are_norms_of_the_gradient_by_the_styles():
    """Compared with finite differences, with another image in each row."""
    network = generator()
    styles = torch.randn(2, network.layers, 6).double().requires_grad_(True)
    y = torch.randn(2, 3, 8, 8).double()
    lengths = path_lengths(network.synthesise(styles), styles, y)
    for n in range(2):
        squares = np.zeros((network.layers, 6))
        for index in np.ndindex(*squares.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = styles.detach().clone()
                moved[(n, *index)] += step
                values.append((network.synthesise(moved) * y / 8).sum().item())
            squares[index] = ((values[0] - values[1]) / 2e-5) ** 2
        assert lengths[n].item() == pytest.approx(math.sqrt(squares.sum(1).mean()), rel=1e-6)


def test_the_penalty_on_path_lengths_follows_their_running_mean_and_has_a_gradient_without_a_mapping_to_train():
    network = generator()
    config = TrainingConfig(loss="non-saturating", path_length=2.0, path_length_every=3)
    regularisation, again = (PathLength(config, torch.Generator().manual_seed(5)) for _ in range(2))
    z = torch.randn(3, 6).double()
    penalty = regularisation.penalty(network, z, None)
    # The same random numbers give the same lengths, so that both follow from the second.
    stream = torch.Generator().manual_seed(5)
    styles = network.training_styles(z, None, stream)
    noise = partial(torch.randn, generator=stream, dtype=torch.double)
    images = network.synthesise(styles, lambda h: noise(len(h), 1, *h.shape[2:]))
    lengths = path_lengths(images, styles, noise(images.shape)).detach().float()
    first = lengths.mean().item()
    assert regularisation.mean.item() == pytest.approx(first, rel=1e-5)
    assert penalty.item() == pytest.approx(2 * 3 * ((lengths - first) ** 2).mean().item(), rel=1e-4)
    regularisation.mean.fill_(0.1)
    regularisation.penalty(network, z, None)
    assert 0 < regularisation.mean.item() - 0.1 < 10 * SHARE, "then it follows slowly"
    network.input.requires_grad_(False)
    again.penalty(network, z, None).backward()
    assert network.get_parameter("first.constant").grad.abs().max() > 0


def test_the_regularisers_are_taken_at_their_intervals_and_their_state_is_resumed():
    training = TRAINING.model_copy(update={"penalty_every": 3, "path_length": 2.0, "path_length_every": 2})
    gan = Gan(STYLE, training, classes=0, seed=0)
    due = []
    for gan.step in range(4):
        due.append(gan._regularisers_due())
    assert due == [(True, False, True), (False, True, False), (False, False, True), (True, False, False)]
    gan.path_length.mean.fill_(3.0)
    other = PathLength(training, gan.random)
    other.load(gan.path_length.state())
    assert other.mean.item() == 3
    assert PathLength(TRAINING, gan.random).state() == {}


# -- styles -------------------------------------------------------------------------------------------------------------


def test_training_mixes_the_styles_of_two_latents_and_sampling_does_not():
    network = generator(STYLE.model_copy(update={"mixing": 0.5}))
    z = torch.randn(1, 6).double().expand(400, -1)
    styles = network.training_styles(z, None, torch.Generator().manual_seed(0))
    own = (styles == styles[0, 0]).all(2)  # the first layer's is never another's
    begins = own.sum(1)
    assert (own == (torch.arange(network.layers) < begins[:, None])).all(), "another's styles go on to the last layer"
    assert set(begins.tolist()) == set(range(1, network.layers + 1))
    assert (begins < network.layers).double().mean().item() == pytest.approx(0.5, abs=0.08)
    one, two = (network.training_images(z[:2], None, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(one, two)
    assert not torch.equal(one[0], one[1]), "the noise of each image is its own"
    torch.testing.assert_close(network(z[:2]), network(z[:1]).expand(2, -1, -1, -1))


@pytest.mark.parametrize("classes", [0, 3])
def test_truncation_moves_the_styles_towards_their_mean(classes: int):
    network = generator(classes=classes)
    z, labels = torch.randn(4, 6).double(), torch.arange(4) % 3 if classes else None
    torch.testing.assert_close(network.truncated(z, labels, 1.0), network(z, labels))
    nearly = network.truncated(z, labels, 1e-9)
    torch.testing.assert_close(nearly, nearly[:1].expand_as(nearly), atol=1e-6, rtol=1e-6)
    many = torch.randn(20_000, 6).double()
    mean = network.input(many, torch.arange(20_000) % 3 if classes else None).mean(0)
    styles = network.input(z, labels)
    away = network.synthesise((mean + 0.5 * (styles - mean))[:, None].expand(-1, network.layers, -1))
    torch.testing.assert_close(network.truncated(z, labels, 0.5), away, atol=10 / LATENTS**0.5, rtol=0.1)


def test_a_class_is_a_one_hot_vector_beside_the_normalised_latent():
    network = generator(classes=3)
    z, labels = torch.randn(5, 6).double(), torch.tensor([0, 2, 1, 1, 0])
    mapping = network.input
    arrays = {f"g_ema.style.{i}.{kind}": getattr(layer, kind).detach().numpy()
              for i, layer in enumerate([mapping.latent, *mapping.layers], 1) for kind in ("weight", "bias")}  # fmt: skip
    first = arrays["g_ema.style.1.bias"]
    for row, label in enumerate(labels):
        arrays["g_ema.style.1.bias"] = first + mapping.classes.weight[label].detach().numpy()
        close(mapping(z[row : row + 1], labels[row : row + 1]), stylegan2.Official(arrays).style(z[row : row + 1].numpy()))


# -- settings -----------------------------------------------------------------------------------------------------------


def test_settings_of_styles_are_left_out_of_the_keys_of_others_and_refused_with_them():
    for config in (GanConfig(), STYLE.model_copy(update={"mapping": 8}), TrainingConfig(), TRAINING):
        assert not {"mapping", "mixing", "penalty_every", "path_length", "path_length_every"} & set(config.model_dump())
    assert GanConfig.model_validate_json(STYLE.canonical_json()) == STYLE
    assert STYLE.model_dump()["mapping"] == 2
    for data, message in (
        ({"mapping": 2}, "mapping: goes with family style or style-bilinear alone, not with resnet; leave it out"),
        ({"family": "dcgan", "mixing": 0.5}, "mixing: goes with family style or style-bilinear alone, not with dcgan"),
    ):
        with pytest.raises(ValidationError, match=message):
            GanConfig.model_validate(data)
    for data, message in (
        ({"penalty_every": 16}, "penalty_every: 16 is for the R1 penalty; set loss to non-saturating"),
        ({"loss": "non-saturating", "path_length_every": 4}, "path_length_every: goes with a path_length above 0"),
    ):
        with pytest.raises(ValidationError, match=message):
            TrainingConfig.model_validate(data)
    with pytest.raises(ValueError, match=r"set training\.loss to non-saturating, as its paper did, or to hinge"):
        check_penalty(STYLE, TrainingConfig())
    lengths = TrainingConfig(loss="non-saturating", path_length=2.0)
    check_penalty(STYLE, lengths)
    with pytest.raises(
        ValueError,
        match=r"path_length: is about the styles of gan\.family style or style-bilinear, and sngan has none; leave it",
    ):
        check_penalty(GanConfig(family="sngan"), lengths)


def test_channels_are_the_papers_at_256_pixels():
    from trainers.networks.style.generator import channels

    assert channels(GanConfig(family="style", resolution=256, width=128)) == [128, 256, 512, 512, 512, 512, 512]
