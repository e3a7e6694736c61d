"""Adaptive filter modulation (Zhao, Cong & Carin 2020)."""

from dataclasses import dataclass, replace

from trainers.config.blocks import Network
from trainers.config.settings import GanConfig
from trainers.config.strategies.freezing import FreezeLow
from trainers.config.strategy import KernelUpdate, Phase


@dataclass(frozen=True, kw_only=True)
class AdaFM(FreezeLow):
    """As freeze-low, but the generator's frozen kernels are scaled and shifted (AdaFM, Zhao, Cong & Carin 2020).

    Each kernel, of one input and one output channel, has a scale and a shift of its own, which are trained. The paper keeps 4
    blocks of the generator and 2 of the critic in networks for 128 pixels, and replaces the others by smaller ones; here these
    keep their shape and start at random.
    """

    key = "adafm"
    formula = "as freeze-low; W = gamma * Ws + beta for each frozen kernel of G, with gamma = 1 and beta = 0 at step 0"

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """One phase, with the copied tensors frozen and the modulation trained."""
        (phase,) = super().phases(gan)
        return (replace(phase, generator=replace(phase.generator, besides=("*.adafm_*",))),)

    def kernel_update(self, network: Network, gan: GanConfig) -> KernelUpdate | None:
        """The modulation of the generator's copied convolutions."""
        return KernelUpdate("scale-shift", part=self.copied(network, gan)) if network == "generator" else None
