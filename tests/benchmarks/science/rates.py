"""Strategies that train few parameters, at the learning rate of fine-tuning and with their own factor of it."""

from collections.abc import Iterator
from statistics import fmean

from tests.benchmarks.science.adaptations import STEPS, adapted
from tests.benchmarks.science.table import Row
from trainers.config.strategies.copying import Finetune
from trainers.config.strategies.few_parameters import LoRA, ScaleShift
from trainers.config.strategy import Strategy

#: The goal: FID falls at least to this share of what it is at the shared rate.
FALL = 0.8


def rates(quick: bool) -> Iterator[Row]:
    """Yield, for each strategy with a factor of the learning rate, its FID as a multiple of finetune's without and with it."""
    seeds = (0,) if quick else (0, 1)
    for shared, default in ((ScaleShift(rate=1.0), ScaleShift()), (LoRA(rate=1.0), LoRA())):
        before, after = (_multiples(strategy, seeds, quick) for strategy in (shared, default))
        yield Row(
            f"{default.key}: FID over finetune's, digits from numerals, {STEPS} steps",
            f"{_text(before)} at the same rate",
            f"{_text(after)} at {default.rate:g} times that",
            f"at most {FALL:g} of the former",
            fmean(after) <= FALL * fmean(before),
        )


def _multiples(strategy: Strategy, seeds: tuple[int, ...], quick: bool) -> list[float]:
    """Return a strategy's FID over that of finetune with the same seed."""
    return [adapted(strategy, seed, quick).fid / adapted(Finetune(), seed, quick).fid for seed in seeds]


def _text(values: list[float]) -> str:
    """Return the mean of several values, with their range."""
    return f"{fmean(values):.2f}" + (f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else "")
