"""A strategy at work on the networks of one trial: what it adds to them, and what is trained when."""

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
from trainers.networks.layers import LatentInput, Miner


def equip(strategy: Strategy, networks: Mapping[str, nn.Module], seed: int) -> None:
    """Add to networks what a strategy trains beside them, a miner or low-rank updates; at first it changes no image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("adaptation", seed))
        if strategy.mines:
            add_miner(networks["generator"])
        if strategy.update_rank:
            for network in networks.values():
                add_updates(network, strategy.update_rank)


def add_miner(generator: nn.Module) -> None:
    """Put a fresh miner before a generator."""
    entrance = generator.get_submodule("input")
    assert isinstance(entrance, LatentInput)
    entrance.miner = Miner(entrance.latent.in_features).to(entrance.latent.weight.device)


def trained(phase: Phase, name: Network, network: nn.Module) -> list[str]:
    """Return the names of the parameters of a network that are trained in a phase."""
    part = phase.of(name)
    return [key for key, _ in network.named_parameters() if part.has(key) or for_classes_only(key)]


class Adaptation:
    """What a strategy has to say while its trial is trained.

    Attributes:
        anchors: hold parameters near the source; None where the strategy does not.
    """

    def __init__(
        self, strategy: Strategy, gan: GanConfig, steps: int, networks: Mapping[str, nn.Module], anchors: Anchors | None
    ) -> None:  # fmt: skip
        """Take up networks that are equipped already, for a training of so many steps."""
        self.anchors = anchors
        self._strategy = strategy
        self._networks = networks
        self._phases = [(round(phase.until * steps), phase) for phase in strategy.phases(gan)]
        self._phase: Phase | None = None

    def enter(self, step: int) -> bool:
        """Let the parameters be trained that are so at a step, counted from 0; say whether these are others than before.

        Raises:
            UserError: they are none.
        """
        phase = next((phase for end, phase in self._phases if step < end), self._phases[-1][1])
        if phase is self._phase:
            return False
        self._phase = phase
        for name in NETWORKS:
            network = self._networks[name]
            chosen = set(trained(phase, name, network))
            if not chosen:
                raise UserError(f"strategy {self._strategy.name!r} leaves nothing of the {name} to be trained at step {step}")
            for key, parameter in network.named_parameters():
                parameter.requires_grad_(key in chosen)
        return True

    def penalty(self, name: str) -> Tensor | None:
        """Return what a network pays for having moved away from the source; None where the strategy asks for nothing."""
        return None if self.anchors is None else self.anchors.penalty(name, self._networks[name])
