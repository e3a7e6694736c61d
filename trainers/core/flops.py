"""Number of floating-point operations of a training step, counted on its networks and losses without computing them."""

from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.losses import critic_loss, generator_loss
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

    They are counted on PyTorch's meta device, where tensors have shapes but no values; the precision makes no difference.
    """
    n, size = training.batch, gan.resolution
    with torch.device("meta"):
        generator, critic = make_generator(gan, classes), make_critic(gan, classes)
        latents, mix = torch.empty(n, gan.latent), torch.empty(n, 1, 1, 1)
        real = torch.empty(n, 3, size, size)
        labels = torch.empty(n, dtype=torch.int64) if classes else None
        with FlopCounter() as critic_counter:  # type: ignore[no-untyped-call]
            with torch.no_grad():
                fake = generator(latents, labels)
            critic_loss(training, critic, real, labels, fake, mix).backward()  # type: ignore[no-untyped-call]
        critic.requires_grad_(False)
        with FlopCounter() as generator_counter:  # type: ignore[no-untyped-call]
            generator_loss(training, critic, generator(latents, labels), labels).backward()  # type: ignore[no-untyped-call]
    total: int = training.critic_steps * critic_counter.total + generator_counter.total
    return total
