"""What a strategy is: which of the source's tensors are copied, what is trained when, and what is held near the source.

A strategy declares; `trainers.transfers`, `trainers.adaptation` and `trainers.anchors` carry it out. Needs no torch, so that
planning is quick.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from trainers.common.errors import UserError
from trainers.config.blocks import Network
from trainers.config.options import Optioned, option
from trainers.config.settings import GanConfig


@dataclass(frozen=True)
class Part:
    """Some of a network's tensors: those whose names match one of `names` and none of `but` (patterns as in fnmatch)."""

    names: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def has(self, tensor: str) -> bool:
        """Say whether a tensor, by its name, is one of them."""
        return _matches(tensor, self.names) and not _matches(tensor, self.but)

    @property
    def rest(self) -> str:
        """The other tensors, in words."""
        if self.names == ("*",):
            return _words(self.but) if self.but else "none"
        return "all else" if self.names else "all"

    def __str__(self) -> str:
        if not self.names:
            return "none"
        if self.names == ("*",):
            return f"all but {_words(self.but)}" if self.but else "all"
        return _words(self.names)


ALL, NONE = Part(), Part(names=())
NETWORKS: tuple[Network, ...] = ("generator", "critic")


def _matches(tensor: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(tensor, pattern) for pattern in patterns)


def _words(patterns: tuple[str, ...]) -> str:
    return " ".join(pattern.removesuffix(".*") for pattern in patterns)


@dataclass(frozen=True)
class Phase:
    """A stretch of the training, and what is trained in it; what is not stays as it is.

    Attributes:
        until: where it ends, as a share of the trial's steps.
        generator, critic: what is trained. Tensors for classes alone, such as the class head, are always trained: the
            source may know nothing of these classes.
    """

    until: float = 1.0
    generator: Part = ALL
    critic: Part = ALL

    def of(self, network: Network) -> Part:
        """Return what is trained of a network."""
        return self.generator if network == "generator" else self.critic


@dataclass(frozen=True)
class Penalty:
    """A penalty on what moves away from the source: weight / 2 * sum of importance * (now - source)^2.

    The importance is 1, or with `fisher` the diagonal of the source's Fisher information over its mean.
    """

    weight: float
    fisher: bool = False


@dataclass(frozen=True, kw_only=True)
class Strategy(Optioned):
    """How a trial starts and what it may change; by default both networks are copied and trained, and nothing else is done.

    A subclass names itself in `key` and its paper in the first line of its docstring, and overrides what differs.
    """

    copies: ClassVar[tuple[Network, ...]] = ("generator", "critic")
    """The networks that are copied from the source; the others start afresh."""

    source_conditional: bool | None = option(
        None, "whether the source has labels", name="from", choices={"conditional": True, "unconditional": False}
    )
    """Whether the source was pre-trained with labels; None for as the trial itself is."""

    @classmethod
    def about(cls) -> str:
        """Return one line for people, with the work that it follows."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @property
    def needs_source(self) -> bool:
        """Whether a trial with this strategy has a source."""
        return bool(self.copies)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Return the options by name, `from` the last; it is one of a strategy with a source."""
        found = super().options()
        source = found.pop("from")
        return {**found, "from": source} if cls.copies else found

    def copied(self, network: Network, gan: GanConfig) -> Part:
        """Return the tensors of a network that are copied from the source; the others start afresh."""
        return ALL if network in self.copies else NONE

    def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
        """Return the stretches of the training, one after the other; the last one ends with it."""
        return (Phase(),)

    @property
    def penalty(self) -> Penalty | None:
        """What holds the copied tensors near the source, if anything does."""
        return None

    @property
    def update_rank(self) -> int:
        """Rank of the update that every convolution gets; 0 where convolutions are trained themselves."""
        return 0

    @property
    def mines(self) -> bool:
        """Whether a miner network stands before the generator."""
        return False

    def check(self, gan: GanConfig) -> None:
        """Raise UserError when an option does not fit these networks."""

    def check_blocks(self, blocks: int, most: Mapping[str, int], gan: GanConfig) -> None:
        """Raise UserError when there are fewer blocks than that: `most` has how many, by what has them ("the critic")."""
        for what, limit in most.items():
            if blocks > limit:
                raise UserError(
                    f"strategy {self.name!r}: blocks is {blocks}, and {what} of gan.family {gan.family} at "
                    f"{gan.resolution} pixels has {limit} that can be kept; give at most {limit}"
                    + ("" if limit else ", which means: another strategy, or a higher gan.resolution")
                )
