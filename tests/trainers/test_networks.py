"""The families of networks: shapes and parameter counts; norms and convolutions compared with PyTorch's."""

import itertools
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.config.settings import STYLED, GanConfig, TrainingConfig
from trainers.core.losses import critic_loss, generator_loss
from trainers.networks import FAMILIES, make_critic, make_generator, norms, resnet, set_low_gradients, sngan
from trainers.networks.convolutions import convolve, convolve_transposed
from trainers.networks.norms import BatchNorm, LayerNorm

SMALL = GanConfig(resolution=16, width=4, latent=8)


def config(family: str, **changes: object) -> GanConfig:
    return SMALL.model_copy(update={"family": family, **changes})


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def conv(inputs: int, outputs: int, kernel: int, bias: bool = True) -> int:
    return inputs * outputs * kernel**2 + (outputs if bias else 0)


def test_the_configuration_names_every_family():
    assert (
        set(get_args(GanConfig.model_fields["family"].annotation))
        == set(FAMILIES)
        == {"resnet", "sngan", "dcgan", "fast", "style", "style-bilinear"}
    )


# -- shapes and sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("conditioning", ["batch-norm", "concat"])
@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
def test_every_family_draws_and_scores_at_every_resolution(family: str, classes: int, conditioning: str, resolution: int):
    gan = config(family, conditioning=conditioning, resolution=resolution, width=2)
    labels = torch.arange(4) % 3 if classes else None
    images = make_generator(gan, classes)(torch.randn(4, 8), labels)
    assert images.shape == (4, 3, resolution, resolution)
    assert images.abs().max() <= 1 or family in STYLED, "sums without a bound"
    scores, logits = make_critic(gan, classes)(images)
    assert scores.shape == (4,)
    assert logits is None if not classes else logits.shape == (4, 3)


def test_the_sngan_critic_has_its_papers_blocks():
    """At 64 pixels and width 64: first block, down-sampling blocks 64-128-256-512, a last one of 512, sum pooling."""
    expected = conv(3, 64, 3) + conv(64, 64, 3) + conv(3, 64, 1) + 512 + 1
    for a, b in [(64, 128), (128, 256), (256, 512)]:
        expected += conv(a, a, 3) + conv(a, b, 3) + conv(a, b, 1)
    expected += 2 * conv(512, 512, 3)  # the last block keeps its size: no shortcut convolution
    assert parameters(make_critic(GanConfig(family="sngan", resolution=64, width=64))) == expected


def test_dcgan_has_its_papers_layers():
    gan = GanConfig(family="dcgan", resolution=64, width=64, latent=100)
    layers = [(512, 256), (256, 128), (128, 64), (64, 3)]
    expected = (100 + 1) * 512 * 16 + sum(conv(a, b, 4, bias=False) + 2 * a for a, b in layers)
    assert parameters(make_generator(gan)) == expected
    expected = conv(3, 64, 4) + sum(conv(a, b, 4, bias=False) + 2 * b for a, b in [(64, 128), (128, 256), (256, 512)])
    assert parameters(make_critic(gan)) == expected + 512 * 16 + 1
    weights = torch.cat([p.flatten() for name, p in make_critic(gan).named_parameters() if name.startswith("downs")])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)


def test_spectral_norms_are_one():
    critic = make_critic(config("sngan"))
    images = torch.randn(4, 3, 16, 16)
    for _ in range(60):  # power iterations
        critic(images)
    assert isinstance(critic, sngan.Critic)
    for layer in (critic.first.conv1, critic.blocks[0].conv2, critic.blocks[-1].conv1, critic.score):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_a_projection(family: str):
    critic = make_critic(config(family, class_head="projection"), 3)
    scores, logits = critic(torch.randn(4, 3, 16, 16))
    labels = torch.tensor([0, 2, 1, 1])
    assert logits is not None
    torch.testing.assert_close(critic.given(scores, logits, labels), scores + logits[range(4), labels])


@pytest.mark.parametrize("family", FAMILIES)
def test_keeps_images_apart_holds_for_the_critic(family: str):
    critic = make_critic(config(family)).eval()  # no power iterations: the same function at every pass
    x = torch.randn(6, 3, 16, 16)
    apart = torch.cat([critic(x[:2])[0], critic(x[2:])[0]])
    assert torch.allclose(critic(x)[0], apart, atol=1e-5) == critic.keeps_images_apart


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in STYLED])
def test_concatenation_is_a_one_hot_class_beside_the_latent(family: str):
    generator = make_generator(config(family, conditioning="concat"), 3).double()
    z, labels = torch.randn(5, 8).double(), torch.tensor([0, 2, 1, 1, 0])
    latent = generator.input.latent
    weight = torch.cat([latent.weight, generator.input.classes.weight.t()], 1)
    expected = F.linear(torch.cat([z, F.one_hot(labels, 3).double()], 1), weight, latent.bias)
    torch.testing.assert_close(generator.input(z, labels).flatten(1), expected)
    assert not torch.allclose(generator(z, labels), generator(z, (labels + 1) % 3))


# -- norms --------------------------------------------------------------------------------------------------------------


def test_batch_norm_samples_by_the_batch_or_by_running_averages():
    x = torch.randn(16, 4, 5, 5) * 3 + 1
    batch, running = BatchNorm(4), BatchNorm(4, running=True)
    for _ in range(200):
        running(x.clone())
    plain = F.relu((x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt())
    torch.testing.assert_close(batch.eval()(x.clone()), plain)
    assert not torch.allclose(batch(x[:2].clone()), plain[:2], atol=0.05)
    torch.testing.assert_close(running.eval()(x[:2].clone()), plain[:2], atol=0.05, rtol=0.05)
    assert set(batch.state_dict()) == {"scale", "shift"}


@pytest.mark.slow
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layer_norm_and_its_first_and_second_derivatives_are_pytorchs(layout: torch.memory_format):
    """Also against finite differences, which know of no formula."""
    torch.manual_seed(0)
    norm = LayerNorm(4).double()
    torch.nn.init.normal_(norm.scale)
    torch.nn.init.normal_(norm.shift)
    x = torch.randn(3, 4, 5, 5, dtype=torch.double).to(memory_format=layout).requires_grad_(True)
    weights, inputs = torch.randn(3, 4, 5, 5).double(), (x, norm.scale, norm.shift)

    def second(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (g,) = torch.autograd.grad((y * weights).sum(), x, create_graph=True)
        loss = (g.flatten(1).norm(dim=1) ** 3).sum() + (y**2).sum()
        return y, g, *torch.autograd.grad(loss, inputs)

    plain = F.relu(F.group_norm(x, 1, norm.scale, norm.shift))
    for ours, theirs in zip(second(norm(x)), second(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    assert torch.autograd.gradcheck(lambda x: norm(x), (x,))

    def by_x(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((norm(x) * weights).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(by_x, (x,))


def test_layer_norm_refuses_derivatives_that_it_does_not_implement():
    norm = LayerNorm(2)
    (g,) = torch.autograd.grad(norm(torch.randn(2, 2, 3, 3)).sum(), norm.scale, create_graph=True)
    with pytest.raises(NotImplementedError, match="not implemented"):
        g.sum().backward()


class Watch(TorchDispatchMode):
    """Records the layout of every tensor passed to group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.contiguous: list[bool] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "group_norm" in func.name():
            self.contiguous += [tensor.is_contiguous() for tensor in args if isinstance(tensor, torch.Tensor)]
        return func(*args, **(kwargs or {}))


def test_on_a_gpu_layer_norm_passes_contiguous_tensors_to_pytorch():
    """Every version of PyTorch takes these. The tensors are fake, so no GPU is needed."""
    with FakeTensorMode(), torch.device("cuda"), Watch() as watch:
        x, g = (torch.empty(2, 4, 3, 3).to(memory_format=torch.channels_last) for _ in range(2))
        norm = LayerNorm(4)
        y = norm(x)
        statistic = torch.empty(2, 1)
        norms._group_norm_backward(g, y, statistic, statistic, norm.scale)
    assert y.is_cuda
    assert len(watch.contiguous) == 8
    assert all(watch.contiguous)


# -- convolutions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_second_derivatives_with_low_gradients_agree_with_pytorchs(transposed: bool, monkeypatch):
    """With float64 in place of bfloat16."""
    monkeypatch.setattr("trainers.networks.convolutions.LOW", torch.double)
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 3, 4, 4).double(), torch.randn(3, 3, 4, 4).double(), torch.randn(3).double()
    inputs = tuple(t.requires_grad_(True) for t in (x, w, b))

    def chain(low: bool) -> tuple[torch.Tensor, ...]:
        y = convolve_transposed(x, w, 2, 1, low) + b.view(1, -1, 1, 1) if transposed else convolve(x, w, b, 2, 1, low)
        gx, gw = torch.autograd.grad((y**3).sum(), (x, w), create_graph=True)
        loss = (gx**2).sum() + (gw**3).sum() + y.sum()
        return y, gx, gw, *torch.autograd.grad(loss, inputs)

    for ours, theirs in zip(chain(True), chain(False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "loss", "penalty"), [
    ("resnet", "wgan-gp", 10.0), ("resnet", "non-saturating", 10.0), ("sngan", "hinge", 0.0), ("dcgan", "hinge", 0.0),
    ("style", "hinge", 0.0),
])  # fmt: skip
def test_low_gradients_are_within_a_hundredth_of_float32s(family: str, loss: str, penalty: float):
    """Gradients of both networks, each as one vector, before training and after some steps."""
    torch.manual_seed(0)
    gan = GanConfig.model_validate({"family": family, "resolution": 32, "width": 16})
    training = TrainingConfig(loss=loss, gradient_penalty=penalty)  # type: ignore[arg-type]
    generator, critic = make_generator(gan), make_critic(gan)
    critic.eval()  # no power iterations: the same function at every pass
    real, mix = torch.rand(16, 3, 32, 32) * 2 - 1, torch.rand(16, 1, 1, 1)
    optimiser = torch.optim.Adam([*generator.parameters(), *critic.parameters()], 2e-4, betas=(0.0, 0.9))

    def gradients(low: bool) -> list[torch.Tensor]:
        for network in (generator, critic):
            set_low_gradients(network, low)
        torch.manual_seed(1)
        fake = generator(torch.randn(16, 128))
        vectors = []
        for value, network in (
            (critic_loss(training, critic, real, None, fake.detach(), mix), critic),
            (generator_loss(training, critic, fake, None), generator),
        ):
            parts = torch.autograd.grad(value, list(network.parameters()), allow_unused=True)
            vectors.append(torch.cat([g.flatten() for g in parts if g is not None]))
        return vectors

    for _ in range(2):
        exact, low = gradients(False), gradients(True)
        for a, b in zip(exact, low, strict=True):
            assert 0 < (b - a).norm() / a.norm() < 1e-2
        for _ in range(5):
            set_low_gradients(critic, False)
            optimiser.zero_grad()
            critic_loss(training, critic, real, None, generator(torch.randn(16, 128)).detach(), mix).backward()
            optimiser.step()


def test_low_gradients_leave_the_forward_pass_alone():
    x = torch.randn(4, 3, 16, 16)
    critic = resnet.Critic(SMALL)
    exact = critic(x)[0]
    set_low_gradients(critic, True)
    torch.testing.assert_close(critic(x)[0], exact, rtol=1e-5, atol=1e-6)


def test_low_gradients_are_set_for_every_convolution():
    for family, make in itertools.product(FAMILIES, (make_generator, make_critic)):
        network = make(config(family))
        set_low_gradients(network, True)
        convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
        assert convolutions
        assert all(module.low_gradients for module in convolutions)
