"""Adam (Kingma & Ba 2015) on PyTorch's fused kernel, without the optimisers of `torch.optim`.

The optimisers of `torch.optim` use the same kernel and give the same bits. The first one in a process, however, imports
PyTorch's compiler, which is not used here and costs each trial a second and about 150 MB of memory.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """The optimiser of one network.

    Attributes:
        state: by parameter, from its first step on: the count of steps ``step``, a scalar, and the moments ``exp_avg`` and
            ``exp_avg_sq``, of the parameter's shape and memory layout.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> None:
        """Take the parameters, the learning rate `rate` and the decay rates `betas` of the two moments, each in [0, 1)."""
        self._parameters = list(parameters)
        self._rate = rate
        self._betas = betas
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient, and its moments; the others stay unchanged."""
        gradients = {parameter: parameter.grad for parameter in self._parameters if parameter.grad is not None}
        for parameter in gradients:
            if parameter not in self.state:
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        counts, means, squares = (
            [self.state[parameter][name] for parameter in gradients] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        adam(
            list(gradients), list(gradients.values()), means, squares, [], counts, fused=True, lr=self._rate,
            beta1=self._betas[0], beta2=self._betas[1], eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
