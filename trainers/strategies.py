"""Init strategies: how a trial starts from its source, and what it may change.

A strategy is one frozen object and one line in the registry. It declares; `trainers.trial` and `trainers.checkpoints` carry
out. Needs no torch, so that planning is quick.
"""

from dataclasses import dataclass
from typing import Literal

from trainers.errors import unknown_name

Network = Literal["generator", "critic"]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a trial starts.

    Attributes:
        name: as in the sweep file.
        copied: the networks whose every tensor is copied from the source; the others start afresh.
        about: one line for people, with the work it follows.
    """

    name: str
    copied: tuple[Network, ...]
    about: str

    @property
    def needs_source(self) -> bool:
        """Whether a trial with this strategy has a source."""
        return bool(self.copied)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(name="scratch", copied=(), about="both networks start afresh: the baseline"),
        Strategy(
            name="finetune",
            copied=("generator", "critic"),
            about="both networks start from the source's (TransferGAN, Wang et al. 2018)",
        ),
        Strategy(name="finetune-g", copied=("generator",), about="only the generator is pre-trained (Wang et al. 2018, T1)"),
        Strategy(name="finetune-d", copied=("critic",), about="only the critic is pre-trained (Wang et al. 2018, T1)"),
    )
}


def get_strategy(name: str) -> Strategy:
    """Return the strategy of that name. Raises UserError with the nearest names."""
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return STRATEGIES[name]
