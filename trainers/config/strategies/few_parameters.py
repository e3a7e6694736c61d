"""Strategies that train few parameters: the norms, or low-rank updates."""

from dataclasses import dataclass

from trainers.common.errors import UserError
from trainers.config import blocks
from trainers.config.blocks import Network
from trainers.config.options import option
from trainers.config.settings import GanConfig
from trainers.config.strategy import Part, Phase, Strategy


@dataclass(frozen=True, kw_only=True)
class ScaleShift(Strategy):
    """The whole critic and only the scales and shifts of the generator's norms are trained (Noguchi & Harada 2019).

    In a family with styles these are the linear maps of the style to each convolution's scales, and the shifts after it.
    The paper trains these, without a critic, at the rate 0.03: 60 times the 5e-4 of the preset `strategies`.
    """

    key = "scale-shift"
    formula = "G0 = Gs, D0 = Ds; of G only s and b in s * norm(h) + b are trained"
    rate: float = option(60.0, "factor of the generator's learning rate", above=0, search=(1.0, 100.0))

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with the generator's norms and the critic."""
        return (Phase(generator=Part(names=blocks.scales_and_shifts(gan))),)

    def rate_factor(self, network: Network) -> float:
        """Return the option `rate` for the generator; the critic is trained whole."""
        return self.rate if network == "generator" else 1.0


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
    """Convolutions are trained by low-rank updates; all other parameters are frozen (LoRA, Hu et al. 2022).

    Its rates are usually about ten times those of fine-tuning.
    """

    key = "lora"
    formula = "W = Ws + B A for each convolution, with B (rows, rank) = 0 at step 0 and A (rank, columns)"
    rank: int = option(4, "rank of each convolution's update", low=1, search=[1, 2, 4, 8, 16])
    rate: float = option(10.0, "factor of the learning rate of both networks", above=0, search=(1.0, 100.0))

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with the updates alone."""
        updates = Part(names=("*.lora_*",))
        return (Phase(generator=updates, critic=updates),)

    @property
    def update_rank(self) -> int:
        """The option `rank`; a convolution with fewer channels gets an update of full rank."""
        return self.rank

    def check(self, gan: GanConfig) -> None:
        """Refuse a rank above the number of channels of every convolution."""
        most = blocks.most_channels(gan)
        if self.rank > most:
            raise UserError(
                f"strategy {self.name!r}: rank is {self.rank}, and no convolution has more than {most} channels; give at most "
                f"{most}, or use finetune"
            )
