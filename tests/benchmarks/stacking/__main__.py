"""Speed of K trials trained as one step, compared with one after another: ``python -m tests.benchmarks.stacking``.

WGAN-GP of 16 pixels and width 16 on one thread. The ways alternate, and times are of the processor (this process alone),
so other load on the machine affects all alike; the median over the rounds is reported. The stacked ways lack the moving
average, the checks and the strategies of a trial, which favours them.

Ways:
    one after another: the package's training loop, K times.
    grouped: one network with K groups in every convolution, with the package's arithmetic (`grouped`).
    vmap: `torch.func.vmap` over the stacked parameters of the textbook networks.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from tests.benchmarks.command import make_parser, positive, show
from tests.benchmarks.stacking import grouped
from tests.support.reference import Critic, Generator
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.adam import Adam
from trainers.core.gan import Gan

#: Training images, critic steps per generator step, learning rate and Adam's decay rates.
IMAGES, CRITIC_STEPS, RATE, BETAS = 512, 2, 5e-4, (0.0, 0.9)


def contestants(k: int, resolution: int = 16, width: int = 16, batch: int = 32) -> dict[str, Callable[[], None]]:
    """Return functions that take one generator step of each of K trials, by way."""
    config = GanConfig(resolution=resolution, width=width)
    pixels = torch.randint(256, (IMAGES, 3, resolution, resolution), dtype=torch.uint8)
    array = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    training = TrainingConfig(batch=batch, critic_steps=CRITIC_STEPS, generator_lr=RATE, critic_lr=RATE)
    gans = [Gan(config, training, classes=0, seed=seed) for seed in range(k)]
    generators = [Generator(resolution, width, config.latent) for _ in range(k)]
    critics = [Critic(resolution, width) for _ in range(k)]

    def one_after_another() -> None:
        for gan in gans:
            gan.train(array, None, gan.step + 1)

    g, c = grouped.joined(list(generators)), grouped.joined(list(critics))
    of_g, of_c = (Adam(parameters.values(), RATE, BETAS) for parameters in (g, c))

    def update(optimiser: Adam, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def in_groups() -> None:
        for _ in range(CRITIC_STEPS):
            real = pixels[torch.randint(IMAGES, (batch, k))].flatten(1, 2).float().div(127.5).sub(1)
            with torch.no_grad():
                fake = grouped.generator(g, torch.randn(k, batch, config.latent), k)
            update(of_c, stacked_loss(c, real.contiguous(memory_format=torch.channels_last), fake, torch.rand(batch, k), k))
        update(of_g, -grouped.critic(c, grouped.generator(g, torch.randn(k, batch, config.latent), k), k).mean(1).sum())

    vg, vc = ({n: t.detach() for n, t in stack_module_state(list(networks))[0].items()} for networks in (generators, critics))
    of_vg, of_vc = (Adam(parameters.values(), RATE, BETAS) for parameters in (vg, vc))

    def draw(parameters: dict[str, Tensor], z: Tensor) -> Any:
        return functional_call(generators[0], parameters, (z,))

    def loss_of_critic(parameters: dict[str, Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        def score(x: Tensor) -> Any:
            return functional_call(critics[0], parameters, (x,))

        gradient = grad(lambda x: score(x).sum())(mix * fake + (1 - mix) * real)
        penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        total: Tensor = score(fake).mean() - score(real).mean() + 10 * penalty
        return total

    def loss_of_generator(parameters: dict[str, Tensor], of_critic: dict[str, Tensor], z: Tensor) -> Tensor:
        loss: Tensor = -functional_call(critics[0], of_critic, (draw(parameters, z),)).mean()
        return loss

    def by_vmap() -> None:
        def take(optimiser: Adam, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
            for name, parameter in parameters.items():
                parameter.grad = gradients[name]
            optimiser.step()

        for _ in range(CRITIC_STEPS):
            real = pixels[torch.randint(IMAGES, (k, batch))].float().div(127.5).sub(1)
            fake = vmap(draw)(vg, torch.randn(k, batch, config.latent))
            take(of_vc, vc, vmap(grad(loss_of_critic))(vc, real, fake, torch.rand(k, batch, 1, 1, 1)))
        take(of_vg, vg, vmap(grad(loss_of_generator))(vg, vc, torch.randn(k, batch, config.latent)))

    return {"one after another": one_after_another, "grouped": in_groups, "vmap": by_vmap}


def stacked_loss(c: grouped.Parameters, real: Tensor, fake: Tensor, mix: Tensor, k: int) -> Tensor:
    """Return the sum of the critics' losses with gradient penalty; images (N, 3 K, H, W), `mix` (N, K)."""
    n = len(real)
    x = torch.lerp(real, fake, mix.repeat_interleave(3, 1)[:, :, None, None]).requires_grad_(True)
    (gradient,) = torch.autograd.grad(grouped.critic(c, x, k).sum(), x, create_graph=True)
    penalty = (gradient.unflatten(1, (k, 3)).flatten(2).norm(2, dim=2) - 1).square().mean(0)
    scores = grouped.critic(c, torch.cat([real, fake]), k)
    return (scores[:, n:].mean(1) - scores[:, :n].mean(1) + 10 * penalty).sum()


def measure(k: int, rounds: int, **size: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each way; the first round, which is not counted, warms up."""
    ways = contestants(k, **size)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, step in ways.items():
            began = time.process_time()
            step()
            if turn:
                seconds[way].append((time.process_time() - began) / k)
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    for way, median in medians.items():
        yield {"trials": k, "way": way, "ms_per_step": 1000 * median, "times": medians["one after another"] / median}


def main() -> None:
    """Run the benchmark and print one row per number of trials and way."""
    parser: argparse.ArgumentParser = make_parser("stacking", "Measure trials trained as one step.", "--json", rounds=9)
    parser.add_argument("--trials", type=positive, nargs="+", default=[2, 4, 8], help="numbers of trials (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = "{trials} trials, {way:18} {ms_per_step:7.2f} ms of a core per generator step of each  {times:.2f}x"
    rows = (row for k in arguments.trials for row in measure(k, arguments.rounds))
    show(((row, text.format(**row)) for row in rows), arguments.json)


if __name__ == "__main__":
    main()
