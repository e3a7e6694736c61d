"""Number of floating-point operations of a training step, counted on its networks and losses without computing them."""

from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.losses import critic_loss, generator_loss, lazy_r1
from trainers.core.path_length import PathLength
from trainers.networks import make_critic, make_generator


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base class is untyped
    """Sums the floating-point operations of matrix products and convolutions, by PyTorch's formulas.

    PyTorch's own counter also attributes operations to modules, which fails for the gradient of a gradient.
    """

    total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


@cache
def step_flops(gan: GanConfig, training: TrainingConfig, classes: int = 0) -> int:
    """Return the operations of one generator step, including its critic steps, when every parameter is trained.

    Those of a regularisation that is not taken at every step are divided by its interval. They are counted on PyTorch's meta
    device, where tensors have shapes but no values; the precision makes no difference.
    """
    n, size = training.batch, gan.resolution
    with torch.device("meta"):
        generator, critic = make_generator(gan, classes), make_critic(gan, classes)
        latents, mix = torch.empty(n, gan.latent), torch.empty(n, 1, 1, 1)
        real = torch.empty(n, 3, size, size)
        labels = torch.empty(n, dtype=torch.int64) if classes else None
        with FlopCounter() as critic_counter:  # type: ignore[no-untyped-call]
            with torch.no_grad():
                fake = generator.training_images(latents, labels, None)
            critic_loss(training, critic, real, labels, fake, mix).backward()  # type: ignore[no-untyped-call]
        with FlopCounter() as penalty_counter:  # type: ignore[no-untyped-call]
            if training.penalty_every > 1:
                lazy_r1(training, critic, real, labels, lambda images: images).backward()  # type: ignore[no-untyped-call]
        critic.requires_grad_(False)
        with FlopCounter() as generator_counter:  # type: ignore[no-untyped-call]
            fake = generator.training_images(latents, labels, None)
            generator_loss(training, critic, fake, labels).backward()  # type: ignore[no-untyped-call]
        with FlopCounter() as length_counter:  # type: ignore[no-untyped-call]
            if training.path_length:
                half = None if labels is None else labels[: n // 2]
                PathLength(training, None).penalty(generator, latents[: n // 2], half).backward()  # type: ignore[no-untyped-call]
    every = training.critic_steps * (critic_counter.total + penalty_counter.total / training.penalty_every)
    total: float = every + generator_counter.total + length_counter.total / training.path_length_every
    return round(total)
