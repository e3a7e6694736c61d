"""Strategies that hold parameters near the source: how far these travel, as a share of their way in fine-tuning."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.science.adaptations import STEPS, Adapted, adapted
from tests.benchmarks.science.table import Row
from trainers.config.strategies.copying import Finetune
from trainers.config.strategies.held import EWC, L2SP
from trainers.config.strategy import Penalty

#: The goal: the share of finetune's way that parameters travel at most, and FID over finetune's at most.
TRAVEL, HARM = 0.8, 1.5


@dataclass(frozen=True, kw_only=True)
class FormerEWC(EWC):
    """EWC as it was here before: both networks are held, with weight 1 (Li et al. 2020 hold the generator alone)."""

    key = "former-ewc"
    weight: float = 1.0

    @property
    def penalty(self) -> Penalty:
        """Both networks, by the Fisher information of each."""
        return Penalty(self.weight, fisher=True)


def anchors(quick: bool) -> Iterator[Row]:
    """Yield, for each strategy with a penalty, how far the generator travels, and its FID, compared with finetune."""
    free = adapted(Finetune(), 0, quick)
    for former, default in ((L2SP(weight=0.1), L2SP()), (FormerEWC(), EWC())):
        before, after = (adapted(strategy, 0, quick) for strategy in (former, default))
        yield Row(
            f"{default.key}: the generator's way from the source over finetune's, {STEPS} steps",
            _text(before, free),
            _text(after, free),
            f"way at most {TRAVEL:g}, FID at most {HARM:g} times",
            _way(after, free) <= TRAVEL and after.fid <= HARM * free.fid,
        )


def _way(held: Adapted, free: Adapted) -> float:
    return held.distances["generator"] / free.distances["generator"]


def _text(held: Adapted, free: Adapted) -> str:
    return f"{_way(held, free):.2f}, FID {held.fid / free.fid:.2f} times"
