"""Adam (Kingma & Ba 2015): PyTorch's fused kernel without what `torch.optim` brings along.

An optimiser of `torch.optim` steps by the same kernel, to the bit. But the first one in a process imports PyTorch's compiler,
which is never used here: a second's work and some 150 MB of memory, for each trial.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Steps parameters against their gradients.

    Attributes:
        state: by parameter, from its first step on, the count of steps ``step`` () and the moments ``exp_avg`` and
            ``exp_avg_sq``, both of its shape and laid out as it is.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> None:
        """`rate` is the learning rate; `betas` are the decays of the two moments, each in [0, 1)."""
        self._parameters = list(parameters)
        self._rate = rate
        self._betas = betas
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Let go of the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Step every parameter that has a gradient; the others stay as they are, and so do their moments."""
        stepped = {parameter: parameter.grad for parameter in self._parameters if parameter.grad is not None}
        for parameter in stepped:
            if parameter not in self.state:
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        counts, means, squares = (
            [self.state[parameter][name] for parameter in stepped] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        adam(
            list(stepped), list(stepped.values()), means, squares, [], counts, fused=True, lr=self._rate, beta1=self._betas[0],
            beta2=self._betas[1], eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
