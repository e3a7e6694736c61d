"""The claims of a simulated sweep compared with its truth."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from analysis.claims import Outcome
from analysis.frames import Frames, records
from analysis.prediction.knobs import EFFECTS
from analysis.statistics import Analysis, analyse
from analysis.words import method, start
from tests.benchmarks.truth.adapter import claims_of
from tests.benchmarks.truth.stores import EMBEDDING
from tests.benchmarks.truth.worlds import APART, BUDGET, FAR, NOISE, RUNGS, Sweep, World

#: Differences of log2 gains below this are rounding.
_EQUAL = 1e-9

#: Draws of an expected rank correlation.
_DRAWS = 20_000


@dataclass(frozen=True)
class Tally:
    """The claims of one kind in one sweep."""

    world: World
    number: int
    kind: str
    claims: int
    tested: int
    """Claims that are told apart or not, rather than untestable."""
    apart: int
    """Claims that two things are told apart."""
    false: int
    """Of these, the claims of a difference that is none, or has the other sign."""
    intervals: int
    covered: int
    """Intervals that contain the truth."""
    simultaneous: bool
    """Whether the intervals hold for all claims of the kind together."""
    at_budget: int
    """Claims about values at the budget."""


def check(sweep: Sweep, frames: Frames) -> tuple[Analysis, list[Tally]]:
    """Analyse a sweep, and compare each of its claims with the truth."""
    analysis = analyse(frames, EMBEDDING)
    truth = Truth(sweep, frames)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for claim in records(claims_of(analysis, frames)):
        by_kind.setdefault(claim["kind"], []).append({**claim, "truth": truth.of(claim)})
    return analysis, [_tally(sweep, kind, claims) for kind, claims in by_kind.items()]


def _tally(sweep: Sweep, kind: str, claims: list[dict[str, Any]]) -> Tally:
    apart = [claim for claim in claims if claim["outcome"] == Outcome.APART.value]
    printed = [claim for claim in claims if _has_interval(claim) and _is_known(claim)]
    return Tally(
        sweep.world,
        sweep.number,
        kind,
        claims=len(claims),
        tested=sum(claim["outcome"] != Outcome.UNTESTABLE.value for claim in claims),
        apart=len(apart),
        false=sum(claim["truth"] is not None and not _same_sign(claim["value"], claim["truth"]) for claim in apart),
        intervals=len(printed),
        covered=sum(claim["low"] - _EQUAL <= claim["truth"] <= claim["high"] + _EQUAL for claim in printed),
        simultaneous=any(claim["simultaneous"] for claim in claims),
        at_budget=sum(claim["step"] == BUDGET for claim in claims),
    )


def _has_interval(claim: dict[str, Any]) -> bool:
    return claim["low"] is not None and claim["high"] is not None


def _is_known(claim: dict[str, Any]) -> bool:
    """Return whether a claim's truth is a number; a speed-up may lie beyond what was measured."""
    return claim["truth"] is not None and (claim["kind"] == "speed_up" or math.isfinite(claim["truth"]))


def _same_sign(value: float, truth: float) -> bool:
    return (value > 0 and truth > _EQUAL) or (value < 0 and truth < -_EQUAL)


class Truth:
    """The true values of claims about a sweep."""

    def __init__(self, sweep: Sweep, frames: Frames) -> None:
        self.sweep, self.world = sweep, sweep.world
        self._methods: dict[str, tuple[str, str | None]] = {}
        for strategy in ("scratch", *self.world.layout.strategies):
            for source in (None,) if strategy == "scratch" else self.world.layout.sources:
                row = {"strategy": strategy, "source_label": source and frames.domains[source]}
                self._methods |= dict.fromkeys((start(row), method(row)), (strategy, source))
        self._sources = {label: name for name, label in frames.domains.items()}

    def of(self, claim: dict[str, Any]) -> float | None:
        """Return the true value of a claim; None if it has none in this world."""
        kind = claim["kind"]
        if kind in ("scratch", "best", "order", "strategy", "recommended"):
            return self._difference(claim)
        if kind == "source":
            return self._source(self._methods_of(claim["subject"])) - self._source(self._methods_of(claim["versus"]))
        if kind in ("multiplier", "speed_up"):
            if kind == "speed_up":
                return self._speed_up(claim)
            step = int(claim["step"] or BUDGET)
            gain = self._gain(claim["cell"], claim["subject"], step)
            return gain / self.world.power if self.world.power else math.copysign(math.inf, gain) if gain else 0.0
        if kind in ("predictor", "nearer help more"):
            return expected_correlation(self.world, "fid real" if claim["subject"] == "fid real" else "")
        if kind == "driver":
            return self.world.slope if "distance" in claim["subject"] else None if any(self.world.knobs) else 0.0
        if kind == "knob":
            weights = EFFECTS[claim["subject"]][1]
            return float(np.dot(weights[:2], self.world.knobs))
        raise ValueError(f"no truth for claims of kind {kind!r}")

    def _methods_of(self, name: str) -> tuple[str | None, str | None]:
        return self._methods[name] if name in self._methods else (None, self._sources[name])

    def _gain(self, cell: str, name: str, step: int) -> float:
        trial = self.sweep.plan.by_key[self.sweep.plan.cells[cell][0]]
        strategy, source = self._methods[name]
        return self.sweep.gain(trial.domain.name, strategy, source, step)

    def _difference(self, claim: dict[str, Any]) -> float:
        step = int(claim["step"] or BUDGET)
        subject, versus = (self._gain(claim["cell"], claim[name], step) for name in ("subject", "versus"))
        return 0.0 if subject == versus else subject - versus

    def _source(self, name: tuple[str | None, str | None]) -> float:
        return self.sweep.over_targets(str(name[1]))

    def _speed_up(self, claim: dict[str, Any]) -> float:
        """Return log2 of the speed-up between rungs on straight lines; inf or -inf if it lies beyond the rungs."""
        trial = self.sweep.plan.by_key[self.sweep.plan.cells[claim["cell"]][0]]
        target, size = trial.domain.name, trial.size
        best = self.sweep.level(target, size, BUDGET)
        curve = [self.sweep.level(target, size, r) - self._gain(claim["cell"], claim["subject"], r) for r in RUNGS]
        if curve[-1] > best + _EQUAL:
            return -math.inf
        if curve[0] < best:
            return math.inf
        step = np.interp(-(2**best), -np.exp2(curve), RUNGS)
        return float(np.log2(BUDGET / step))


@cache
def expected_correlation(world: World, kind: str) -> float:
    """Return the expected rank correlation of nearness and gain over a target's sources, seeds included.

    This is what the mean over groups estimates; noise makes it smaller than that of the true gains.
    """
    if not world.slope:
        return 0.0
    random, shape = np.random.default_rng(1), (_DRAWS, len(world.layout.sources))
    distance = random.normal(0, math.hypot(FAR, APART), shape)
    other = random.normal(0, math.hypot(world.sources, world.pairs), shape) if world.sources or world.pairs else 0.0
    noise = random.normal(0, math.hypot(NOISE / math.sqrt(world.seeds), world.references), shape)
    gains = other + noise - world.slope * distance
    measured = distance if kind == "fid real" else distance + random.normal(0, 0.3, shape)
    ranks = [np.argsort(np.argsort(values, axis=1), axis=1) for values in (gains, -measured)]
    centred = [values - values.mean() for values in ranks]
    correlations = (centred[0] * centred[1]).sum(axis=1) / (centred[0] ** 2).sum(axis=1)
    return float(correlations.mean())
