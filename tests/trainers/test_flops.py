"""Operations agree with the formula, and the count of a step with a real step."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.flops import FlopCounter, step_flops
from trainers.core.gan import Gan


def test_counted_operations_agree_with_the_formula_also_in_a_second_derivative():
    """A convolution, its two gradients and their gradients each have equally many operations."""
    x, w = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3, requires_grad=True)
    one = 2 * (2 * 8 * 8) * 5 * 3 * 9
    with FlopCounter() as counter:
        y = F.conv2d(x, w, padding=1)
        assert counter.total == one
        gx, gw = torch.autograd.grad(y.square().sum(), (x, w), create_graph=True)
        assert counter.total == 3 * one
        (gx.sum() + gw.sum()).backward()
    assert counter.total > 5 * one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "loss", "classes"),
    [
        ("resnet", "wgan-gp", 0),
        ("resnet", "wgan-gp", 3),
        ("sngan", "hinge", 0),
        ("dcgan", "hinge", 3),
        ("style", "non-saturating", 3),
    ],
)
def test_the_count_of_a_step_agrees_with_a_real_step(family: str, loss: str, classes: int):
    gan = GanConfig.model_validate({"resolution": 8, "width": 4, "family": family})
    training = TrainingConfig.model_validate({"loss": loss, "batch": 4, "critic_steps": 2})
    images, labels = np.zeros((6, 8, 8, 3), np.uint8), np.arange(6) % 3
    real = Gan(gan, training, classes=classes, seed=0)
    with FlopCounter() as counter:
        real.train(images, labels if classes else None, 1)
    assert step_flops(gan, training, classes) == counter.total > 0
