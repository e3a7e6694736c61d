"""Anchors: the source's parameters, from which a penalty measures distance (L2-SP, and EWC with Fisher information)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

#: Prefixes of the tensors of anchors in a checkpoint: starts, importances.
PREFIXES = ("anchor.", "importance.")


@dataclass
class Anchors:
    """Initial values of parameters and weights of their squared distances, by ``NETWORK.PARAMETER``.

    Attributes:
        starts: the parameters at the start; a parameter that is missing here has no penalty.
        importances: weights of the same shapes, with mean 1 over each network; empty for equal weights.
    """

    weight: float
    starts: dict[str, Tensor] = field(default_factory=dict)
    importances: dict[str, Tensor] = field(default_factory=dict)

    def penalty(self, name: str, network: nn.Module) -> Tensor | None:
        """Return weight / 2 * sum of importance * (parameter - start)^2 over a network's trained parameters, a scalar.

        None if none of them has an anchor.
        """
        terms = []
        for key, parameter in network.named_parameters():
            start = self.starts.get(f"{name}.{key}")
            if start is not None and parameter.requires_grad:
                squares = (parameter - start).square()
                importance = self.importances.get(f"{name}.{key}")
                terms.append((squares if importance is None else squares * importance).sum())
        return torch.stack(terms).sum() * (self.weight / 2) if terms else None

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of the anchors, as a checkpoint stores them."""
        anchor, importance = PREFIXES
        return {
            **{f"{anchor}{key}": value for key, value in self.starts.items()},
            **{f"{importance}{key}": value for key, value in self.importances.items()},
        }

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Replace the anchors by those of tensors that `state` returned, on a device."""
        for prefix, values in zip(PREFIXES, (self.starts, self.importances), strict=True):
            values.clear()
            values |= {key.removeprefix(prefix): value.to(device) for key, value in tensors.items() if key.startswith(prefix)}


def relative(fishers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the Fisher information of one network divided by its mean; ones if the mean is 0.

    The scores of a Wasserstein critic have an arbitrary scale, and so has their Fisher information. Only its ratios between
    parameters are meaningful.
    """
    total = sum(float(values.double().sum()) for values in fishers.values())
    mean = total / max(1, sum(values.numel() for values in fishers.values()))
    return {key: values / mean if mean else torch.ones_like(values) for key, values in fishers.items()}
