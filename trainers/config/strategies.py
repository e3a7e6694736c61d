"""Init strategies: how a trial starts from its source, and what it may change.

Each is a small class and one line in the registry. Its fields are options, which stand behind its name in brackets:
``freeze-d[blocks=2]``. Needs no torch, so that planning is quick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from trainers.common.errors import UserError
from trainers.config import blocks, plugins
from trainers.config.blocks import Network
from trainers.config.options import option, parse
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS, Part, Penalty, Phase, Strategy


@dataclass(frozen=True, kw_only=True)
class Scratch(Strategy):
    """Both networks start afresh: the baseline."""

    key = "scratch"
    copies = ()


@dataclass(frozen=True, kw_only=True)
class Finetune(Strategy):
    """Both networks start from the source's (TransferGAN, Wang et al. 2018)."""

    key = "finetune"


@dataclass(frozen=True, kw_only=True)
class FinetuneG(Strategy):
    """Only the generator is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-g"
    copies = ("generator",)


@dataclass(frozen=True, kw_only=True)
class FinetuneD(Strategy):
    """Only the critic is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-d"
    copies = ("critic",)


@dataclass(frozen=True, kw_only=True)
class FreezeD(Strategy):
    """The critic's blocks nearest to the images stay as they are (FreezeD, Mo, Cho & Shin 2020)."""

    key = "freeze-d"
    blocks: int = option(1, "critic blocks frozen, from the images on", low=1)

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One, with a part of the critic frozen."""
        return (Phase(critic=Part(but=blocks.image_side("critic", gan, self.blocks))),)

    def check(self, gan: GanConfig) -> None:
        """Refuse more blocks than the critic has."""
        self.check_blocks(self.blocks, {"the critic": blocks.count("critic", gan)}, gan)


@dataclass(frozen=True, kw_only=True)
class FreezeG(Strategy):
    """The generator's blocks nearest to the latent stay as they are (FreezeG, Lee et al. 2020)."""

    key = "freeze-g"
    blocks: int = option(1, "generator blocks frozen, from the latent on; 0: its linear map alone", low=0)

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One, with a part of the generator frozen."""
        return (Phase(generator=Part(but=blocks.latent_side(gan, self.blocks))),)

    def check(self, gan: GanConfig) -> None:
        """Refuse more blocks than the generator has."""
        self.check_blocks(self.blocks, {"the generator": blocks.count("generator", gan)}, gan)


@dataclass(frozen=True, kw_only=True)
class FreezeLow(Strategy):
    """The blocks nearest to the images are copied and stay; the rest starts afresh (Zhao, Cong & Carin 2020)."""

    key = "freeze-low"
    blocks: int = option(1, "blocks of either network kept, from the images on", low=1)

    def copied(self, network: Network, gan: GanConfig) -> Part:
        """The blocks nearest to the images."""
        return Part(names=blocks.image_side(network, gan, self.blocks))

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One, in which what was copied stays."""
        kept = {network: Part(but=self.copied(network, gan).names) for network in NETWORKS}
        return (Phase(generator=kept["generator"], critic=kept["critic"]),)

    def check(self, gan: GanConfig) -> None:
        """Refuse more blocks than either network has."""
        self.check_blocks(self.blocks, {f"the {each}": blocks.count(each, gan) for each in NETWORKS}, gan)


@dataclass(frozen=True, kw_only=True)
class ScaleShift(Strategy):
    """Of the generator only the norms' scales and shifts are trained (Noguchi & Harada 2019); the critic is trained whole."""

    key = "scale-shift"

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One, with the generator's norms and the critic."""
        return (Phase(generator=Part(names=("*.scale", "*.shift"))),)


@dataclass(frozen=True, kw_only=True)
class L2SP(Strategy):
    """Both networks are held near the source by a squared distance (L2-SP, Li, Grandvalet & Davoine 2018)."""

    key = "l2-sp"
    weight: float = option(0.1, "weight of the squared distance", low=0)

    @property
    def penalty(self) -> Penalty:
        """The same for every parameter that was copied; one that starts afresh is free."""
        return Penalty(self.weight)


@dataclass(frozen=True, kw_only=True)
class EWC(Strategy):
    """Both networks are held near the source where that matters to it (EWC, Li et al. 2020)."""

    key = "ewc"
    weight: float = option(1.0, "weight of the squared distance, by importance", low=0)

    @property
    def penalty(self) -> Penalty:
        """By the Fisher information of the source's networks on the source's own samples."""
        return Penalty(self.weight, fisher=True)


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
    """Convolutions are trained by low-rank updates, the rest stays as it is (LoRA, Hu et al. 2022)."""

    key = "lora"
    rank: int = option(4, "rank of each convolution's update", low=1)

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One, with the updates alone."""
        updates = Part(names=("*.lora_*",))
        return (Phase(generator=updates, critic=updates),)

    @property
    def update_rank(self) -> int:
        """As the option says; a convolution with fewer channels gets an update of full rank."""
        return self.rank

    def check(self, gan: GanConfig) -> None:
        """Refuse a rank that is low nowhere."""
        most = gan.width * 2 ** min(gan.scales - 1, 3)
        if self.rank > most:
            raise UserError(
                f"strategy {self.name!r}: rank is {self.rank}, and no convolution has more than {most} channels; give at most "
                f"{most}, or use finetune"
            )


@dataclass(frozen=True, kw_only=True)
class Mine(Strategy):
    """First a miner before the frozen generator learns which latents suit, then all is trained (MineGAN, Wang et al. 2020)."""

    key = "mine"
    share: float = option(0.25, "share of the steps in which the generator is frozen", low=0.0, high=1.0)

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """Miner and critic, then all."""
        return (Phase(until=self.share, generator=Part(names=("input.miner.*",))), Phase())

    @property
    def mines(self) -> bool:
        """It does."""
        return True


@dataclass(frozen=True, kw_only=True)
class LinearProbeThenFinetune(Strategy):
    """First the linear layers at the far ends of the networks alone, then all (Kumar et al. 2022).

    These are the critic's head over its frozen features, and the generator's linear map from the latent into its own.
    """

    key = "linear-probe-then-finetune"
    share: float = option(0.25, "share of the steps in which the linear layers alone are trained", low=0.0, high=1.0)

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """The linear layers, then all."""
        probe = Phase(until=self.share, generator=Part(names=("input.*",)), critic=Part(names=("score.*",)))
        return (probe, Phase())


STRATEGIES: dict[str, type[Strategy]] = {
    strategy.key: strategy
    for strategy in (
        Scratch,
        Finetune,
        FinetuneG,
        FinetuneD,
        FreezeD,
        FreezeG,
        FreezeLow,
        ScaleShift,
        L2SP,
        EWC,
        LoRA,
        Mine,
        LinearProbeThenFinetune,
    )
}


@cache
def strategies() -> Mapping[str, type[Strategy]]:
    """Return every strategy by name, the built-in ones before those of plug-ins.

    Raises:
        UserError: a plug-in is not what it should be.
    """
    expected = "a subclass of trainers.config.strategy.Strategy"
    return {**STRATEGIES, **plugins.load("transfergan.strategies", expected, _name_of, STRATEGIES)}


def _name_of(plugin: Any) -> str | None:
    return getattr(plugin, "key", "") if isinstance(plugin, type) and issubclass(plugin, Strategy) else None


@cache
def get_strategy(text: str) -> Strategy:
    """Return the strategy of that name, with the options that it bears.

    Raises:
        UserError: there is none of that name (the nearest are named), or an option makes no sense.
    """
    return parse("strategy", text, strategies(), "finetune[from=unconditional]")


@cache
def in_cell(strategy: Strategy, conditional: bool) -> tuple[str, bool]:
    """Return a strategy's name in a cell, and whether its source is conditional; said where that is not as the cell is."""
    wanted = conditional if strategy.source_conditional is None else strategy.source_conditional
    return replace(strategy, source_conditional=None).name if wanted == conditional else strategy.name, wanted
