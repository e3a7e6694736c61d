"""Which precision of the gradients trains fastest on this machine, among those that keep the gradients."""

import copy
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.core.gan import Gan

#: Greatest error of the low precision's gradients, relative to their norm in float64.
ERROR = 1e-2

#: How much faster the low precision must be: less is within the variation of the times.
FASTER = 1.1

#: Rounds of one step in each precision: at least, and the seconds after which no further one begins.
FEWEST, SECONDS = 3, 4.0


@dataclass(frozen=True)
class Precision:
    """What `bf16` is worth on a machine: its speed relative to `float32`, and the error of its gradients."""

    speed: float
    error: float

    @property
    def name(self) -> str:
        """The value of `training.precision` to take."""
        return "bf16" if self.speed >= FASTER and self.error <= ERROR else "float32"

    @property
    def reason(self) -> str:
        """The measurement in words."""
        return f"here bf16 is {self.speed:.2f} times as fast as float32, and its gradients are {self.error:.1%} off float64's"


def measured_precision(trial: TrialConfig, *, gpu: bool = False, graphs: bool = False) -> Precision:
    """Return what `bf16` is worth for a trial's networks, by the median times of alternating steps on one CPU core.

    Raises:
        UserError: the domain cannot be used.
    """
    import torch

    from trainers.core.gan import Gan
    from trainers.trial.images import training_images

    data, names = training_images(trial), ("float32", "bf16")
    classes = len(trial.domain.classes) if trial.conditional else 0
    gans = {
        name: Gan(
            trial.gan, trial.training.model_copy(update={"precision": name}), classes=classes, seed=trial.base_seed,
            device="cuda" if gpu else "cpu", graphs=graphs,
        )
        for name in names
    }  # fmt: skip
    error = gradient_error(gans["bf16"])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with threadpool_limits(1):
        for gan in gans.values():
            gan.train(data.images, data.labels, 5 if graphs else 1)  # the first steps are slower, and a graph is recorded
        started = time.perf_counter()
        while len(seconds["bf16"]) < FEWEST or time.perf_counter() - started < SECONDS:
            for name, gan in gans.items():
                began = time.perf_counter()
                gan.train(data.images, data.labels, gan.step + 1)
                if gpu:
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return Precision(medians["float32"] / medians["bf16"], error)


def gradient_error(gan: "Gan") -> float:
    """Return the error of the gradient of the critic's loss with its penalty, relative to its norm in float64.

    At the present weights, for images of noise and latents from a fixed seed; conditional terms are left out.
    """
    import torch

    from trainers.core.losses import critic_loss
    from trainers.networks import set_low_gradients

    random, n, side = torch.Generator().manual_seed(0), gan.config.batch, gan.shape.resolution
    real = torch.rand(n, 3, side, side, generator=random).mul(2).sub(1).to(gan.device)
    mix = torch.rand(n, 1, 1, 1, generator=random).to(gan.device)
    labels = torch.arange(n, device=gan.device) % gan.classes if gan.classes else None
    with torch.no_grad():
        fake = gan.generator(torch.randn(n, gan.latent, generator=random).to(gan.device), labels)
    exact = copy.deepcopy(gan.critic).double()
    set_low_gradients(exact, False)
    gradients = []
    for critic, kind in ((gan.critic, torch.float32), (exact, torch.float64)):
        loss = critic_loss(gan.config, critic, real.to(kind), None, fake.to(kind), mix.to(kind))
        parts = torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)
        gradients.append(torch.cat([part.double().flatten() for part in parts if part is not None]))
    low, true = gradients
    return float((low - true).norm() / true.norm())
