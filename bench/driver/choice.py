"""Which methods of a cell are confirmed after its sweep: the best two transfers at the budget, and scratch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from bench.driver.results import Status
from bench.driver.stopping import FEWEST_SEEDS
from bench.sweeps.plan import Plan
from trainers.config.metrics import RAW, SELECTION, metrics
from trainers.config.strategies.copying import Scratch
from trainers.config.trial import TrialConfig

#: The number of transfers that are confirmed.
BEST = 2

#: A strategy, and the name of its source or None.
Method = tuple[str, str | None]

#: Ends that make a method rank below all methods without them.
_BAD: tuple[Status, ...] = ("diverged", "failed", "blocked")


def methods_of(trials: Iterable[TrialConfig]) -> dict[Method, list[TrialConfig]]:
    """Return the seeds of each method of a cell."""
    methods: dict[Method, list[TrialConfig]] = {}
    for trial in trials:
        method = trial.strategy or "", trial.source.name if trial.source else None
        methods.setdefault(method, []).append(trial)
    return methods


def chosen_from(
    methods: Mapping[Method, Sequence[TrialConfig]], status: Mapping[str, Status], values: Mapping[str, Mapping[int, float]]
) -> tuple[list[Method], list[Method]]:  # fmt: skip
    """Return the best transfers of a cell, best first, and scratch if the cell has it.

    The best have the lowest mean log FID of their seeds at the budget. Methods with a seed that ended badly, or with only one
    seed there of several, come last.

    Args:
        methods: the seeds of each method.
        status, values: how each trial ended, and its FID by step, by key.
    """
    ranking = []
    for method, trials in methods.items():
        if method[0] == Scratch.key:
            continue
        done = [values[trial.key].get(trial.training.steps) for trial in trials if status[trial.key] == "done"]
        at_budget = [value for value in done if value is not None and math.isfinite(value)]
        bad = any(status[trial.key] in _BAD for trial in trials) or len(at_budget) < min(FEWEST_SEEDS, len(trials))
        if at_budget:
            ranking.append((bad, average(at_budget, "fid"), method[0], method[1] or "", method))
    best = [method for *_, method in sorted(ranking, key=lambda row: row[:-1])[:BEST]]
    return best, [method for method in methods if method[0] == Scratch.key]


def comparable(best: Sequence[object], scratch: Sequence[object]) -> bool:
    """Return whether a cell has a transfer to confirm, and another method to compare it with."""
    return bool(best) and len(best) + len(scratch) > 1


def lacking(best: Sequence[object], scratch: Sequence[object]) -> str:
    """Return what a cell lacks for a whole confirmation, "" for nothing."""
    if not best:
        return "no transfer reached the budget"
    few = [] if len(best) == BEST else ["only one transfer reached the budget"]
    return " and ".join([*few, *([] if scratch else ["the sweep has no scratch"])])


def confirmed_methods(plan: Plan, cell: str) -> int:
    """Return how many methods of a cell will be confirmed if its transfers reach the budget."""
    transfers, scratch = transfers_and_scratch(plan, cell)
    best = transfers[:BEST]
    return len(best) + len(scratch) if comparable(best, scratch) else 0


def transfers_and_scratch(plan: Plan, cell: str) -> tuple[list[TrialConfig], list[TrialConfig]]:
    """Return one trial of each transfer of a cell, and one from scratch if the cell has it; none of a search's cell."""
    methods = methods_of(trial for key in plan.cells[cell] if (trial := plan.by_key[key]).kind == "adapt")
    scratch = [trials[0] for method, trials in methods.items() if method[0] == Scratch.key]
    return [trials[0] for method, trials in methods.items() if method[0] != Scratch.key], scratch


def average(values: Iterable[float], metric: str) -> float:
    """Return the mean of a method's seeds, infinite if one of them has no finite value.

    The mean is geometric for a metric that is never negative, such as FID, of which ratios are compared.
    """
    seeds = list(values)
    if not all(map(math.isfinite, seeds)):
        return math.inf
    if metrics()[metric.removesuffix(RAW).removesuffix(SELECTION)].low < 0:
        return fmean(seeds)
    return math.exp(fmean(map(math.log, seeds))) if min(seeds) > 0 else 0.0
