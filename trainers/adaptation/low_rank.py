"""Low-rank updates of convolutions (LoRA, Hu et al. 2022)."""

import torch
from torch import Tensor, nn

from trainers.adaptation.weight_updates import WeightUpdate


class LowRankUpdate(WeightUpdate):
    """Adds the product of two thin matrices to a weight, viewed as a matrix (first dimension, product of the others).

    `lora_down` (rank, columns) starts at random and `lora_up` (rows, rank) at zero.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.lora_down = nn.Parameter(torch.randn(rank, columns).div(columns**0.5).to(weight.device))
        self.lora_up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def updated(self, weight: Tensor) -> Tensor:
        """Return the weight plus its update."""
        return weight + (self.lora_up @ self.lora_down).view(weight.shape)
