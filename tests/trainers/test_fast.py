"""The light family: skip-layer excitation and reconstructions compared with NumPy; quarters of images; settings."""

import numpy as np
import pytest
import torch

from trainers.config.settings import GanConfig, TrainingConfig, check_penalty
from trainers.core.losses import critic_loss
from trainers.networks import fast

FAST = GanConfig(family="fast", resolution=16, width=3, latent=6)


@pytest.mark.parametrize("side", [4, 8])
def test_a_skip_layer_excitation_is_the_papers(side: int):
    """Means of a 4x4 grid, a 4x4 convolution, leaky ReLU, a 1x1 convolution, a sigmoid; then a factor for each channel."""
    torch.manual_seed(0)
    module = fast.Excitation(3, 5).double()
    torch.nn.init.normal_(module.first.bias)
    small, large = torch.randn(2, 3, side, side).double(), torch.randn(2, 5, 16, 16).double()
    kernel = module.first.weight.detach().numpy().reshape(5, 3, 4, 4)
    expected = np.zeros((2, 5, 16, 16))
    step = side // 4
    for n in range(2):
        pooled = small[n].numpy().reshape(3, 4, step, 4, step).mean((2, 4))
        h = [(kernel[c] * pooled).sum() + module.first.bias[c].item() for c in range(5)]
        h = np.array([value if value > 0 else 0.1 * value for value in h])
        factors = 1 / (1 + np.exp(-(module.second.weight.detach().numpy() @ h + module.second.bias.detach().numpy())))
        expected[n] = large[n].numpy() * factors[:, None, None]
    np.testing.assert_allclose(module(large, small).detach().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("resolution", "expected"), [(16, [None, 6]), (64, [None, None, None, 24]), (256, [None] * 3 + [24] * 3)]
)
def test_excitations_skip_four_scales(resolution: int, expected: list[int | None]):
    """At 256 pixels from 4 to 64, 8 to 128, 16 to 256; in smaller networks from the first feature map to the last."""
    generator = fast.Generator(FAST.model_copy(update={"resolution": resolution}))
    found = [None if b.excitation is None else b.excitation.first.in_features // 16 for b in generator.blocks]
    assert found == expected
    assert generator(torch.randn(2, 6)).shape == (2, 3, resolution, resolution)


def test_quarters_are_taken_in_turn_in_features_and_images_alike():
    x = torch.arange(6 * 16).view(6, 1, 4, 4)
    found = fast.quarters(x)
    for n, (row, column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2), (0, 0), (0, 2)]):
        assert torch.equal(found[n], x[n, :, row : row + 2, column : column + 2])


def test_the_critics_loss_is_hinge_and_the_errors_of_both_reconstructions():
    torch.manual_seed(0)
    critic = fast.Critic(FAST).double().eval()
    real, fake = torch.rand(5, 3, 16, 16).double() * 2 - 1, torch.rand(5, 3, 16, 16).double() * 2 - 1
    maps = [torch.nn.functional.leaky_relu(critic.input(real), 0.2)]
    for block in critic.blocks:
        maps.append(block(maps[-1]))
    scores, on_fake = critic(real)[0].detach().numpy(), critic(fake)[0].detach().numpy()
    half = real.numpy().reshape(5, 3, 8, 2, 8, 2).mean((3, 5))
    whole = np.abs(critic.decoders[0](maps[-1]).detach().numpy() - half).mean()
    corners = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)]
    features = torch.stack([maps[-2][n, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4] for n, (r, c) in enumerate(corners)])
    targets = np.stack([real[n, :, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].numpy() for n, (r, c) in enumerate(corners)])
    quarter = np.abs(critic.decoders[1](features).detach().numpy() - targets).mean()
    expected = np.maximum(0, 1 - scores).mean() + np.maximum(0, 1 + on_fake).mean() + whole + quarter
    loss = critic_loss(TrainingConfig(loss="hinge"), critic, real, None, fake, torch.zeros(5, 1, 1, 1))
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_a_gradient_penalty_is_refused():
    with pytest.raises(ValueError, match="family: fast has batch norm in its critic"):
        check_penalty(FAST, TrainingConfig())
    check_penalty(FAST, TrainingConfig(loss="hinge"))
