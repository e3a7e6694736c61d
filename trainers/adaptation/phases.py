"""A strategy applied to the networks of one trial: its additions to them, and the parameters trained in each phase."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from trainers.adaptation.anchors import Anchors
from trainers.adaptation.correspondence import Correspondence, RelaxedCritic, add_patch_head
from trainers.adaptation.filter_modulation import FilterModulation
from trainers.adaptation.kernel_modulation import KernelModulation, keep_important
from trainers.adaptation.lecam import LeCam
from trainers.adaptation.low_rank import LowRankUpdate
from trainers.adaptation.weight_updates import WeightUpdate, add_updates
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.blocks import Network
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.config.strategy import NETWORKS, KernelUpdate, Phase, Strategy
from trainers.networks import Critic, Generator, for_classes_only
from trainers.networks.layers import Input, Miner


def equip(strategy: Strategy, gan: GanConfig, networks: Mapping[str, nn.Module], seed: int) -> None:
    """Add a strategy's miner, head for patches or updates of convolutions to networks; no image and no score of one changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("adaptation", seed))
        if strategy.mines:
            add_miner(networks["generator"])
        if strategy.correspondence is not None:
            add_patch_head(networks["critic"], gan)
        for name in NETWORKS:
            if (update := strategy.kernel_update(name, gan)) is not None:
                add_updates(networks[name], update.part, partial(_update, update))


def _update(update: KernelUpdate, convolution: nn.Module, weight: Tensor) -> WeightUpdate:
    if update.kind == "low-rank":
        return LowRankUpdate(weight, update.rank)
    if update.kind == "scale-shift":
        return FilterModulation(weight)
    return KernelModulation(weight, transposed=getattr(convolution, "transposed", False))


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
    """The phases, the penalty and the regularisation of a strategy during training.

    Attributes:
        strategy: the strategy.
        anchors: the penalty on the distance from the source; None for a strategy without one.
        lecam: the regularisation of the critic's scores; None for a strategy without it.
        correspondence: holds similarities between images as in the source; None for a strategy without it.
        critic: what scores images in training: the critic, or a relaxed one in its place.
    """

    def __init__(
        self, strategy: Strategy, gan: GanConfig, training: TrainingConfig, networks: Mapping[str, nn.Module],
        anchors: Anchors | None, seed: int,
    ) -> None:  # fmt: skip
        """Take the networks, already equipped, right after the transfer."""
        generator, critic = networks["generator"], networks["critic"]
        assert isinstance(generator, Generator)
        assert isinstance(critic, Critic)
        self.anchors = anchors
        self.lecam = LeCam(strategy.lecam, next(critic.parameters()).device) if strategy.lecam else None
        self.correspondence: Correspondence | None = None
        self.critic = critic
        if (declared := strategy.correspondence) is not None:
            anchored = torch.Generator().manual_seed(derive_seed("anchors", seed))
            self.correspondence = Correspondence(declared.weight, declared.anchors, generator, gan, training.batch, anchored)
            self.critic = RelaxedCritic(critic, gan, training.batch)
        self.strategy = strategy
        self._networks = networks
        self._phases = [(round(phase.until * training.steps), phase) for phase in strategy.phases(gan)]
        self._phase: Phase | None = None
        # Whether the kernels are chosen that stay modulated; a tensor, since a checkpoint has it.
        self._chosen = torch.zeros((), dtype=torch.bool)

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
                raise UserError(f"strategy {self.strategy.name!r} trains no parameter of the {name} at step {step}")
            for key, parameter in network.named_parameters():
                parameter.requires_grad_(key in chosen)
        return True

    def ends_probe(self, step: int) -> bool:
        """Return whether a probe has ended before a step, and `choose_kernels` was not called yet."""
        end, phase = self._phases[0]
        return phase.keeps is not None and step >= end and not self._chosen

    def choose_kernels(self, fisher: Mapping[str, Tensor], seed: int) -> None:
        """Choose the kernels whose modulation is kept, by Fisher information by ``NETWORK.PARAMETER``; it starts anew."""
        keeps = self._phases[0][1].keeps
        assert keeps is not None
        random = torch.Generator().manual_seed(derive_seed("kernels", seed))
        for name in NETWORKS:
            of_network = {key.removeprefix(f"{name}."): value for key, value in fisher.items() if key.startswith(f"{name}.")}
            keep_important(self._networks[name], of_network, keeps, random)
        self._chosen.fill_(True)

    def penalty(self, name: str) -> Tensor | None:
        """Return the penalty on a network's distance from the source, a scalar; None if the strategy does not hold it."""
        return None if self.anchors is None else self.anchors.penalty(name, self._networks[name])

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that the strategy adds to a resumable checkpoint."""
        parts = (part for part in (self.anchors, self.lecam, self.correspondence) if part is not None)
        chosen = {} if self._phases[0][1].keeps is None else {"kernels.chosen": self._chosen}
        return {**chosen, **{name: tensor for part in parts for name, tensor in part.state().items()}}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the tensors that `state` returned, on a device."""
        if self.anchors is not None:
            self.anchors.load(tensors, device)
        if "kernels.chosen" in tensors:
            self._chosen.copy_(tensors["kernels.chosen"])
        for part in (self.lecam, self.correspondence):
            if part is not None:
                part.load(tensors)
