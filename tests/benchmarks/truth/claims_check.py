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
from tests.benchmarks.truth.stores import EMBEDDING
from tests.benchmarks.truth.worlds import APART, BUDGET, FAR, NOISE, OTHER, RUNGS, Sweep, World
from trainers.config.trial import TrialConfig

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
    truth = Truth(sweep)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for claim in records(analysis.claims):
        by_kind.setdefault(claim["kind"], []).append({**claim, "truth": truth.of(claim)})
    return analysis, [tally(sweep, kind, claims) for kind, claims in by_kind.items()]


def tally(sweep: Sweep, kind: str, claims: list[dict[str, Any]]) -> Tally:
    """Return the tally of claims of one kind, each with its `truth`."""
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

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.world = sweep, sweep.world

    def of(self, claim: dict[str, Any]) -> float | None:
        """Return the true value of a claim; None if it has none in this world."""
        kind, subject, world = claim["kind"], claim["subject"], self.world
        step = int(claim["step"] or BUDGET)
        if kind in ("scratch", "best", "order", "strategy"):
            first, other = (self._gain(claim["cell"], claim[name], step) for name in ("subject", "versus"))
            return 0.0 if first == other else first - other
        if kind == "source":
            first, other = (self._source(claim[name]) for name in ("subject", "versus"))
            return self.sweep.over_targets(first) - self.sweep.over_targets(other)
        if kind == "multiplier":
            gain = self._gain(claim["cell"], subject, step)
            return gain / world.power if world.power else 0.0 if abs(gain) < _EQUAL else math.copysign(math.inf, gain)
        if kind == "speed_up":
            return self._speed_up(claim["cell"], subject)
        if kind == "predictor":
            return expected_correlation(world, exact={"fid", "real"} <= {*subject.split()})
        if kind == "driver":
            others = 0.0 if not any(world.knobs) else None
            return world.slope if subject.startswith("distance") else others
        if kind == "knob":
            weights = next(weights for effect, (_, weights) in EFFECTS.items() if subject.startswith(effect))
            return float(np.dot(weights[:2], world.knobs))
        raise ValueError(f"no truth for claims of kind {kind!r}")

    def _source(self, name: str) -> str:
        """Return the source in a subject such as ``amber, finetune``, ``finetune from amber`` or ``amber``."""
        return next(source for source in self.world.layout.sources if source in name)

    def _gain(self, cell: str, name: Any, step: int) -> float:
        strategy, source = (name, None) if isinstance(name, str) else name
        return self.sweep.gain(self._trial(cell).domain.name, strategy, source, step)

    def _trial(self, cell: str) -> TrialConfig:
        return self.sweep.plan.by_key[self.sweep.plan.cells[cell][0]]

    def _speed_up(self, cell: str, name: Any) -> float:
        """Return log2 of the speed-up, on straight lines between rungs; inf or -inf if it lies beyond the rungs."""
        trial = self._trial(cell)
        levels = [self.sweep.level(trial.domain.name, trial.size, rung) for rung in RUNGS]
        curve = [level - self._gain(cell, name, rung) for level, rung in zip(levels, RUNGS, strict=True)]
        if curve[-1] > levels[-1] + _EQUAL:
            return -math.inf
        if curve[0] < levels[-1]:
            return math.inf
        step = np.interp(-np.exp2(levels[-1]), -np.exp2(curve), RUNGS)
        return float(np.log2(BUDGET / step))


@cache
def expected_correlation(world: World, *, exact: bool) -> float:
    """Return the expected rank correlation of nearness and gain over a target's sources, seeds included.

    This is what the mean over groups estimates; noise makes it smaller than that of the true gains. Only FID of the real images
    is the `exact` distance on which the gain depends.
    """
    if not world.slope:
        return 0.0
    random, shape = np.random.default_rng(1), (_DRAWS, len(world.layout.sources))
    distance = random.normal(0, math.hypot(FAR, APART), shape)
    other = random.normal(0, math.hypot(world.sources, world.pairs), shape) if world.sources or world.pairs else 0.0
    noise = random.normal(0, math.hypot(NOISE / math.sqrt(world.seeds), world.references), shape)
    gains = other + noise - world.slope * distance
    measured = distance if exact else distance + random.normal(0, OTHER, shape)
    ranks = [np.argsort(np.argsort(values, axis=1), axis=1) for values in (gains, -measured)]
    centred = [values - values.mean() for values in ranks]
    correlations = (centred[0] * centred[1]).sum(axis=1) / (centred[0] ** 2).sum(axis=1)
    return float(correlations.mean())
