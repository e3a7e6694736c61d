"""The rules that stop trials early, as a pure function of a cell's results at its rungs.

`judge` applies the rules in `RULES`, each a class with one subject:

* `Halving`: synchronous successive halving (Jamieson & Talwalkar 2016) within a cell. Once every live trial of the cell has
  reached a rung or ended, the best share of the methods goes on. Asynchronous halving would decide by order of arrival; this
  rule sees only results, so neither order, nor cluster size, nor a restart changes which trials stop.
* `Divergence`: a trial that diverged takes a place among the worst at its next rung.
* `Collapse`: a trial stops at its own rung when its samples have lost their diversity.
* `Plateau`: a trial stops when it has not improved for several rungs, unless it belongs to the best method.
* `Audit`: in a share of the cells no trial stops, so that the cost of stopping can be measured afterwards.

A further rule is one more subclass of `Rule`, its line in `RULES`, and its setting in `bench.sweeps.spec.StoppingConfig`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

from bench.sweeps.spec import StoppingConfig


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
    """The live trials of a cell at a rung.

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
        return sorted(seeds, key=lambda method: (fmean(_sortable(c.values[self.rung]) for c in seeds[method]), method))


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
    With `protect_strategies` one seed of each strategy's best method goes on, and does not count unless it catches up.
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
        # Not a protected method's best seed, which would make the method look better than it is.
        watched = {min(curve.key for curve in seeds[method]) for method in self._protected}
        return {c.key: "" for c in contest.arrived if _method(c) not in kept and c.key not in watched}


class Plateau(Rule):
    """A trial that is not of its cell's best method stops after `plateau` rungs without a better value; 0: never."""

    def compared(self, contest: Contest) -> Mapping[str, str]:
        """Return the trials without progress."""
        n = self.config.plateau
        if not n or len(contest.steps) <= n:
            return {}
        best = contest.ranked()[:1]
        others = [curve for curve in contest.arrived if _method(curve) not in best]
        values = {curve.key: [_sortable(curve.values[rung]) for rung in contest.steps] for curve in others}
        why = f"plateau: no better {self.config.metric} for {n} rungs"
        return {key: why for key, of_trial in values.items() if min(of_trial[:-n]) <= min(of_trial[-n:])}


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
    live = tuple(curves)
    for number, rung in enumerate(rungs[:-1], 1):
        arrived = tuple(curve for curve in live if rung in curve.values)
        missing = [curve for curve in live if rung not in curve.values]
        last = [curve for curve in missing if any(rule.counts_last(curve) for rule in rules)]
        stopped = _first({c.key: why for c in arrived if (why := rule.alone(c, rung)) is not None} for rule in rules)
        contest = Contest(
            rungs[:number], tuple(c for c in arrived if c.key not in stopped), frozenset(map(_method, (*arrived, *last)))
        )
        complete = {curve.key for curve in missing if not curve.failed} <= {curve.key for curve in last}
        if complete:
            stopped |= _first(rule.compared(contest) for rule in rules)
        else:
            verdicts.update((curve.key, Verdict(Action.WAIT, rung)) for curve in contest.arrived)
        verdicts.update((key, Verdict(Action.STOP, rung, why)) for key, why in stopped.items())
        if not complete:
            break
        live = tuple(curve for curve in arrived if curve.key not in stopped)
    return verdicts


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


def _sortable(value: float) -> float:
    """Return a value that sorts: NaN becomes infinity, the worst value."""
    return math.inf if math.isnan(value) else value
