"""Adam compared with PyTorch's: the same parameters and moments, to the bit."""

import pytest
import torch
from torch import Tensor

from trainers.core.adam import Adam

STEPS = 5


def parameters() -> list[Tensor]:
    """Return parameters of several shapes and layouts."""
    torch.manual_seed(0)
    shapes = [(), (3,), (4, 5), (6, 2, 3, 3)]
    tensors = [torch.randn(shape).requires_grad_() for shape in shapes]
    tensors[-1].data = tensors[-1].data.contiguous(memory_format=torch.channels_last)
    return tensors


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.5, 0.999)])
def test_steps_equal_pytorchs_also_when_a_parameter_is_frozen_temporarily(betas: tuple[float, float]):
    ours, theirs = parameters(), parameters()
    adam, expected = Adam(ours, 1e-2, betas), torch.optim.Adam(theirs, lr=1e-2, betas=betas, fused=True)
    for step in range(STEPS):
        for tensors, optimiser in ((ours, adam), (theirs, expected)):
            optimiser.zero_grad()
            tensors[1].requires_grad_(step in (1, 2, 4))
            random = torch.Generator().manual_seed(step)
            loss = sum((parameter.sin() * torch.randn(parameter.shape, generator=random)).sum() for parameter in tensors)
            loss.backward()
            optimiser.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        state, expected_state = adam.state[a], expected.state[b]
        assert list(state) == list(expected_state)
        assert all(torch.equal(state[name], expected_state[name]) for name in expected_state)
        assert state["exp_avg"].stride() == a.stride()
    assert adam.state[ours[1]]["step"] == 3


def test_a_parameter_without_a_gradient_stays_and_has_no_moments():
    moved, still = torch.ones(2, requires_grad=True), torch.ones(2)
    adam = Adam([moved, still], 0.1, (0.0, 0.9))
    moved.sum().backward()
    adam.step()
    assert torch.equal(still, torch.ones(2))
    assert torch.allclose(moved, torch.full((2,), 0.9))
    assert list(adam.state) == [moved]
    adam.zero_grad()
    adam.step()
    assert torch.allclose(moved, torch.full((2,), 0.9)), "no gradient, no step"
