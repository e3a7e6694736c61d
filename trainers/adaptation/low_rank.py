"""Low-rank updates of convolutions (LoRA, Hu et al. 2022), as parametrisations of their weights."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.networks import convolution_layers

_WEIGHT = "parametrizations.weight"


class LowRankUpdate(nn.Module):
    """Adds the product of two thin matrices to a weight, viewed as a matrix (first dimension, product of the others).

    `lora_down` (rank, columns) starts at random and `lora_up` (rows, rank) at zero, so that the weight starts unchanged.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.lora_down = nn.Parameter(torch.randn(rank, columns).div(columns**0.5).to(weight.device))
        self.lora_up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight plus its update, of the same shape."""
        updated = weight + (self.lora_up @ self.lora_down).view(weight.shape)
        # With the strides of the weight: they decide the kernel, and so the last bits, also of a network with merged weights.
        return torch.empty_like(weight, requires_grad=False).copy_(updated)


def add_updates(network: nn.Module, rank: int) -> None:
    """Add an update to every convolution of a network; a spectral norm applies to the weight plus its update."""
    for module in list(convolution_layers(network)):
        if parametrize.is_parametrized(module, "weight"):
            parametrisations = getattr(module, "parametrizations")["weight"]  # noqa: B009 - torch adds it at run time
            parametrisations.insert(0, LowRankUpdate(parametrisations.original, rank))
        else:
            weight = module.get_parameter("weight")
            parametrize.register_parametrization(module, "weight", LowRankUpdate(weight, rank))


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state dict with the updates added to the weights, as a network without updates has it."""
    state: dict[str, Tensor] = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, LowRankUpdate):
            path = name.removesuffix(".0")  # CONVOLUTION.parametrizations.weight
            for factor in ("lora_down", "lora_up"):
                del state[f"{name}.{factor}"]
            spectral_norm = [key for key in state if key.startswith(f"{path}.1.")]
            weight = module(state.pop(f"{path}.original"))
            state[f"{path}.original" if spectral_norm else f"{path.removesuffix(_WEIGHT)}weight"] = weight
            for key in spectral_norm:
                state[f"{path}.0.{key.removeprefix(f'{path}.1.')}"] = state.pop(key)
    return state


def unmerged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors that `merged_state` lacks or changes: the updates and the weights without them."""
    merged = merged_state(network)
    state: dict[str, Tensor] = network.state_dict()
    return {
        key: value.clone() for key, value in state.items() if key not in merged or merged[key].data_ptr() != value.data_ptr()
    }
