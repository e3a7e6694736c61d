"""The stacked step of the benchmark `stacking` is that of its networks, each alone."""

import torch

from tests.benchmarks.stacking import __main__ as stacking
from tests.benchmarks.stacking import grouped
from tests.support.reference import Critic, Generator, critic_loss


def test_grouped_networks_have_the_images_losses_and_gradients_of_each_alone():
    torch.manual_seed(0)
    critics, generators = [Critic(8, 4) for _ in range(2)], [Generator(8, 4, 5) for _ in range(2)]
    real, z, mix = torch.randn(6, 2, 3, 8, 8), torch.randn(2, 6, 5), torch.rand(6, 2)
    fakes = [generator(latents).detach() for generator, latents in zip(generators, z, strict=True)]
    fake = grouped.generator(grouped.joined(list(generators)), z, 2).detach()
    torch.testing.assert_close(fake, torch.cat(fakes, 1), rtol=1e-4, atol=1e-5)

    joined = grouped.joined(list(critics))
    loss = stacking.stacked_loss(joined, real.flatten(1, 2), fake, mix, 2)
    gradients = torch.autograd.grad(loss, list(joined.values()))
    alone = [critic_loss(critics[i], real[:, i], fakes[i], mix[:, i, None, None, None]) for i in range(2)]
    of_each = [torch.autograd.grad(alone[i], list(critics[i].parameters())) for i in range(2)]
    torch.testing.assert_close(loss, alone[0] + alone[1], rtol=1e-4, atol=1e-5)
    for together, *apart in zip(gradients, *of_each, strict=True):
        torch.testing.assert_close(together.flatten(), torch.cat([part.flatten() for part in apart]), rtol=1e-3, atol=1e-5)


def test_all_ways_are_timed():
    rows = list(stacking.measure(2, rounds=1, resolution=8, width=4, batch=4))
    assert [row["way"] for row in rows] == ["one after another", "grouped", "vmap"]
    assert rows[0]["times"] == 1
    assert all(row["ms_per_step"] > 0 for row in rows)
