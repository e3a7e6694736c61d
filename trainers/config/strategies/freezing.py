"""Strategies that keep or freeze blocks of the networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from trainers.common.errors import UserError
from trainers.config import blocks
from trainers.config.blocks import Network
from trainers.config.options import option
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS, Part, Phase, Strategy


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
