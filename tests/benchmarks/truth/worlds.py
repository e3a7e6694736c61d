"""Worlds: simulated sweeps of which the truth is known.

A trial's learning curve is, in log2 of FID, a floor of the target plus a fall by step, minus a power law of the size, minus the
gain of its method at the step, plus noise: of the seed, correlated over rungs; of the reference images, shared by a target's
trials and, with few of them, different for each method. The truth is the curve without noise: FID on the population of images.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec
from trainers.config.options import split
from trainers.config.trial import TrialConfig
from trainers.domains.base import Domain, Images, Split

#: Steps at which a trial is measured, and the part of log2 FID that is left to fall at each of them.
RUNGS, FALL = (50, 100, 200), (1.2, 0.5, 0.0)
BUDGET = RUNGS[-1]

RESOLUTION = 16

#: Seed deviations: their standard deviation (log2), and the share of their variance that is common to a trial's rungs.
NOISE, COMMON = 0.12, 0.7

#: Standard deviations of log2 of the distance: between sources, over all targets; and between the pairs with a target.
FAR, APART = 0.8, 0.6

#: Standard deviation of log2 of the other distances, relative to FID of the real images.
OTHER = 0.3

#: Bootstrap draws of the reference behind the replicates of a value.
REPLICATES = 50


def generator(*parts: object) -> np.random.Generator:
    """Return a random generator whose state depends only on the parts."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]))


class Drawn(Domain):
    """A domain without images, enough for a plan."""

    classes, about, licence = (), "a simulated domain", "none"

    def __init__(self, name: str) -> None:
        self.name, self.fingerprint = name, f"simulated/{name}"

    def count(self, split: Split) -> int:
        """Return a number of images that differs between domains, or that the knobs in the name state."""
        if split == "reference":
            return 1000
        if knobs := knobs_of(self.name):
            return round(2 ** (knobs["classes"] + knobs["per_class"]))
        return 1000 + 250 * (int(hashlib.sha256(self.name.encode()).hexdigest()[:4], 16) % 16)

    def load(self, split: Split, resolution: int) -> Images:
        """Refuse: there are no images."""
        raise NotImplementedError

    def check_resolution(self, resolution: int) -> None:
        """Accept every resolution."""


def knobs_of(source: str) -> dict[str, float]:
    """Return log2 of each knob in a source's name."""
    return {name: math.log2(float(value)) for name, value in dict(split(source)[1]).items()}


@dataclass(frozen=True)
class Layout:
    """The grid of a simulated sweep."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    strategies: tuple[str, ...]

    @cache  # noqa: B019 - a handful of layouts
    def plan(self, seeds: int, rule: str) -> Plan:
        """Return the plan of the sweep with a number of seeds and a stopping rule."""
        spec = {
            "name": "simulated",
            "sources": list(self.sources),
            "targets": list(self.targets),
            "sizes": list(self.sizes),
            "strategies": ["scratch", *self.strategies],
            "seeds": list(range(seeds)),
            "gan": {"resolution": RESOLUTION, "width": 16},
            "training": {"steps": BUDGET},
            "evaluation": {"first_rung": RUNGS[0], "rung_factor": RUNGS[1] / RUNGS[0]},
            "stopping": {"rule": rule},
        }
        return make_plan(SweepSpec.model_validate(spec), find=Drawn)


_SOURCES = ("amber", "birch", "coral", "delta", "ember", "flint")
_TARGETS = ("oak", "pine", "reed", "sage", "teak", "vine", "yew")
_KNOBS = tuple(f"letters[classes={c},per_class={n}]" for c, n in ((4, 50), (4, 200), (8, 100), (16, 50), (16, 200), (8, 400)))

GRID = Layout(_SOURCES, _TARGETS[:3], (100,), ("finetune", "finetune-d"))
KNOBS = Layout(_KNOBS, _TARGETS[:1], (100,), ("finetune", "finetune-g", "finetune-d"))
STRATEGIES = Layout(_SOURCES[:2], _TARGETS[:3], (100,), ("finetune", "finetune-g", "finetune-d"))
SIZES = Layout(_SOURCES[:2], _TARGETS[:2], (50, 200, 800), ("finetune", "finetune-d"))
ONE = Layout(_SOURCES[:1], _TARGETS[:1], (100,), ("finetune",))
FOUR = Layout(_SOURCES[:1], _TARGETS[:1], (100,), ("finetune", "finetune-g", "finetune-d", "freeze-d"))
PAIRS = Layout(_SOURCES, _TARGETS[:6], (100,), ("finetune",))
MANY = Layout(_SOURCES, _TARGETS[:6], (100,), ("finetune", "finetune-d"))


@dataclass(frozen=True, kw_only=True)
class World:
    """The truth of a family of sweeps, and their noise. All effects are log2 gains."""

    name: str
    layout: Layout
    seeds: int = 3
    rule: str = "halving"
    confirm: int = 0
    """Fresh seeds on which the best of each cell are confirmed; 0 for no confirmation."""
    gains: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Gain at each rung by strategy; 0 for others."""
    slope: float = 0.0
    """Gain per halving of the distance, relative to the target's mean nearness."""
    sources: float = 0.0
    """Standard deviation of the sources' effects that distance does not explain."""
    pairs: float = 0.0
    """Standard deviation of the effects of pairs of source and target."""
    knobs: tuple[float, float] = (0.0, 0.0)
    """Gain per doubling of a source's classes and images per class."""
    power: float = 0.3
    """log2 FID falls by this per doubling of the training images."""
    scratch_noise: float = 1.0
    """Standard deviation of scratch between seeds, relative to that of transfers."""
    freedom: float = math.inf
    """Degrees of freedom of the seeds' deviations: Student's t, scaled to the same standard deviation."""
    references: float = 0.0
    """Standard deviation of the reference's error that differs between methods and is shared by their seeds."""
    diverging: tuple[str, ...] = ()
    """Strategies of which each seed but the last diverges after the first rung."""

    def drawn(self, number: int) -> "Sweep":
        """Return a sweep of this world."""
        return Sweep(self, number)

    def run(self, rule: str, confirm: int = 0) -> "World":
        """Return the same world under another stopping rule; its sweeps have the same curves."""
        return replace(self, rule=rule, confirm=confirm)

    @property
    def course(self) -> str:
        """How its sweeps run, in words."""
        return "confirmed" if self.confirm else "default stopping" if self.rule == "halving" else "no stopping"


@dataclass(frozen=True)
class Sweep:
    """One sweep of a world."""

    world: World
    number: int

    @cached_property
    def plan(self) -> Plan:
        """The plan."""
        return self.world.layout.plan(self.world.seeds, self.world.rule)

    def random(self, *parts: object) -> np.random.Generator:
        """Return a generator for one part of the sweep; the same under every stopping rule."""
        return generator(self.world.name, self.number, *parts)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The targets, with one at the end that no trial has seen."""
        return (*self.world.layout.targets, "unseen")

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.targets), len(self.world.layout.sources)

    @cached_property
    def _far(self) -> np.ndarray:
        """The part of log2 of the distance that a source has from every target, (sources,)."""
        return self.random("far").normal(0, FAR, self._shape[1])

    @cached_property
    def distances(self) -> np.ndarray:
        """log2 of the distances, (targets, sources): a part of each target, of each source, and of each pair."""
        random = self.random("distances")
        distances: np.ndarray = (
            5 + random.normal(0, 0.5, (self._shape[0], 1)) + self._far + random.normal(0, APART, self._shape)
        )
        return distances

    @cached_property
    def _of_sources(self) -> np.ndarray:
        """Gain of each source that distance does not explain, (sources,)."""
        a, b = self.world.knobs
        of_knobs = np.array(
            [a * k.get("classes", 0) + b * k.get("per_class", 0) for k in map(knobs_of, self.world.layout.sources)]
        )
        effects: np.ndarray = (
            self.world.sources * self.random("sources").normal(size=self._shape[1]) + of_knobs - of_knobs.mean()
        )
        return effects

    @cached_property
    def _effects(self) -> np.ndarray:
        """Gain of each source on each target, (targets, sources)."""
        nearness = self.distances.mean(axis=1, keepdims=True) - self.distances
        of_pairs = self.world.pairs * self.random("pairs").normal(size=self._shape)
        effects: np.ndarray = self.world.slope * nearness + self._of_sources + of_pairs
        return effects

    def over_targets(self, source: str) -> float:
        """Return the mean gain of a source over all targets that there may be, up to a constant of all sources."""
        place = self.world.layout.sources.index(source)
        return float(self._of_sources[place] - self.world.slope * self._far[place])

    def gain(self, target: str, strategy: str, source: str | None, step: int = BUDGET) -> float:
        """Return the true gain of a method over scratch, the same at every size; -inf for a method that diverges."""
        if source is None:
            return 0.0
        if strategy in self.world.diverging and step > RUNGS[0]:
            return -math.inf
        of_strategy = dict(self.world.gains).get(strategy, (0.0,) * len(RUNGS))[RUNGS.index(step)]
        place = self.targets.index(target), self.world.layout.sources.index(source)
        return of_strategy + float(self._effects[place])

    def level(self, target: str, size: int, step: int) -> float:
        """Return log2 of scratch's true FID."""
        hard = 0.3 * self.targets.index(target)
        return 6 + hard + FALL[RUNGS.index(step)] - self.world.power * math.log2(size / self.world.layout.sizes[0])

    def curve(self, trial: TrialConfig) -> np.ndarray:
        """Return log2 of the measured FID of an adapt trial at the rungs."""
        world, target, source = self.world, trial.domain.name, trial.source and trial.source.name
        method = (target, trial.size, trial.strategy, source)
        noise = self._deviations(self.random("seed", *method, trial.seed)) * (1 if source else world.scratch_noise)
        noise += self.random("reference", target).normal(0, 0.1)
        noise += world.references * self.random("reference", *method).normal()
        gains = [_finite(self.gain(target, str(trial.strategy), source, rung)) for rung in RUNGS]
        truth = [self.level(target, trial.size, rung) - gain for rung, gain in zip(RUNGS, gains, strict=True)]
        curve: np.ndarray = np.array(truth) + noise
        return curve

    def _deviations(self, random: np.random.Generator) -> np.ndarray:
        freedom, count = self.world.freedom, len(RUNGS) + 1
        if math.isinf(freedom):
            drawn = random.normal(size=count)
        else:
            drawn = random.standard_t(freedom, count) / math.sqrt(freedom / (freedom - 2))
        deviations: np.ndarray = NOISE * (math.sqrt(COMMON) * drawn[0] + math.sqrt(1 - COMMON) * drawn[1:])
        return deviations

    def replicates(self, target: str, size: int, strategy: str | None, source: str | None) -> np.ndarray:
        """Return log2 of a method's value relative to its estimate under common bootstrap draws of the reference."""
        common = self.random("bootstrap", target).normal(0, 0.1, REPLICATES)
        method = self.random("bootstrap", target, size, strategy, source).normal(0, 1, REPLICATES)
        drawn: np.ndarray = common + self.world.references * method
        return drawn

    def diverges(self, strategy: str | None, seed: int) -> bool:
        """Return whether a trial diverges after the first rung."""
        return strategy in self.world.diverging and seed < self.world.seeds - 1


def _finite(gain: float) -> float:
    """Return the gain of the seed that survives, where the others diverge."""
    return 1.0 if math.isinf(gain) else gain
