"""The simulated sweeps of the benchmark, and what is measured on each."""

import math
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations, product
from os import cpu_count

from threadpoolctl import threadpool_limits

from analysis.frames import load, records
from analysis.statistics import Analysis
from tests.benchmarks.truth import worlds
from tests.benchmarks.truth.advice import Advice, advised
from tests.benchmarks.truth.claims_check import Tally, check
from tests.benchmarks.truth.stores import stored
from tests.benchmarks.truth.worlds import FOUR, GRID, KNOBS, MANY, ONE, PAIRS, SIZES, STRATEGIES, World

#: log2 of x1.31, x1.18 and x1.39 at the budget.
_GAINS = {"finetune": 0.390, "finetune-g": 0.239, "finetune-d": 0.475}
_STEADY = tuple((name, (gain,) * 3) for name, gain in _GAINS.items())
#: The same at the budget, and log2 of x1.72, x1.73 and x1.08 at the first rung.
_SLOW = (("finetune", (0.782, 0.58, 0.390)), ("finetune-g", (0.791, 0.5, 0.239)), ("finetune-d", (0.111, 0.3, 0.475)))

#: Worlds in which no source, strategy, distance or knob has an effect, but sources may differ for other reasons.
_NULL = {
    "equal variances": {},
    "unequal variances": {"scratch_noise": 2.0},
    "heavy tails": {"freedom": 3.0},
    "other reasons": {"sources": 0.25, "layout": PAIRS},
    "few references": {"references": 0.1},
    "confirmed": {"confirm": 3},
}
#: Seeds, stopping rules and layouts of the null worlds, in turn.
_COMBINATIONS = tuple(product((3, 2, 5, 1), ("halving", "none"), (GRID, KNOBS, SIZES)))

#: Rules, and fresh seeds that confirm.
_COURSES = (("halving", 0), ("none", 0), ("halving", 3))

#: Worlds with known effects.
PLANTED = (
    World(name="sources and distance", layout=GRID, gains=_STEADY, slope=0.1, sources=0.1, pairs=0.05),
    World(name="sizes", layout=SIZES, gains=_STEADY, slope=0.1),
    World(name="slow starters", layout=STRATEGIES, gains=_SLOW, sources=0.15),
    World(name="knobs", layout=KNOBS, gains=_STEADY, knobs=(0.05, 0.1)),
)
SLOW = World(name="slow starters, again", layout=STRATEGIES, gains=_SLOW, sources=0.15)
DIVERGING = World(name="diverging", layout=STRATEGIES, gains=_STEADY, diverging=("finetune-g",))
REALISTIC = World(name="realistic", layout=MANY, gains=_STEADY, slope=0.15, sources=0.15, pairs=0.1, seeds=2)
NEUTRAL = World(name="no effect", layout=PAIRS)

#: One method has an effect, among one or four that are compared with scratch.
_EFFECT = (("finetune", (math.log2(1.3),) * 3),)
POWER = (
    World(name="one comparison", layout=ONE, gains=_EFFECT, rule="none"),
    World(name="noisy scratch", layout=ONE, gains=_EFFECT, rule="none", scratch_noise=2.0, seeds=5),
    World(name="four comparisons", layout=FOUR, gains=_EFFECT, rule="none", seeds=5),
)


@dataclass(frozen=True)
class Case:
    """One sweep of a world, for one study: null, planted, order, diverging, advice or power."""

    study: str
    world: World
    number: int


@dataclass(frozen=True)
class Order:
    """How the printed order of a sweep agrees with the truth at the budget."""

    best: tuple[bool, ...]
    """By cell: whether the named best transfer is the best."""
    pairs: tuple[bool, ...]
    """By cell, source and pair of its strategies that are compared at the last step: whether their order is right."""


@dataclass(frozen=True)
class Result:
    """What was measured on one sweep."""

    case: Case
    tallies: tuple[Tally, ...] = ()
    order: Order = Order((), ())
    advice: Advice | None = None
    error: str | None = None
    """Why the analysis failed."""


def cases(sweeps: int) -> Iterator[Case]:
    """Yield all sweeps of the benchmark; `sweeps` is the number of each null world."""
    for name, settings in _NULL.items():
        for number in range(sweeps):
            seeds, rule, layout = _COMBINATIONS[number % len(_COMBINATIONS)]
            plain = World(name=name, layout=layout, seeds=seeds, rule=rule)
            yield Case("null", replace(plain, **settings), number)
    half, third = -(-sweeps // 2), -(-sweeps // 3)
    for number, world in product(range(half), PLANTED):
        yield Case("planted", world.run(*_COURSES[number % len(_COURSES)]), number)
    for number, rule in product(range(half), ("halving", "none")):
        yield Case("order", SLOW.run(rule), number)
    for number in range(third):
        yield Case("diverging", DIVERGING, number)
        for world in (REALISTIC, NEUTRAL):
            yield Case("advice", world.run(("halving", "none")[number % 2]), number)
    for world, number in product(POWER, range(sweeps)):
        yield Case("power", world, number)


def measure(chosen: Sequence[Case]) -> Iterator[Result]:
    """Yield the result of each sweep, in order, from as many processes as there are cores."""
    with ProcessPoolExecutor(cpu_count(), initializer=threadpool_limits, initargs=(1,)) as pool:
        yield from pool.map(measured, chosen, chunksize=4)


def measured(case: Case) -> Result:
    """Simulate, store, stop, read and analyse one sweep, and compare it with the truth."""
    sweep = case.world.drawn(case.number)
    with stored(sweep) as store:
        frames = load(store)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            analysis, tallies = check(sweep, frames)
            advice = advised(sweep, frames) if case.study == "advice" else None
    except Exception as error:  # one store that cannot be analysed is a finding, not the end of the benchmark
        return Result(case, error=f"{type(error).__name__}: {error}")
    return Result(case, tuple(tallies), _order(sweep, analysis), advice)


def _order(sweep: worlds.Sweep, analysis: Analysis) -> Order:
    targets = {cell: sweep.plan.by_key[keys[0]].domain.name for cell, keys in sweep.plan.cells.items()}
    layout, best, pairs = sweep.world.layout, [], []
    for row in records(analysis.best):
        methods = product(layout.strategies, layout.sources)
        most = max(sweep.gain(targets[row["cell"]], *method) for method in methods)
        best.append(sweep.gain(targets[row["cell"]], row["strategy"], row["source"]) >= most - 1e-9)
    compared = analysis.strategies[~analysis.strategies["early"].astype(bool)]
    for (cell, source), ranked in compared.groupby(["cell", "source"], sort=False):
        order = ranked.sort_values("rank")["strategy"]
        gains = [sweep.gain(targets[cell], name, None if name == "scratch" else source) for name in order]
        pairs += [first > second for first, second in combinations(gains, 2)]
    return Order(tuple(best), tuple(pairs))
