"""The rules that stop trials early, as a pure function of a cell's results at its rungs.

`judge` applies the rules in `RULES`, each a class with one subject:

* `Halving`: synchronous successive halving (Jamieson & Talwalkar 2016) within a cell. Once every live transfer of the cell has
  reached a rung or ended, the best share of the methods goes on. Asynchronous halving would decide by order of arrival; this
  rule sees only results, so neither order, nor cluster size, nor a restart changes which trials stop.
* `Divergence`: a trial that diverged takes a place among the worst at its next rung.
* `Collapse`: a trial stops at its own rung when its samples have lost their diversity.
* `Plateau`: a method stops when it has not improved for several rungs, unless it is the best.
* `Audit`: in a share of the cells no trial stops, so that the cost of stopping can be measured afterwards.

Training from scratch is the reference that all transfers are compared with at the budget. No comparison stops it: it neither
waits at a rung, nor is waited for, nor counts among the methods. Only a reason of its own stops it, such as a collapse. In a
cell of nothing else, such as a search for its settings, its trials are compared like any others.

A further rule is one more subclass of `Rule`, its line in `RULES`, and its setting in `bench.sweeps.spec.StoppingConfig`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

from bench.sweeps.spec import StoppingConfig
from trainers.common.counts import counted
from trainers.config.strategies.copying import Scratch

#: The fewest seeds of a method that go on together, where it has as many: one alone shows no spread.
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Curve:
    """What the rules know of one trial of a cell.

    Attributes:
        values: the stopping metric (smaller is better) by rung, in generator steps.
        diverged: it ended by divergence and reaches no further rung: it counts as the worst at the next one.
        failed: it ended for a reason unrelated to its quality (a crash, a source that failed): it counts at no further rung.
        diversity: diversity of its samples relative to the reference images (1: equally diverse), by rung, where measured.
        method: its strategy and source, shared by the trials of other seeds; "" for a trial that is its own method.
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
    """What a trial should do; `rung`: where it waits or stops, None if it goes on; `why`: why it stops, "" for its rank."""

    action: Action
    rung: int | None = None
    why: str = ""


GO = Verdict(Action.GO)


@dataclass(frozen=True)
class Contest:
    """The live trials of a cell at a rung that are compared: the transfers, without training from scratch.

    Attributes:
        steps: the rungs up to and including this one, ascending.
        arrived: the trials that are measured here and not yet stopped.
        entered: the methods that set out for this rung and count, also those without a trial that arrived.
    """

    steps: Sequence[int]
    arrived: tuple[Curve, ...]
    entered: frozenset[str]

    @property
    def rung(self) -> int:
        """The rung, in generator steps."""
        return self.steps[-1]

    def methods(self) -> dict[str, list[Curve]]:
        """Return the arrived trials by method."""
        seeds: dict[str, list[Curve]] = {}
        for curve in self.arrived:
            seeds.setdefault(_method(curve), []).append(curve)
        return seeds

    def ranked(self) -> list[str]:
        """Return the methods that arrived, best first, by the mean of their seeds."""
        seeds = self.methods()
        return sorted(seeds, key=lambda method: (_mean(seeds[method], self.rung), method))


class Rule:
    """One reason to stop trials; made anew for each call of `judge`, so it may keep state from rung to rung.

    A subclass overrides the methods that apply to it.
    """

    def __init__(self, config: StoppingConfig) -> None:
        self.config = config

    def exempts(self, cell: str) -> bool:
        """Return whether no trial of a cell stops, by the cell's key."""
        return False

    def counts_last(self, curve: Curve) -> bool:
        """Return whether a trial that ended before a rung counts there as the worst."""
        return False

    def alone(self, curve: Curve, rung: int) -> str | None:
        """Return why a trial stops at its rung whatever the others do; None if it goes on."""
        return None

    def compared(self, contest: Contest) -> Mapping[str, str]:
        """Return which trials stop once their cell is complete at a rung, and why, by key."""
        return {}


class Audit(Rule):
    """In a share `audit` of the cells no trial stops."""

    def exempts(self, cell: str) -> bool:
        """Return whether a cell is audited."""
        return audited(cell, self.config.audit)


class Divergence(Rule):
    """A trial that diverged is not waited for, and takes a place among the worst."""

    def counts_last(self, curve: Curve) -> bool:
        """Return whether a trial diverged."""
        return curve.diverged


class Collapse(Rule):
    """A trial stops when its samples are less diverse than `collapse`, after having been more diverse.

    A generator that has just been initialised was never diverse, so it does not stop.
    """

    def alone(self, curve: Curve, rung: int) -> str | None:
        """Return why a trial has collapsed, or None."""
        before = max((value for step, value in curve.diversity.items() if step < rung), default=0.0)
        now = curve.diversity.get(rung, math.inf)
        if now < self.config.collapse <= before:
            return f"collapsed: its samples are {now:.2g} times as diverse as the reference images, and were {before:.2g} times"
        return None


class Halving(Rule):
    """The best share `keep` of the methods goes on, rounded up; all seeds of a method go on or stop together.

    Were seeds stopped separately, a method of which only the luckiest seed remained would look better at the budget than it is.
    With `protect_strategies` two seeds of each strategy's best method go on, and do not count unless they catch up.
    """

    def __init__(self, config: StoppingConfig) -> None:
        super().__init__(config)
        self._protected: set[str] = set()

    def compared(self, contest: Contest) -> Mapping[str, str]:
        """Return the trials of the methods that do not go on; the reason, their rank, is ""."""
        seeds, ranked = contest.methods(), contest.ranked()
        kept = ranked[: max(1, math.ceil(self.config.keep * len(contest.entered - self._protected)))]
        best = {seeds[method][0].strategy: method for method in reversed(ranked)} if self.config.protect_strategies else {}
        self._protected = set(best.values()) - set(kept)
        # Not a protected method's best seeds, which would make the method look better than it is.
        watched = {key for method in self._protected for key in sorted(curve.key for curve in seeds[method])[:FEWEST_SEEDS]}
        return {c.key: "" for c in contest.arrived if _method(c) not in kept and c.key not in watched}


class Plateau(Rule):
    """A method that is not its cell's best stops after `plateau` rungs without a better mean of its seeds; 0: never."""

    def compared(self, contest: Contest) -> Mapping[str, str]:
        """Return the trials of the methods without progress."""
        n = self.config.plateau
        if not n or len(contest.steps) <= n:
            return {}
        best, seeds = contest.ranked()[:1], contest.methods()
        means = {m: [_mean(curves, rung) for rung in contest.steps] for m, curves in seeds.items() if m not in best}
        why = f"plateau: no better {self.config.metric} for {counted(n, 'rung')}"
        stale = [method for method, values in means.items() if min(values[:-n]) <= min(values[-n:])]
        return {curve.key: why for method in stale for curve in seeds[method]}


#: All rules. Where several stop a trial at one rung, the reason of the first is recorded.
RULES: tuple[type[Rule], ...] = (
    Audit,
    Divergence,
    Collapse,
    Halving,
    Plateau,
)


def judge(curves: Sequence[Curve], rungs: Sequence[int], config: StoppingConfig, cell: str = "") -> dict[str, Verdict]:
    """Return the verdict on every trial of a cell, given in any order; the cell's key decides whether it is audited.

    `rungs` are all rungs, ascending; the last is the budget, where nothing is decided.
    """
    verdicts = {curve.key: GO for curve in curves}
    rules = [rule(config) for rule in RULES]
    if config.rule == "none" or any(rule.exempts(cell) for rule in rules):
        return verdicts
    reference = _reference(curves)
    for rung in rungs[:-1]:
        going = [curve for curve in curves if curve.key in reference and rung in curve.values and verdicts[curve.key] == GO]
        verdicts.update((key, Verdict(Action.STOP, rung, why)) for key, why in _alone(rules, going, rung).items())
    live = tuple(curve for curve in curves if curve.key not in reference)
    for number, rung in enumerate(rungs[:-1], 1):
        arrived = tuple(curve for curve in live if rung in curve.values)
        missing = [curve for curve in live if rung not in curve.values]
        last = [curve for curve in missing if any(rule.counts_last(curve) for rule in rules)]
        stopped = _alone(rules, arrived, rung)
        contest = Contest(
            rungs[:number], tuple(c for c in arrived if c.key not in stopped), frozenset(map(_method, (*arrived, *last)))
        )
        # A trial that was measured further on but not here, by a run with other rungs, has passed this one.
        passed = tuple(curve for curve in missing if max(curve.values, default=0) > rung)
        complete = {curve.key for curve in missing if not curve.failed} <= {curve.key for curve in (*last, *passed)}
        if complete:
            stopped |= _first(rule.compared(contest) for rule in rules)
        else:
            verdicts.update((curve.key, Verdict(Action.WAIT, rung)) for curve in contest.arrived)
        verdicts.update((key, Verdict(Action.STOP, rung, why)) for key, why in stopped.items())
        if not complete:
            break
        live = (*(curve for curve in arrived if curve.key not in stopped), *passed)
    return verdicts


def _reference(curves: Sequence[Curve]) -> frozenset[str]:
    """Return the trials from scratch of a cell that has transfers too; none of them if it has no transfers."""
    scratch = frozenset(curve.key for curve in curves if curve.strategy == Scratch.key)
    return scratch if any(curve.key not in scratch for curve in curves) else frozenset()


def _alone(rules: Iterable[Rule], arrived: Sequence[Curve], rung: int) -> dict[str, str]:
    """Return the trials that stop at a rung whatever the others do, and why, by key."""
    return _first({c.key: why for c in arrived if (why := rule.alone(c, rung)) is not None} for rule in rules)


def audited(cell: str, share: float) -> bool:
    """Return whether a cell is in the audited share of all cells; its key's hash decides, so the answer never changes."""
    return int.from_bytes(hashlib.sha256(f"audit {cell}".encode()).digest()[:8]) < share * 2**64


def _first(reasons: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge the reasons of several rules by key; the first rule's counts."""
    merged: dict[str, str] = {}
    for of_rule in reasons:
        merged = {**of_rule, **merged}
    return merged


def _method(curve: Curve) -> str:
    return curve.method or curve.key


def _mean(seeds: Iterable[Curve], rung: int) -> float:
    """Return the mean of a method's values at a rung. NaN counts as infinity, the worst value, so that means can be sorted."""
    return fmean(math.inf if math.isnan(value := curve.values[rung]) else value for curve in seeds)
