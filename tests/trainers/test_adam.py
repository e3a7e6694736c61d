"""Adam beside PyTorch's own: the same parameters and moments, to the bit."""

import pytest
import torch
from torch import Tensor

from trainers.core.adam import Adam

STEPS = 5


def parameters() -> list[Tensor]:
    """Return parameters of several shapes and layouts."""
    torch.manual_seed(0)
    shapes = [(), (3,), (4, 5), (6, 2, 3, 3)]
    made = [torch.randn(shape).requires_grad_() for shape in shapes]
    made[-1].data = made[-1].data.contiguous(memory_format=torch.channels_last)
    return made


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.5, 0.999)])
def test_steps_are_those_of_pytorch_also_where_parameters_are_frozen_for_a_while(betas: tuple[float, float]):
    ours, theirs = parameters(), parameters()
    adam, expected = Adam(ours, 1e-2, betas), torch.optim.Adam(theirs, lr=1e-2, betas=betas, fused=True)
    for step in range(STEPS):
        for each, optimiser in ((ours, adam), (theirs, expected)):
            optimiser.zero_grad()
            each[1].requires_grad_(step in (1, 2, 4))
            random = torch.Generator().manual_seed(step)
            loss = sum((parameter.sin() * torch.randn(parameter.shape, generator=random)).sum() for parameter in each)
            loss.backward()
            optimiser.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
        state, known = adam.state[one], expected.state[other]
        assert list(state) == list(known)
        assert all(torch.equal(state[name], known[name]) for name in known)
        assert state["exp_avg"].stride() == one.stride()
    assert adam.state[ours[1]]["step"] == 3


def test_a_parameter_that_has_never_had_a_gradient_stays_and_has_no_moments():
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
