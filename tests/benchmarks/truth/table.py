"""The table of the benchmark: each figure with its 95 % interval and its goal."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from scipy import stats

from analysis.claims import KINDS
from analysis.comparison.power import power
from analysis.prediction.rules import CHOOSERS
from tests.benchmarks.truth.advice import Advice
from tests.benchmarks.truth.claims_check import Tally
from tests.benchmarks.truth.studies import Result
from tests.benchmarks.truth.worlds import NOISE

#: A family of claims may be false in this share of sweeps.
LEVEL = 0.05

#: An interval's coverage.
COVERAGE = (0.93, 0.97)

#: With stopping the page may be right less often by this much.
LOSS = 0.05


@dataclass(frozen=True)
class Row:
    """A figure (a share, or log2) with its 95 % interval; it holds if the interval is compatible with the goal."""

    name: str
    figure: float
    low: float
    high: float
    number: int
    goal: str
    holds: bool
    percent: bool = True

    @property
    def text(self) -> str:
        """The row of the printed table."""
        scale, unit = (100, "%") if self.percent else (1, "")
        figure, low, high = (f"{scale * value:.{1 if self.percent else 3}f}" for value in (self.figure, self.low, self.high))
        numbers = f"{figure + unit:>8}  {low:>6} to {high:>6}  of {self.number:<5}"
        return f"{self.name:80} {numbers} {self.goal:32} {'holds' if self.holds else 'MISSED'}"

    def as_data(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in asdict(self).items()}


def rows(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the rows of the table."""
    by_study: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.error is None:
            by_study[result.case.study].append(result)
    yield from _failed(results)
    yield from _silent(results)
    yield from false_claims(by_study["null"])
    yield from _diverging(by_study["diverging"])
    yield from coverage(by_study["planted"])
    yield from _order(by_study["order"])
    yield from _advice(by_study["advice"])
    yield from _power(by_study["power"])


def _failed(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the share of sweeps whose analysis fails or warns, which no other row counts."""
    errors = [result.error for result in results if result.error is not None]
    interval = stats.binomtest(len(errors), len(results)).proportion_ci(0.95)
    name = f"the analysis fails ({errors[0][:60]})" if errors else "the analysis fails"
    yield Row(name, len(errors) / len(results), interval.low, interval.high, len(results), "0%", not errors)


def _silent(results: Sequence[Result]) -> Iterator[Row]:
    """Yield a row for each kind of claim that no sweep makes, which no other row would show."""
    made = {tally.kind for result in results for tally in result.tallies if tally.tested}
    made |= {result.advice.claim.kind for result in results if result.advice is not None and result.advice.claim.tested}
    for kind in KINDS:
        if kind not in made:
            yield Row(f"sweeps with a {kind!r} claim that is tested", 0.0, 0.0, 0.0, len(results), "more than 0", holds=False)


def false_claims(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the shares of sweeps with a false claim, by kind, over all null worlds and for each of them."""
    by_kind: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for tally in result.tallies:
            if tally.tested:
                by_kind[tally.kind]["all worlds"].append(tally.false > 0)
                by_kind[tally.kind][result.case.world.name].append(tally.false > 0)
    for kind, by_world in by_kind.items():
        for world, false in by_world.items():
            yield _at_most(f"no effect, {world}: a false {kind!r} claim", false)


def _diverging(results: Sequence[Result]) -> Iterator[Row]:
    false: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        for tally in result.tallies:
            if tally.tested and tally.kind in ("scratch", "best", "strategy", "order"):
                false[tally.kind].append(tally.false > 0)
    for kind, values in false.items():
        yield _at_most(f"two of three seeds diverge: a false {kind!r} claim", values)


def _at_most(name: str, false: Sequence[bool]) -> Row:
    interval = stats.binomtest(sum(false), len(false)).proportion_ci(0.95)
    return Row(
        name, sum(false) / len(false), interval.low, interval.high, len(false), f"at most {LEVEL:.0%} of sweeps",
        bool(interval.low <= LEVEL),
    )  # fmt: skip


def coverage(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the share of intervals that contain the truth, by kind and course of the sweep."""
    tallies: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for result in results:
        for tally in result.tallies:
            if tally.intervals:
                tallies[tally.kind, result.case.world.course].append(tally)
    for (kind, course), of_kind in sorted(tallies.items()):
        yield _covers(f"effects, {course}: {kind!r} intervals cover", of_kind)


def _covers(name: str, tallies: Sequence[Tally]) -> Row:
    conservative = any(tally.simultaneous for tally in tallies)
    share, low, high = clustered([tally.covered for tally in tallies], [tally.intervals for tally in tallies])
    goal = f"{COVERAGE[0]:.0%} {'or more' if conservative else f'to {COVERAGE[1]:.0%}'}"
    holds = high >= COVERAGE[0] and (conservative or low <= COVERAGE[1])
    return Row(name, share, low, high, sum(tally.intervals for tally in tallies), goal, holds)


def clustered(covered: Sequence[int], intervals: Sequence[int]) -> tuple[float, float, float]:
    """Return the share of intervals that cover, with Wilson's interval for as many independent ones as sweeps vary.

    The intervals of a sweep share their noise, so they count for fewer (Korn & Graubard 1998).
    """
    hits, counts = np.array(covered, float), np.array(intervals, float)
    share = hits.sum() / counts.sum()
    effective = float(len(counts))
    if 0 < share < 1 and len(counts) > 1:
        variance = float(np.square(hits - share * counts).sum()) / counts.sum() ** 2 * len(counts) / (len(counts) - 1)
        effective = min(float(counts.sum()), share * (1 - share) / max(variance, 1e-12))
    z = stats.norm.ppf(0.975)
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    margin = z / (1 + z**2 / effective) * math.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    return float(share), max(0.0, centre - margin), min(1.0, centre + margin)


def _order(results: Sequence[Result]) -> Iterator[Row]:
    """Yield how much less often the printed order is right with default stopping, and where its headline compares."""
    by_rule = {rule: {r.case.number: r for r in results if r.case.world.rule == rule} for rule in ("halving", "none")}
    numbers = sorted(by_rule["halving"].keys() & by_rule["none"].keys())
    for name, what in (("best", "the named best is right"), ("pairs", "the order of two strategies is right")):
        both = [[getattr(by_rule[rule][number].order, name) for rule in ("none", "halving")] for number in numbers]
        right = np.array([[np.mean(none), np.mean(halving)] for none, halving in both if none and halving]).reshape(-1, 2)
        mean, low, high = _mean(right[:, 0] - right[:, 1])
        shares = "in {:.0%}, stopped {:.0%}".format(*right.mean(axis=0))
        yield Row(f"slow starters: {what} {shares}; loss", mean, low, high, len(right), f"at most {LOSS:.0%}", low <= LOSS)
    tallies = [t for r in by_rule["halving"].values() for t in r.tallies if t.kind == "best"]
    if tallies:
        share, low, high = clustered([t.at_budget for t in tallies], [t.claims for t in tallies])
        number = sum(t.claims for t in tallies)
        yield Row("slow starters, default stopping: headlines at the budget", share, low, high, number, "100%", share == 1)


def _advice(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the regret of the recommendation beside that of simpler rules, and how its interval and its claim hold."""
    by_world: dict[str, list[Advice]] = defaultdict(list)
    for result in results:
        if result.advice is not None:
            by_world[result.case.world.name].append(result.advice)
    regrets = {name: np.array([a.regrets[name] for a in by_world["realistic"]]) for name in CHOOSERS}
    for name, of_rule in regrets.items():
        if name != "recommended":
            mean, low, high = _mean(regrets["recommended"] - of_rule)
            label = f"recommend: regret {regrets['recommended'].mean():.3f}, {name} {of_rule.mean():.3f} (log2); difference"
            yield Row(label, mean, low, high, len(of_rule), "below 0", low < 0, percent=False)
    for world, advice in by_world.items():
        claims = [of_sweep.claim for of_sweep in advice if of_sweep.claim.tested]
        if not claims:
            continue
        yield _covers(f"recommend, {world}: the first interval covers", claims)
        yield _at_most(f"recommend, {world}: a false claim", [claim.false > 0 for claim in claims])


def _power(results: Sequence[Result]) -> Iterator[Row]:
    """Yield the promised power minus the simulated, for one method with an effect."""
    for world, of_world in groupby(results, key=lambda result: result.case.world):
        told = [tally.apart > tally.false for result in of_world for tally in result.tallies if tally.kind == "scratch"]
        comparisons, ratio = len(world.layout.strategies), 2 ** dict(world.gains)["finetune"][-1]
        promised = power(ratio, NOISE, NOISE * world.scratch_noise, world.seeds, comparisons, transfers=comparisons)
        interval = stats.binomtest(sum(told), len(told)).proportion_ci(0.95)
        low, high = promised - interval.high, promised - interval.low
        name = f"plan --detect {ratio:.3g}, {world.seeds} seeds, {world.name}: {promised:.0%} promised, more than simulated by"
        goal, holds = f"within {LOSS:.0%}", low <= LOSS and high >= -LOSS
        yield Row(name, promised - sum(told) / len(told), low, high, len(told), goal, holds)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean with Student's 95 % interval."""
    margin = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return float(values.mean()), float(values.mean() - margin), float(values.mean() + margin)
