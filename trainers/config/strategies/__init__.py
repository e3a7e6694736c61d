"""The strategies: how a trial starts from its source, and which parameters it trains.

Each is a small class and one line in the registry, or a plug-in. Its fields are options, given in brackets after its name:
``freeze-d[blocks=2]``. Needs no torch, so planning is quick.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from trainers.config import plugins
from trainers.config.options import parse
from trainers.config.strategies.adafm import AdaFM
from trainers.config.strategies.adaptation_aware import AdAM
from trainers.config.strategies.cdc import CDC
from trainers.config.strategies.copying import Finetune, FinetuneD, FinetuneG, Scratch
from trainers.config.strategies.few_parameters import LoRA, ScaleShift
from trainers.config.strategies.freezing import FreezeD, FreezeG, FreezeLow
from trainers.config.strategies.held import EWC, L2SP
from trainers.config.strategies.phased import LinearProbeThenFinetune, Mine
from trainers.config.strategy import Strategy

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.key: strategy
    for strategy in (
        Scratch,
        Finetune,
        FinetuneG,
        FinetuneD,
        FreezeD,
        FreezeG,
        FreezeLow,
        AdaFM,
        ScaleShift,
        L2SP,
        EWC,
        CDC,
        LoRA,
        AdAM,
        Mine,
        LinearProbeThenFinetune,
    )
}


@cache
def strategies() -> Mapping[str, type[Strategy]]:
    """Return every strategy by name, the built-in ones before those of plug-ins.

    Raises:
        UserError: a plug-in is not what it should be.
    """

    def name_of(plugin: Any) -> str | None:
        return getattr(plugin, "key", "") if isinstance(plugin, type) and issubclass(plugin, Strategy) else None

    expected = "a subclass of trainers.config.strategy.Strategy"
    return {**STRATEGIES, **plugins.load("transfergan.strategies", expected, name_of, STRATEGIES)}


@cache
def get_strategy(text: str) -> Strategy:
    """Return the strategy that a name with options, such as ``freeze-d[blocks=2]``, stands for.

    Raises:
        UserError: the name is unknown (the nearest names are suggested), or an option is invalid.
    """
    return parse("strategy", text, strategies(), "finetune[from=unconditional]")


@cache
def in_cell(strategy: Strategy, conditional: bool) -> tuple[str, bool]:
    """Return a strategy's name in a cell, with `from` only if source and cell differ, and whether its source is conditional."""
    wanted = conditional if strategy.source_conditional is None else strategy.source_conditional
    return replace(strategy, source_conditional=None).name if wanted == conditional else strategy.name, wanted
