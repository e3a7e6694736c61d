"""The interface of a strategy: which tensors are copied, which are trained when, and which are held near the source.

A strategy only declares this; `trainers.trial.transfer` and `trainers.adaptation` carry it out. Needs no torch, so planning is
quick.
"""

import fnmatch
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from trainers.common.errors import UserError
from trainers.config.blocks import Network
from trainers.config.options import Optioned, option
from trainers.config.settings import GanConfig, TrainingConfig


@dataclass(frozen=True)
class Part:
    """The tensors of a network whose names match one of `names` and none of `but`, or one of `besides` (as in fnmatch)."""

    names: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()

    def has(self, tensor: str) -> bool:
        """Return whether the part contains a tensor, given by its name."""
        return (_matches(tensor, self.names) and not _matches(tensor, self.but)) or _matches(tensor, self.besides)

    @property
    def rest(self) -> str:
        """The other tensors, in words."""
        if self.names == ("*",):
            return _words(self.but) if self.but else "none"
        return "all else" if self.names else "all"

    def __str__(self) -> str:
        if not self.names:
            return "none"
        besides = f", and {_words(self.besides)}" if self.besides else ""
        if self.names == ("*",):
            return f"all but {_words(self.but)}{besides}" if self.but else "all"
        return _words(self.names) + besides


ALL, NONE = Part(), Part(names=())
NETWORKS: tuple[Network, ...] = ("generator", "critic")


def _matches(tensor: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(tensor, pattern) for pattern in patterns)


def _words(patterns: tuple[str, ...]) -> str:
    return " ".join(pattern.removesuffix(".*") for pattern in patterns)


@dataclass(frozen=True)
class Phase:
    """A part of the training up to a share `until` of the trial's steps, and the tensors trained in it; all others are frozen.

    Tensors that only concern classes, such as the class head, are always trained: the source may not have the classes.
    """

    until: float = 1.0
    generator: Part = ALL
    critic: Part = ALL
    keeps: float | None = None
    """Of a probe: the share of the kernels whose modulation (`rank-one`) is kept at its end, those with the most Fisher
    information. Training then starts again from the source, and the other kernels are trained themselves."""

    def of(self, network: Network) -> Part:
        """Return the tensors of a network that are trained."""
        return self.generator if network == "generator" else self.critic


@dataclass(frozen=True)
class Penalty:
    """A penalty on the distance of `networks` from the source: weight / 2 * sum of importance * (now - source)^2.

    The importance is 1, or with `fisher` the diagonal of the source's Fisher information divided by its mean over the network.
    """

    weight: float
    fisher: bool = False
    networks: tuple[Network, ...] = NETWORKS


@dataclass(frozen=True)
class Correspondence:
    """The similarities between generated images are held near the source's by a divergence of weight `weight`.

    The critic is relaxed: it judges as a whole only images of latents near `anchors` fixed ones, and of the others patches.
    """

    weight: float
    anchors: int


@dataclass(frozen=True)
class KernelUpdate:
    """Parameters that change the convolutions of a network whose weights are in `part`; at first they change nothing.

    `low-rank`: a matrix of rank `rank` is added to the weight (tensors ``*.lora_*``). `scale-shift`: each kernel, of one input
    and one output channel, is scaled and shifted (``*.adafm_*``). `rank-one`: the kernels of each output channel are multiplied
    elementwise by one plus a matrix of rank one (``*.kml_*``).
    """

    kind: Literal["low-rank", "scale-shift", "rank-one"]
    rank: int = 0
    part: Part = ALL


@dataclass(frozen=True, kw_only=True)
class Strategy(Optioned):
    """How a trial starts and what it trains; by default both networks are copied and trained.

    A subclass has its name in `key` and its paper in the first line of its docstring, and overrides what differs.
    """

    copies: ClassVar[tuple[Network, ...]] = ("generator", "critic")
    """The networks that are copied from the source; the others are initialised at random."""
    formula: ClassVar[str] = ""
    """Its definition. G and D are the parameters of generator and critic, G0 and D0 those at step 0, Gs and Ds the source's."""
    mines: ClassVar[bool] = False
    """Whether a miner network maps the latents for the generator."""

    lecam: float = option(0.0, "weight of LeCam regularisation of the critic (Tseng et al. 2021: 0.3)", low=0)
    rate: float = option(1.0, "factor of the learning rates of both networks", above=0)
    source_conditional: bool | None = option(
        None, "whether the source has labels", name="from", choices={"conditional": True, "unconditional": False}
    )
    """Whether the source was pre-trained with labels; None: as the trial is."""

    @classmethod
    def about(cls) -> str:
        """Return the description in one line, with the paper."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @property
    def needs_source(self) -> bool:
        """Whether a trial with this strategy has a source."""
        return bool(self.copies)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the options by name, last those of every strategy; only strategies with a source have `from`."""
        options = super().options()
        last = {name: options.pop(name) for name in ("lecam", "rate", "from")}
        if not cls.copies:
            del last["from"]
        return {**options, **last}

    def copied(self, network: Network, gan: GanConfig) -> Part:
        """Return the tensors of a network that are copied from the source; the others are initialised at random."""
        return ALL if network in self.copies else NONE

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """Return the phases of the training in order; the last one ends with the training."""
        return (Phase(),)

    def rate_factor(self, network: Network) -> float:
        """Return the factor by which a network's learning rate differs from the training's `generator_lr` or `critic_lr`.

        By default it is the option `rate`. Strategies that train few parameters have a larger one, as they need it to change as
        much as a whole network. It applies to every parameter of the network that is trained, the class head included.
        """
        return self.rate

    @property
    def penalty(self) -> Penalty | None:
        """The penalty that holds the copied tensors near the source, if there is one."""
        return None

    @property
    def correspondence(self) -> Correspondence | None:
        """What holds the generated images as similar to each other as in the source, if anything does."""
        return None

    @property
    def update_rank(self) -> int:
        """Rank of every convolution's low-rank update; 0 if there are no updates."""
        return 0

    def kernel_update(self, network: Network, gan: GanConfig) -> KernelUpdate | None:
        """Return what changes the convolutions of a network; by default their low-rank updates, if there are any."""
        return KernelUpdate("low-rank", self.update_rank) if self.update_rank else None

    def check(self, gan: GanConfig) -> None:
        """Raise UserError if an option does not fit these networks."""

    def check_loss(self, training: TrainingConfig) -> None:
        """Raise UserError if an option does not fit the loss of this training."""
        if self.lecam and training.loss == "wgan-gp" and training.gradient_penalty:
            raise UserError(
                f"strategy {self.name!r}: lecam does not go with the gradient penalty of training.loss wgan-gp: the penalty "
                "wants scores of slope 1, lecam wants them within 1 / (4 * lecam); set training.loss to hinge or "
                "non-saturating, or training.gradient_penalty to 0"
            )
