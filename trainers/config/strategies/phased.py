"""Strategies whose training has two phases."""

from dataclasses import dataclass

from trainers.config.options import option
from trainers.config.settings import GanConfig
from trainers.config.strategy import Part, Phase, Strategy


@dataclass(frozen=True, kw_only=True)
class Mine(Strategy):
    """First a miner network learns latents that suit the frozen generator; then all is trained (MineGAN, Wang et al. 2020)."""

    key = "mine"
    formula = "G(M(z)) with a miner M; G = Gs up to `share` of the steps"
    mines = True
    share: float = option(0.25, "share of the steps in which the generator is frozen", low=0.0, high=1.0, search=(0.05, 0.5))

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """First the miner and the critic, then all."""
        return (Phase(until=self.share, generator=Part(names=("input.miner.*",))), Phase())


@dataclass(frozen=True, kw_only=True)
class LinearProbeThenFinetune(Strategy):
    """First the linear layers at the ends of the networks are trained, then all (Kumar et al. 2022).

    They are the critic's head over its frozen features, and the generator's linear map of the latent.
    """

    key = "linear-probe-then-finetune"
    formula = "up to `share` of the steps G = Gs and D = Ds but for the linear layers at their ends"
    share: float = option(
        0.25, "share of the steps in which the linear layers alone are trained", low=0.0, high=1.0, search=(0.05, 0.5)
    )

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """First the linear layers, then all."""
        probe = Phase(until=self.share, generator=Part(names=("input.*",)), critic=Part(names=("score.*",)))
        return (probe, Phase())
