"""Low-rank updates of convolutions (LoRA, Hu et al. 2022), as parametrisations of their weights."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.networks.dcgan import Down, Up
from trainers.networks.layers import Conv

#: The convolutions of every family.
CONVOLUTIONS = (Conv, Down, Up)

_WEIGHT = "parametrizations.weight"


class LowRankUpdate(nn.Module):
    """Adds the product of two thin matrices to a weight, seen as a matrix (first dimension, the rest).

    The first factor, `lora_down`, starts at random, the second, `lora_up`, at zero: at first the weight is what it was.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.lora_down = nn.Parameter(torch.randn(rank, columns).div(columns**0.5).to(weight.device))
        self.lora_up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its update."""
        return weight + (self.lora_up @ self.lora_down).view(weight.shape)


def add_updates(network: nn.Module, rank: int) -> None:
    """Give every convolution of a network an update; a spectral norm is taken of the weight with its update."""
    for module in list(network.modules()):
        if isinstance(module, CONVOLUTIONS):
            if parametrize.is_parametrized(module, "weight"):
                parametrisations = getattr(module, "parametrizations")["weight"]  # noqa: B009 - torch's own, added at run time
                parametrisations.insert(0, LowRankUpdate(parametrisations.original, rank))
            else:
                parametrize.register_parametrization(module, "weight", LowRankUpdate(module.weight, rank))


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's tensors by name, as if it had been trained without updates: these are added to the weights."""
    state: dict[str, Tensor] = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, LowRankUpdate):
            where = name.removesuffix(".0")  # CONVOLUTION.parametrizations.weight
            for factor in ("lora_down", "lora_up"):
                del state[f"{name}.{factor}"]
            norm = [key for key in state if key.startswith(f"{where}.1.")]
            weight = module(state.pop(f"{where}.original"))
            state[f"{where}.original" if norm else f"{where.removesuffix(_WEIGHT)}weight"] = weight
            for key in norm:
                state[f"{where}.0.{key.removeprefix(f'{where}.1.')}"] = state.pop(key)
    return state


def unmerged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return, of a network with updates, the tensors that `merged_state` has not, or has with the updates added."""
    merged = merged_state(network)
    state: dict[str, Tensor] = network.state_dict()
    return {
        key: value.clone() for key, value in state.items() if key not in merged or merged[key].data_ptr() != value.data_ptr()
    }
