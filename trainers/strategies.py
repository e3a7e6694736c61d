"""Init strategies: how a trial starts from its source, and what it may change.

A strategy is one frozen object and one line in the registry. It declares; `trainers.trial` and `trainers.checkpoints` carry
out. Options stand behind its name in brackets: ``finetune[from=unconditional]``. Needs no torch, so that planning is quick.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from trainers.errors import UserError, unknown_name

Network = Literal["generator", "critic"]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a trial starts.

    Attributes:
        name: as in the sweep file.
        copied: the networks whose every tensor is copied from the source; the others start afresh.
        about: one line for people, with the work it follows.
        source_conditional: whether the source was pre-trained with labels; None for as the trial itself is (option `from`).
    """

    name: str
    copied: tuple[Network, ...]
    about: str
    source_conditional: bool | None = None

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


_WITH_OPTIONS = re.compile(r"(?P<name>[^\[\]]+)\[(?P<options>[^\[\]]*)\]")
_FROM = {"conditional": True, "unconditional": False}


def get_strategy(text: str) -> Strategy:
    """Return the strategy of that name, with the options that it bears.

    Raises:
        UserError: there is none of that name (the nearest are named), or an option makes no sense.
    """
    found = _WITH_OPTIONS.fullmatch(text)
    name = found["name"] if found else text
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    strategy = STRATEGIES[name]
    if not found:
        return strategy
    key, _, value = found["options"].partition("=")
    if key != "from" or value not in _FROM or not strategy.needs_source:
        raise UserError(
            f"strategy {text!r}: the one option is from=conditional or from=unconditional, of a strategy that has a source; "
            "write e.g. finetune[from=unconditional]"
        )
    return replace(strategy, name=text, source_conditional=_FROM[value])


def in_cell(strategy: Strategy, conditional: bool) -> tuple[str, bool]:
    """Return a strategy's name in a cell, and whether its source is conditional; said where that is not as the cell is."""
    wanted = conditional if strategy.source_conditional is None else strategy.source_conditional
    return strategy.name.partition("[")[0] if wanted == conditional else strategy.name, wanted
