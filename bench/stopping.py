"""The early-stopping rule, as a pure function of a cell's rung results.

Synchronous successive halving (Jamieson & Talwalkar 2016) within each cell: at a rung, once every live trial of the cell
has reached it or ended, the best share goes on and the rest stop. Asynchronous halving would decide by who came first;
this rule sees only results, so neither order, nor cluster size, nor a restart changes who is stopped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bench.spec import StoppingConfig


@dataclass(frozen=True)
class Curve:
    """What a cell knows of one of its trials.

    Attributes:
        key: the trial's key.
        strategy: its strategy.
        values: the stopping metric (smaller is better) by rung, in generator steps.
        diverged: it ended by divergence, and will reach no further rung: as bad as can be at the next one.
        failed: it ended for a reason that says nothing of its quality (a crash, a source that failed): it counts at no
            further rung.
    """

    key: str
    strategy: str
    values: Mapping[int, float]
    diverged: bool = False
    failed: bool = False


class Action(Enum):
    """What a trial should do next."""

    GO = "go"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True)
class Verdict:
    """What a trial should do; `rung` is where it waits or stops, None where it goes on."""

    action: Action
    rung: int | None = None


GO = Verdict(Action.GO)


def judge(curves: Sequence[Curve], rungs: Sequence[int], rule: StoppingConfig) -> dict[str, Verdict]:
    """Return the verdict on every trial of a cell.

    Args:
        curves: the cell's trials, in any order.
        rungs: all rungs, ascending; the last is the budget, where nothing is decided.
        rule: share to keep, and whether every strategy's best is protected.
    """
    verdicts = {curve.key: GO for curve in curves}
    if rule.rule == "none":
        return verdicts
    live = list(curves)
    for rung in rungs[:-1]:
        arrived = [curve for curve in live if rung in curve.values]
        missing = [curve for curve in live if rung not in curve.values]
        if any(not (curve.diverged or curve.failed) for curve in missing):
            verdicts.update((curve.key, Verdict(Action.WAIT, rung)) for curve in arrived)
            return verdicts
        entered = len(arrived) + sum(curve.diverged for curve in missing)
        ranked = sorted(arrived, key=lambda curve: (_clamped(curve.values[rung]), curve.key))
        kept = ranked[: max(1, math.ceil(rule.keep * entered))]
        if rule.protect_strategies:
            best = {curve.strategy: curve for curve in reversed(ranked)}
            kept += [curve for curve in best.values() if curve not in kept]
        verdicts.update((curve.key, Verdict(Action.STOP, rung)) for curve in ranked if curve not in kept)
        live = kept
    return verdicts


def _clamped(value: float) -> float:
    """Return a value that sorts: NaN is the worst there is."""
    return math.inf if math.isnan(value) else value
