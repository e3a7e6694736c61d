"""Which sweep fits a time: the size of the networks and of the grid, and the steps. Pure functions of measured times.

A sweep fits if its trials, all run to their budgets, end in time on the slots of this machine: what the stopping rule saves is
left as a reserve.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.costs.estimate import estimate
from bench.costs.machines import Cluster
from bench.costs.measured import Measured
from bench.costs.simulation import simulate
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.spec import StoppingConfig, SweepSpec


@dataclass(frozen=True)
class Networks:
    """The height and width of the images, pixels, and the channels at full resolution."""

    resolution: int
    width: int

    def __str__(self) -> str:
        return f"{self.resolution} pixels, width {self.width}"

    @property
    def steps(self) -> int:
        """Generator steps with which a sweep is worth its time: 240 at 8 pixels; larger images take more."""
        return 30 * self.resolution


@dataclass(frozen=True)
class Grid:
    """The numbers of sources, of strategies, of seeds of each adaptation, and of trainings of each source."""

    sources: int
    strategies: int
    seeds: int
    trainings: int


#: Sizes of networks, from the smallest; the last is the paper's.
NETWORKS = tuple(Networks(*size) for size in ((8, 16), (16, 16), (32, 16), (32, 32), (64, 32), (64, 64)))

#: The paper's strategies, the most informative first.
STRATEGIES = ("scratch", "finetune", "finetune-g", "finetune-d")

#: Sizes of grids, from the largest. Two seeds are the fewest that show a spread.
GRIDS = tuple(Grid(*size) for size in ((3, 4, 3, 3), (3, 4, 2, 2), (2, 4, 2, 2), (2, 4, 2, 1), (2, 2, 2, 1), (1, 2, 2, 1)))

#: The grids for which larger networks are taken: they compare two sources, if there are two, by all strategies.
WORTHWHILE = GRIDS[:4]

#: Fewest steps of a sweep, which only the smallest networks may have, and most: those of the paper.
FEWEST, MOST = 80, 25_000

#: Steps are a multiple of this, so that the rungs are whole.
_MULTIPLE = 8

#: How much longer an adaptation's source is trained.
PRETRAIN = 2


@dataclass(frozen=True)
class Question:
    """What a sweep is to answer.

    Attributes:
        name: of the sweep.
        domains: names for domains, by which `target` and `sources` call them.
        target: a domain.
        size: its training images.
        sources: domains, the nearest first.
        gpu: whether trials run on a GPU each, else on a CPU core each.
    """

    name: str
    domains: Mapping[str, str]
    target: str
    size: int
    sources: Sequence[str]
    gpu: bool = False

    def domain(self, name: str) -> str:
        """Return the domain that the target or a source is."""
        return self.domains.get(name, name)


@dataclass(frozen=True)
class Fit:
    """A sweep that fits, and the seconds that it takes at most."""

    networks: Networks
    grid: Grid
    steps: int
    seconds: float


def rate(steps: int) -> float:
    """Return the learning rate for a number of steps: for few those of the presets, beyond 3,000 the paper's.

    >>> [rate(steps) for steps in (100, 240, 480, 1000, 3000, 25_000)]
    [0.002, 0.002, 0.001, 0.0005, 0.0002, 0.0001]
    """
    return next((rate for rate in (0.002, 0.001, 0.0005, 0.0002) if rate * steps <= 0.6), 0.0001)


def settings(question: Question, networks: Networks, grid: Grid, steps: int) -> dict[str, Any]:
    """Return the keys and values of a sweep file."""
    sources = list(question.sources[: grid.sources])
    learning_rate, rungs = rate(steps), 8 if steps >= 4000 else 4
    methods = len(sources) * (grid.strategies - 1)
    return {
        "name": question.name,
        "domains": {name: text for name, text in question.domains.items() if name in {question.target, *sources}},
        "sources": sources,
        "targets": [question.target],
        "sizes": [question.size],
        "strategies": list(STRATEGIES[: grid.strategies]),
        "seeds": list(range(grid.seeds)),
        "gan": {"resolution": networks.resolution, "width": networks.width},
        "training": {
            "steps": steps, "batch": 32, "critic_steps": 5 if question.gpu else 2, "generator_lr": learning_rate,
            "critic_lr": learning_rate,
        },
        "pretrain": {"steps": PRETRAIN * steps, "seeds": list(range(grid.trainings))},
        "evaluation": {"embedding": "builtin", "samples": 1000, "first_rung": steps // rungs, "rung_factor": 2},
        "stopping": {"rule": "halving", "keep": 0.5} if methods > 3 else {"rule": "none"},
        "resources": {"cpus": 1, "gpus": 1, "graphs": True} if question.gpu else {"cpus": 1, "gpus": 0},
    }  # fmt: skip


def planned(question: Question, networks: Networks, grid: Grid, steps: int) -> Plan:
    """Return the plan of a sweep. Raises UserError as `make_plan`."""
    return make_plan(SweepSpec.model_validate(settings(question, networks, grid, steps)))


def seconds(plan: Plan, timings: Sequence[Measured], slots: int) -> float:
    """Return the seconds that the trials of a plan take, all to their budgets, on this many slots."""
    unstopped = replace(plan, spec=plan.spec.model_copy(update={"stopping": StoppingConfig(rule="none")}))
    return simulate(unstopped, estimate(plan, timings), Cluster(slots), values={}).makespan


def fit(
    question: Question, networks: Networks, timings: Sequence[Measured], slots: int, available: float,
    grids: Sequence[Grid] = GRIDS, enough: int | None = None,
) -> Fit | None:  # fmt: skip
    """Return the first of `grids` that fits `available` seconds with `enough` steps, and all steps that fit; None if none does.

    By default as many steps are enough as those of the networks.
    """

    def at(grid: Grid, multiple: int) -> Fit:
        steps = multiple * _MULTIPLE
        return Fit(networks, grid, steps, seconds(planned(question, networks, grid, steps), timings, slots))

    fewest = math.ceil((enough or networks.steps) / _MULTIPLE)
    for grid in grids_for(len(question.sources), grids):
        best = at(grid, fewest)
        if best.seconds > available:
            continue
        low, high = fewest, MOST // _MULTIPLE + 1  # low fits, and high is too much
        while high - low > 1 + low // 100:
            middle = min((low + high) // 2, 2 * low)
            tried = at(grid, middle)
            low, high, best = (middle, high, tried) if tried.seconds <= available else (low, middle, best)
        return best
    return None


def grids_for(sources: int, grids: Sequence[Grid] = GRIDS) -> list[Grid]:
    """Return grids with at most this many sources, each once."""
    return list(dict.fromkeys(replace(grid, sources=min(grid.sources, sources)) for grid in grids))
