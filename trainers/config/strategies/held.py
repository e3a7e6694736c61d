"""Strategies that hold the networks near the source by a penalty."""

from dataclasses import dataclass

from trainers.config.options import option
from trainers.config.strategy import Penalty, Strategy


@dataclass(frozen=True, kw_only=True)
class L2SP(Strategy):
    """Both networks are held near the source by a squared distance (L2-SP, Li, Grandvalet & Davoine 2018)."""

    key = "l2-sp"
    formula = "loss + weight / 2 * (|G - Gs|^2 + |D - Ds|^2)"
    weight: float = option(1.0, "weight of the squared distance", low=0, search=(0.1, 10.0))

    @property
    def penalty(self) -> Penalty:
        """Equal weights for all copied parameters; the others are not penalised."""
        return Penalty(self.weight)


@dataclass(frozen=True, kw_only=True)
class EWC(Strategy):
    """The generator is held near the source, by the importance of each parameter to the source (EWC, Li et al. 2020).

    The paper's weight, 5e8, is that of an unnormalised Fisher information. Ours is divided by its mean, so the same pull has
    the weight 2 * 5e8 * mean here. That depends on the scale of the critic's scores, which is arbitrary with a Wasserstein
    loss. The default therefore follows the effect that the paper describes, not its number: the parameters that matter to the
    source stay, and the whole travels distinctly less than in fine-tuning (`tests/benchmarks/science/anchors.py`).
    """

    key = "ewc"
    formula = "generator's loss + weight / 2 * sum F (G - Gs)^2, with the Fisher information F divided by its mean"
    weight: float = option(3.0, "weight of the squared distance, by importance", low=0, search=(0.3, 30.0))

    @property
    def penalty(self) -> Penalty:
        """Weights are the Fisher information of the source's generator on its samples; the critic is trained freely."""
        return Penalty(self.weight, fisher=True, networks=("generator",))
