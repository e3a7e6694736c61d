"""The strategies: how a trial starts from its source, and which parameters it trains.

Each is a small class and one line in the registry, or a plug-in. Its fields are options, given in brackets after its name:
``freeze-d[blocks=2]``. Needs no torch, so planning is quick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar

from trainers.common.errors import UserError
from trainers.config import blocks, plugins
from trainers.config.blocks import Network
from trainers.config.options import option, parse
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS, Part, Penalty, Phase, Strategy


@dataclass(frozen=True, kw_only=True)
class Scratch(Strategy):
    """Both networks are initialised at random: the baseline."""

    key = "scratch"
    formula = "G0 and D0 are random"
    copies = ()


@dataclass(frozen=True, kw_only=True)
class Finetune(Strategy):
    """Both networks start from the source's (TransferGAN, Wang et al. 2018)."""

    key = "finetune"
    formula = "G0 = Gs, D0 = Ds"


@dataclass(frozen=True, kw_only=True)
class FinetuneG(Strategy):
    """Only the generator is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-g"
    formula = "G0 = Gs, D0 is random"
    copies = ("generator",)


@dataclass(frozen=True, kw_only=True)
class FinetuneD(Strategy):
    """Only the critic is pre-trained (Wang et al. 2018, T1)."""

    key = "finetune-d"
    formula = "G0 is random, D0 = Ds"
    copies = ("critic",)


@dataclass(frozen=True, kw_only=True)
class _ByBlocks(Strategy):
    """Base of the strategies that keep blocks of some networks."""

    keeps: ClassVar[Mapping[Network, str]]
    """The option that counts the blocks kept, by network."""

    def check(self, gan: GanConfig) -> None:
        """Refuse more blocks than such a network has."""
        for network, name in self.keeps.items():
            limit = blocks.count(network, gan)
            if (kept := getattr(self, name)) > limit:
                raise UserError(
                    f"strategy {self.name!r}: {name} is {kept}, and the {network} of gan.family {gan.family} at "
                    f"{gan.resolution} pixels has {limit} that can be kept; give at most {limit}"
                    + ("" if limit else ", which means: another strategy, or a higher gan.resolution")
                )


@dataclass(frozen=True, kw_only=True)
class FreezeD(_ByBlocks):
    """The critic's blocks nearest to the images are frozen (FreezeD, Mo, Cho & Shin 2020)."""

    key = "freeze-d"
    formula = "G0 = Gs, D0 = Ds; D = Ds in the `blocks` blocks nearest to the images"
    keeps = MappingProxyType({"critic": "blocks"})
    blocks: int = option(1, "critic blocks frozen, from the images on", low=1, search=[1, 2, 3])

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with a part of the critic frozen."""
        return (Phase(critic=Part(but=blocks.image_side("critic", gan, self.blocks))),)


@dataclass(frozen=True, kw_only=True)
class FreezeG(_ByBlocks):
    """The generator's blocks nearest to the latent are frozen (FreezeG, Lee et al. 2020)."""

    key = "freeze-g"
    formula = "G0 = Gs, D0 = Ds; G = Gs in the linear map and the `blocks` blocks nearest to the latent"
    keeps = MappingProxyType({"generator": "blocks"})
    blocks: int = option(1, "generator blocks frozen, from the latent on; 0: its linear map alone", low=0, search=[0, 1, 2])

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with a part of the generator frozen."""
        return (Phase(generator=Part(but=blocks.latent_side(gan, self.blocks))),)


@dataclass(frozen=True, kw_only=True)
class FreezeLow(_ByBlocks):
    """The blocks nearest to the images are copied and frozen; the others start at random (Zhao, Cong & Carin 2020).

    This is the paper's GmDn: `generator` is its m and `critic` its n, without its adaptive filter modulation. It keeps 4 blocks
    of the generator and 2 of the critic in networks for 128 pixels, which have 5 or more. Networks for 16 pixels have only 2.
    """

    key = "freeze-low"
    formula = "G = Gs and D = Ds in the blocks nearest to the images; G0 and D0 are random in the others"
    keeps = MappingProxyType({"generator": "generator", "critic": "critic"})
    generator: int = option(1, "generator blocks kept, from the images on", low=1, search=[1, 2, 3, 4])
    critic: int = option(1, "critic blocks kept, from the images on", low=1, search=[1, 2, 3])

    def copied(self, network: Network, gan: GanConfig) -> Part:
        """The blocks nearest to the images."""
        return Part(names=blocks.image_side(network, gan, getattr(self, self.keeps[network])))

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with the copied tensors frozen."""
        kept = {network: Part(but=self.copied(network, gan).names) for network in NETWORKS}
        return (Phase(generator=kept["generator"], critic=kept["critic"]),)


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

    def name_of(plugin: Any) -> str | None:
        return getattr(plugin, "key", "") if isinstance(plugin, type) and issubclass(plugin, Strategy) else None

    expected = "a subclass of trainers.config.strategy.Strategy"
    return {**STRATEGIES, **plugins.load("transfergan.strategies", expected, name_of, STRATEGIES)}


@cache
def get_strategy(text: str) -> Strategy:
    """Return the strategy that a name with options, such as ``freeze-d[blocks=2]``, stands for.

    Raises:
        UserError: the name is unknown (the nearest names are suggested), or an option is invalid.
    """
    return parse("strategy", text, strategies(), "finetune[from=unconditional]")


@cache
def in_cell(strategy: Strategy, conditional: bool) -> tuple[str, bool]:
    """Return a strategy's name in a cell, with `from` only if source and cell differ, and whether its source is conditional."""
    wanted = conditional if strategy.source_conditional is None else strategy.source_conditional
    return replace(strategy, source_conditional=None).name if wanted == conditional else strategy.name, wanted
