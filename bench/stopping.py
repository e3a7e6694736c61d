"""The early-stopping rules, as a pure function of a cell's rung results.

Synchronous successive halving (Jamieson & Talwalkar 2016) within each cell: at a rung, once every live trial of the cell
has reached it or ended, the best share goes on and the rest stop. Asynchronous halving would decide by who came first;
this rule sees only results, so neither order, nor cluster size, nor a restart changes who is stopped.

Beside that, a trial is stopped for what it has come to itself: its samples have collapsed, or it has long ceased to improve.
And some cells are audited: nobody is stopped in them, so that what the rules cost can be told afterwards.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        diversity: of its samples beside the reference images' (1: as diverse), by rung, where it was measured.
        failed: it ended for a reason that says nothing of its quality (a crash, a source that failed): it counts at no
            further rung.
    """

    key: str
    strategy: str
    values: Mapping[int, float]
    diverged: bool = False
    failed: bool = False
    diversity: Mapping[int, float] = field(default_factory=dict)


class Action(Enum):
    """What a trial should do next."""

    GO = "go"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True)
class Verdict:
    """What a trial should do; `rung` is where it waits or stops, None where it goes on; `why` it stops, "" for its rank."""

    action: Action
    rung: int | None = None
    why: str = ""


GO = Verdict(Action.GO)


def judge(curves: Sequence[Curve], rungs: Sequence[int], rule: StoppingConfig, cell: str = "") -> dict[str, Verdict]:
    """Return the verdict on every trial of a cell.

    Args:
        curves: the cell's trials, in any order.
        rungs: all rungs, ascending; the last is the budget, where nothing is decided.
        rule: who stops.
        cell: its key, which decides whether it is audited.
    """
    verdicts = {curve.key: GO for curve in curves}
    if rule.rule == "none" or audited(cell, rule.audit):
        return verdicts
    live = list(curves)
    for rung in rungs[:-1]:
        arrived = [curve for curve in live if rung in curve.values]
        missing = [curve for curve in live if rung not in curve.values]
        own = {curve.key: Verdict(Action.STOP, rung, why) for curve in arrived if (why := _collapse(curve, rung, rule))}
        verdicts.update(own)
        if any(not (curve.diverged or curve.failed) for curve in missing):
            verdicts.update((curve.key, Verdict(Action.WAIT, rung)) for curve in arrived if curve.key not in own)
            return verdicts
        entered = len(arrived) + sum(curve.diverged for curve in missing)
        sound = [curve for curve in arrived if curve.key not in own]
        ranked = sorted(sound, key=lambda curve: (_clamped(curve.values[rung]), curve.key))
        kept = ranked[: max(1, math.ceil(rule.keep * entered))]
        if rule.protect_strategies:
            best = {curve.strategy: curve for curve in reversed(ranked)}
            kept += [curve for curve in best.values() if curve not in kept]
        verdicts.update((curve.key, Verdict(Action.STOP, rung)) for curve in ranked if curve not in kept)
        for curve in kept[1:]:  # the best goes on, whatever it does
            if why := _plateau(curve, rungs[: rungs.index(rung) + 1], rule):
                verdicts[curve.key] = Verdict(Action.STOP, rung, why)
                kept.remove(curve)
        live = kept
    return verdicts


def audited(cell: str, share: float) -> bool:
    """Say whether a cell is among the share of all cells in which nobody is stopped: by its key's hash, so always the same."""
    return int.from_bytes(hashlib.sha256(f"audit {cell}".encode()).digest()[:8]) < share * 2**64


def _collapse(curve: Curve, rung: int, rule: StoppingConfig) -> str:
    """Return in words that a trial's samples have collapsed at a rung; "" if not: a fresh generator's never were diverse."""
    before = max((value for step, value in curve.diversity.items() if step < rung), default=0.0)
    now = curve.diversity.get(rung, math.inf)
    if now < rule.collapse <= before:
        return f"collapsed: its samples are {now:.2g} times as diverse as the reference images, and were {before:.2g} times"
    return ""


def _plateau(curve: Curve, rungs: Sequence[int], rule: StoppingConfig) -> str:
    """Return in words that a trial has not improved over its last rungs; "" if it has, or there are not so many."""
    values = [_clamped(curve.values[rung]) for rung in rungs]
    n = rule.plateau
    if n and len(values) > n and min(values[:-n]) <= min(values[-n:]):
        return f"plateau: no better {rule.metric} for {n} rungs"
    return ""


def _clamped(value: float) -> float:
    """Return a value that sorts: NaN is the worst there is."""
    return math.inf if math.isnan(value) else value
