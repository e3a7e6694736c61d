"""A strategy applied to the networks of one trial: its additions to them, and the parameters trained in each phase."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.adaptation.anchors import Anchors
from trainers.adaptation.low_rank import add_updates
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.blocks import Network
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS, Phase, Strategy
from trainers.networks import for_classes_only
from trainers.networks.layers import Input, Miner


def equip(strategy: Strategy, networks: Mapping[str, nn.Module], seed: int) -> None:
    """Add a strategy's miner or low-rank updates to networks; they start as the identity, so no image changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("adaptation", seed))
        if strategy.mines:
            add_miner(networks["generator"])
        if strategy.update_rank:
            for network in networks.values():
                add_updates(network, strategy.update_rank)


def add_miner(generator: nn.Module) -> None:
    """Add a new miner to a generator's input."""
    latent_input = generator.get_submodule("input")
    assert isinstance(latent_input, Input)
    latent_input.miner = Miner(latent_input.latent.in_features).to(latent_input.latent.weight.device)


def trained(phase: Phase, name: Network, network: nn.Module) -> list[str]:
    """Return the names of a network's parameters that are trained in a phase; a class head always is."""
    part = phase.of(name)
    return [key for key, _ in network.named_parameters() if part.has(key) or for_classes_only(key)]


class Adaptation:
    """The phases and the penalty of a strategy during training.

    Attributes:
        anchors: the penalty on the distance from the source; None for a strategy without one.
    """

    def __init__(
        self, strategy: Strategy, gan: GanConfig, steps: int, networks: Mapping[str, nn.Module], anchors: Anchors | None
    ) -> None:  # fmt: skip
        """Take the networks, already equipped, and the generator steps of the whole training."""
        self.anchors = anchors
        self._strategy = strategy
        self._networks = networks
        self._phases = [(round(phase.until * steps), phase) for phase in strategy.phases(gan)]
        self._phase: Phase | None = None

    def enter(self, step: int) -> bool:
        """Set `requires_grad` for the phase of a step, counted from 0; return whether the phase changed.

        Raises:
            UserError: no parameter of a network is trained in the phase.
        """
        phase = next((phase for end, phase in self._phases if step < end), self._phases[-1][1])
        if phase is self._phase:
            return False
        self._phase = phase
        for name in NETWORKS:
            network = self._networks[name]
            chosen = set(trained(phase, name, network))
            if not chosen:
                raise UserError(f"strategy {self._strategy.name!r} trains no parameter of the {name} at step {step}")
            for key, parameter in network.named_parameters():
                parameter.requires_grad_(key in chosen)
        return True

    def penalty(self, name: str) -> Tensor | None:
        """Return the penalty on a network's distance from the source, a scalar; None if the strategy does not hold it."""
        return None if self.anchors is None else self.anchors.penalty(name, self._networks[name])
