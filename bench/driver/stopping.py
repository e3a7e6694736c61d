"""The early-stopping rules, as a pure function of a cell's rung results.

Synchronous successive halving (Jamieson & Talwalkar 2016) within each cell: at a rung, once every live trial of the cell
has reached it or ended, the best share goes on and the rest stop. Asynchronous halving would decide by who came first;
this rule sees only results, so neither order, nor cluster size, nor a restart changes who is stopped.

What is compared are methods (a strategy from a source), each by the mean of its seeds, which go on or stop together. Were seeds
stopped one by one, a method of which only the luckiest seed came through would look better at the budget than it is. Where
strategies are protected, one seed of each one's best method is trained to the budget, out of competition unless it catches up.

Beside that, a trial is stopped for what it has come to itself: its samples have collapsed, or it has long ceased to improve.
And some cells are audited: nobody is stopped in them, so that what the rules cost can be told afterwards.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

from bench.sweeps.spec import StoppingConfig


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
        method: its strategy and source, which it shares with the trials of other seeds; "" where it stands for itself.
    """

    key: str
    strategy: str
    values: Mapping[int, float]
    diverged: bool = False
    failed: bool = False
    diversity: Mapping[int, float] = field(default_factory=dict)
    method: str = ""


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
    protected: set[str] = set()
    for rung in rungs[:-1]:
        arrived = [curve for curve in live if rung in curve.values]
        missing = [curve for curve in live if rung not in curve.values]
        own = {curve.key: Verdict(Action.STOP, rung, why) for curve in arrived if (why := _collapse(curve, rung, rule))}
        verdicts.update(own)
        if any(not (curve.diverged or curve.failed) for curve in missing):
            verdicts.update((curve.key, Verdict(Action.WAIT, rung)) for curve in arrived if curve.key not in own)
            return verdicts
        entered = {_method(curve) for curve in (*arrived, *(curve for curve in missing if curve.diverged))} - protected
        seeds: dict[str, list[Curve]] = {}
        for curve in arrived:
            if curve.key not in own:
                seeds.setdefault(_method(curve), []).append(curve)
        ranked = sorted(seeds, key=lambda method: (fmean(_clamped(c.values[rung]) for c in seeds[method]), method))
        kept = ranked[: max(1, math.ceil(rule.keep * len(entered)))]
        best = {seeds[method][0].strategy: method for method in reversed(ranked)} if rule.protect_strategies else {}
        protected = set(best.values()) - set(kept)
        # Of a protected method one seed goes on, and not the best one, which would make the method look better than it is.
        watched = [min(seeds[method], key=lambda curve: curve.key) for method in ranked if method in protected]
        live = [curve for method in kept for curve in seeds[method]] + watched
        going = {curve.key for curve in live}
        verdicts.update(
            (curve.key, Verdict(Action.STOP, rung)) for curve in arrived if curve.key not in own and curve.key not in going
        )
        for curve in [curve for curve in live if _method(curve) != ranked[0]]:  # the best goes on, whatever it does
            if why := _plateau(curve, rungs[: rungs.index(rung) + 1], rule):
                verdicts[curve.key] = Verdict(Action.STOP, rung, why)
                live.remove(curve)
    return verdicts


def audited(cell: str, share: float) -> bool:
    """Say whether a cell is among the share of all cells in which nobody is stopped: by its key's hash, so always the same."""
    return int.from_bytes(hashlib.sha256(f"audit {cell}".encode()).digest()[:8]) < share * 2**64


def _method(curve: Curve) -> str:
    return curve.method or curve.key


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
