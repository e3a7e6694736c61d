"""Adaptation-aware kernel modulation (Zhao et al. 2022)."""

from dataclasses import dataclass

from trainers.config.blocks import Network
from trainers.config.options import option
from trainers.config.settings import GanConfig
from trainers.config.strategy import KernelUpdate, Part, Phase, Strategy


@dataclass(frozen=True, kw_only=True)
class AdAM(Strategy):
    """Kernels that matter to the target are modulated with rank one, the others trained whole (AdAM, Zhao et al. 2022).

    In a probe, all kernels are modulated and nothing else is trained. At its end the Fisher information of the modulations
    tells which kernels matter, and training starts again from the source: these are frozen and modulated, and all other
    parameters are trained. The authors' code probes for 10 steps, here 0.05 of 200, and modulates half of the kernels.
    """

    key = "adam"
    formula = (
        "W = Ws * (1 + r c) for the kernels with the most Fisher information, with r = 0 at step 0; W0 = Ws for the others"
    )
    share: float = option(0.05, "share of the steps of the probe", above=0, high=1.0)
    modulated: float = option(0.5, "share of the kernels that are modulated", low=0.0, high=1.0, search=[0.25, 0.5, 0.75])

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """The probe, and the adaptation."""
        modulations = Part(names=("*.kml_*",))
        return (Phase(until=self.share, generator=modulations, critic=modulations, keeps=self.modulated), Phase())

    def kernel_update(self, network: Network, gan: GanConfig) -> KernelUpdate:
        """The modulation of every convolution."""
        return KernelUpdate("rank-one")
