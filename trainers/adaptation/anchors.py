"""Anchors: the source's parameters, which a penalty holds a network near (L2-SP; EWC with the Fisher information)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

#: Where anchors stand in a checkpoint.
PREFIXES = ("anchor.", "importance.")


@dataclass
class Anchors:
    """Where parameters started, by ``NETWORK.PARAMETER``, and how much each one's distance from there matters.

    Attributes:
        weight: of the whole penalty.
        starts: the parameters at the start; one that is not here is free.
        importances: of the same shapes, mean 1 over each network; empty where all matter equally.
    """

    weight: float
    starts: dict[str, Tensor] = field(default_factory=dict)
    importances: dict[str, Tensor] = field(default_factory=dict)

    def penalty(self, name: str, network: nn.Module) -> Tensor:
        """Return weight / 2 * sum of importance * (parameter - start)^2 over a network's trained parameters, a scalar."""
        terms = []
        for key, parameter in network.named_parameters():
            start = self.starts.get(f"{name}.{key}")
            if start is not None and parameter.requires_grad:
                squares = (parameter - start).square()
                importance = self.importances.get(f"{name}.{key}")
                terms.append((squares if importance is None else squares * importance).sum())
        total: Tensor = torch.stack(terms).sum() * (self.weight / 2)
        return total

    def state(self) -> dict[str, Tensor]:
        """Return the anchors' tensors, as a checkpoint holds them."""
        anchor, importance = PREFIXES
        return {
            **{f"{anchor}{key}": value for key, value in self.starts.items()},
            **{f"{importance}{key}": value for key, value in self.importances.items()},
        }

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take the tensors over that `state` gave."""
        for prefix, into in zip(PREFIXES, (self.starts, self.importances), strict=True):
            into.clear()
            into |= {key.removeprefix(prefix): value.to(device) for key, value in tensors.items() if key.startswith(prefix)}


def relative(fishers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the Fisher information of one network over its mean.

    A Wasserstein critic's scores have no scale of their own, and so no more has their Fisher information: what it tells is
    how much one parameter matters beside the others.
    """
    total = sum(float(each.double().sum()) for each in fishers.values())
    mean = total / max(1, sum(each.numel() for each in fishers.values()))
    return {key: each / mean if mean else torch.ones_like(each) for key, each in fishers.items()}
