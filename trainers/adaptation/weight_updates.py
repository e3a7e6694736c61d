"""Updates of convolutions as parametrisations of their weights: how they are added, and merged into the weights again."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.config.strategy import Part
from trainers.networks import convolution_layers

_WEIGHT = "parametrizations.weight"


class WeightUpdate(nn.Module):
    """Base of the updates: maps a convolution's weight to one of the same shape, which at first is the same weight."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight."""
        # With the strides of the weight: they decide the kernel, and so the last bits, also of a network with merged weights.
        return torch.empty_like(weight, requires_grad=False).copy_(self.updated(weight))

    def updated(self, weight: Tensor) -> Tensor:
        """Return the updated weight, in any memory layout."""
        raise NotImplementedError


def add_updates(network: nn.Module, part: Part, make: Callable[[nn.Module, Tensor], WeightUpdate]) -> None:
    """Add an update to the convolutions of a network whose weights are in a part.

    `make` returns the update of a convolution, for its weight without a spectral norm, which applies to the updated weight.
    """
    convolutions = set(convolution_layers(network))
    for name, module in list(network.named_modules()):
        if module not in convolutions or not part.has(f"{name}.weight"):
            continue
        if parametrize.is_parametrized(module, "weight"):
            parametrisations = getattr(module, "parametrizations")["weight"]  # noqa: B009 - torch adds it at run time
            parametrisations.insert(0, make(module, parametrisations.original))
        else:
            weight = module.get_parameter("weight")
            parametrize.register_parametrization(module, "weight", make(module, weight))


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state dict with the updates merged into the weights, as a network without updates has it."""
    state: dict[str, Tensor] = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, WeightUpdate):
            path = name.removesuffix(".0")  # CONVOLUTION.parametrizations.weight
            for key in module.state_dict():
                del state[f"{name}.{key}"]
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
