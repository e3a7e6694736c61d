"""Adaptive filter modulation of frozen convolutions (AdaFM, Zhao, Cong & Carin 2020)."""

import torch
from torch import Tensor, nn

from trainers.adaptation.weight_updates import WeightUpdate


class FilterModulation(WeightUpdate):
    """Scales and shifts each kernel: gamma[i, j] * W[i, j] + beta[i, j] for output channel i and input channel j.

    `adafm_scale` is gamma and starts at one, `adafm_shift` is beta and starts at zero; both (I, J, 1, 1).
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        shape = (*weight.shape[:2], 1, 1)
        self.adafm_scale = nn.Parameter(torch.ones(shape, device=weight.device))
        self.adafm_shift = nn.Parameter(torch.zeros(shape, device=weight.device))

    def updated(self, weight: Tensor) -> Tensor:
        """Return the scaled and shifted weight."""
        return self.adafm_scale * weight + self.adafm_shift
