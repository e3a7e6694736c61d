"""LeCam regularisation of a critic (Tseng et al. 2021): its scores are held near running means of its scores."""

from collections.abc import Mapping

import torch
from torch import Tensor

#: Decay of the running means per critic step, as in the paper.
DECAY = 0.99


class LeCam:
    """R = E[(D(x) - a_generated)^2] + E[(D(G(z)) - a_real)^2], with running means a of the critic's scores on both kinds.

    Scores of real images are held near the mean of generated ones and vice versa. With the running means at rest and no other
    bound on the critic, the generator minimises a LeCam divergence, which few images let explode less. The means are those of
    the present step and all before it, the weight of each decaying by `DECAY`, and divided by the sum of the weights.
    """

    def __init__(self, weight: float, device: torch.device) -> None:
        self._weight = weight
        # Sums of the weighted means of the scores on real and on generated images, and of the weights.
        self._sums = torch.zeros(3, device=device)

    def __call__(self, on_real: Tensor, on_generated: Tensor) -> Tensor:
        """Update the running means with a step's scores and return the weighted R, a scalar; gradients reach the scores."""
        with torch.no_grad():
            means = torch.stack([on_real.mean(), on_generated.mean(), on_real.new_ones(())])
            self._sums.lerp_(means.to(self._sums), 1 - DECAY)
            real, generated = self.means
        distances: Tensor = (on_real - generated).square().mean() + (on_generated - real).square().mean()
        return self._weight * distances

    @property
    def means(self) -> Tensor:
        """The running means (2,) of the scores on real and on generated images; not a number before the first step."""
        return self._sums[:2] / self._sums[2]

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that the means are computed from, as a checkpoint stores them."""
        return {"lecam.sums": self._sums}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        self._sums.copy_(tensors["lecam.sums"])
