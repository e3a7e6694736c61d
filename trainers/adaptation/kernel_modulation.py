"""Modulation of a source's kernels by a matrix of rank one, for those that matter to the target (AdAM, Zhao et al. 2022)."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from trainers.adaptation.weight_updates import WeightUpdate


class KernelModulation(WeightUpdate):
    """Multiplies the kernel W[o] of each output channel o by 1 + r[o] * c, elementwise, or leaves it to be trained itself.

    `kml_rows` is r (O,) and starts at zero, `kml_columns` is c (I * K * K,) and starts at random; `kml_kept` (O,) says which
    kernels are modulated. These are frozen themselves; the other kernels have no modulation.
    """

    kml_kept: Tensor

    def __init__(self, weight: Tensor, *, transposed: bool = False) -> None:
        """`transposed`: whether the output channels are the second dimension of the weight."""
        super().__init__()
        self._outputs = int(transposed)
        outputs = weight.shape[self._outputs]
        self.kml_rows = nn.Parameter(torch.zeros(outputs, device=weight.device))
        self.kml_columns = nn.Parameter(torch.randn(weight.numel() // outputs).to(weight.device))
        self.register_buffer("kml_kept", torch.ones(outputs, dtype=torch.bool, device=weight.device))

    def updated(self, weight: Tensor) -> Tensor:
        """Return the weight with the kept kernels modulated."""
        kernels = weight.movedim(self._outputs, 0)
        factors = 1 + torch.outer(self.kml_rows, self.kml_columns).view(kernels.shape)
        kept = self.kml_kept.view(-1, 1, 1, 1)
        return torch.where(kept, kernels.detach() * factors, kernels).movedim(0, self._outputs)


def modulations(network: nn.Module) -> Iterator[tuple[str, KernelModulation]]:
    """Yield the modulations of a network with their names."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, KernelModulation))


@torch.no_grad()
def keep_important(network: nn.Module, fisher: Mapping[str, Tensor], share: float, random: torch.Generator) -> None:
    """Let the `share` of a network's kernels that matter most stay modulated, all modulations starting anew.

    A kernel's importance is the Fisher information of its entry of r, plus the mean of that of its layer's c. `fisher` has that
    of each parameter by name; `random` draws on the CPU.
    """
    found = dict(modulations(network))
    importance = {name: fisher[f"{name}.kml_rows"] + fisher[f"{name}.kml_columns"].mean() for name in found}
    order = torch.cat(list(importance.values())).argsort(descending=True, stable=True)
    kept = torch.zeros_like(order, dtype=torch.bool)
    kept[order[: round(share * len(order))]] = True
    for module, of_layer in zip(found.values(), torch.split(kept, [len(each) for each in importance.values()]), strict=True):
        module.kml_kept.copy_(of_layer)
        module.kml_rows.zero_()
        module.kml_columns.copy_(torch.randn(module.kml_columns.shape, generator=random))
