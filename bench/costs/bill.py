"""What a sweep will cost: its trials' hours at most, and as many as are to be expected where a rule stops the poor ones."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.costs.budget import hours
from bench.costs.estimate import Estimate, Interval, estimate, together
from bench.costs.measured import devices, measured, on_device
from bench.driver.ledger import ENDED, Ledger, held
from bench.driver.stopping import Action, judge
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError

#: Orders of merit that are drawn for a cell: so many, and no more than so many over all cells.
DRAWS, ALL_DRAWS = 20, 2000

#: How likely a trial is to go on to each of its rungs, by key.
Shares = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bill:
    """Hours (see `bench.budget.hours`) on one device.

    Attributes:
        device: its name; None where the store does not say.
        measured: how many measured trials it rests on.
        scaled: whether any of the plan's trials is told by others' work, since none like it has been measured.
        at_most: all trials, to their budgets.
        expected: all trials, as far as the stopping rule is expected to let them; see `expected_shares`.
        left_at_most, left_expected: of both, what the store lacks.
    """

    device: str | None
    measured: int
    scaled: bool
    at_most: Interval
    expected: Interval
    left_at_most: Interval
    left_expected: Interval

    def times(self, factor: float) -> dict[str, Any]:
        """Return it as plain data, the hours in another unit."""
        said = ("at_most", "expected", "left_at_most", "left_expected")
        return {name: asdict(getattr(self, name).times(factor)) for name in said}


def bills(plan: Plan, store: Store | None) -> list[Bill]:
    """Return what a plan takes on each device that the store knows it of, the one of most trials first.

    Raises:
        UserError: on none; says how to measure it.
    """
    gpu = bool(plan.spec.resources.gpus)
    found = [] if store is None else measured(store)
    fresh = Ledger.fresh(plan)
    now = fresh if store is None else Ledger.open(plan, store)
    now.settle()
    whole, rest = expected_shares(fresh), expected_shares(now)
    made, unknown = [], None
    for device in devices(found, gpu=gpu) or (None,):
        own = on_device(found, device, gpu=gpu)
        try:
            made.append(_bill(estimate(plan, own), now, whole, rest, device, len(own)))
        except UserError as error:
            unknown = error
    if unknown and not made:
        raise unknown
    return made


def _bill(
    found: Mapping[str, Estimate], now: Ledger, whole: Shares, rest: Shares, device: str | None, count: int
) -> Bill:  # fmt: skip
    """Return a bill from what trials take, and how likely they are to go on afresh and from what there is."""
    by_key, one = now.plan.by_key, hours(1, now.plan.spec.resources)
    all_of_them = {key: (1.0,) * len(trial.rungs) for key, trial in by_key.items()}
    reached = {key: sum(rung <= now.last_rung(key) for rung in by_key[key].rungs) for key in now.open_trials()}

    def total(shares: Shares, after: Mapping[str, int]) -> Interval:
        return together((found[key], _seconds(found[key], shares[key], done)) for key, done in after.items()).times(one)

    begin = dict.fromkeys(by_key, 0)
    return Bill(
        device=device,
        measured=count,
        scaled=any(each.scaled for each in found.values()),
        at_most=total(all_of_them, begin),
        expected=total(whole, begin),
        left_at_most=total(all_of_them, reached),
        left_expected=total(rest, reached),
    )


def _seconds(each: Estimate, shares: Sequence[float], done: int) -> float:
    """Return a trial's seconds after so many rungs, each of which is reached in a share of all cases."""
    later = zip(each.rung_seconds[done:], shares[done:], strict=True)
    return (0 if done else each.setup_seconds) + sum(seconds * share for seconds, share in later)


def expected_shares(ledger: Ledger) -> dict[str, tuple[float, ...]]:
    """Return how likely each trial is to go on to each of its rungs.

    The rule itself decides, on drawn orders of merit: a method's is its strategy's and its source's, both normally distributed
    and equally wide (a tried setting has one of its own), and stays as it is from rung to rung; nothing collapses, fails or
    ceases to improve. Where values are known, they count; a trial that has ended has gone as far as it has.
    """
    plan, rng = ledger.plan, np.random.default_rng(0)
    rule = plan.spec.stopping.model_copy(update={"plateau": 0})
    found = {key: (1.0,) * len(trial.rungs) for key, trial in plan.by_key.items()}
    draws = max(1, min(DRAWS, ALL_DRAWS // max(1, len(plan.cells))))
    for cell, keys in plan.cells.items():
        rungs, shown = ledger.rungs(cell), ledger.curves(cell)
        known = {rung: sorted(curve.values[rung] for curve in shown if rung in curve.values) for rung in rungs}
        reached = {key: np.zeros(len(found[key])) for key in keys}
        for _ in range(draws):
            merit: defaultdict[object, float] = defaultdict(rng.standard_normal)
            curves = []
            for curve in shown:
                trial = plan.by_key[curve.key]
                of = (trial.strategy, trial.source and trial.source.name) if trial.kind == "adapt" else (curve.method,)
                place = NormalDist(sigma=math.sqrt(len(of))).cdf(sum(merit[each] for each in enumerate(of)))
                if ledger.status[curve.key] == "stopped":  # by what it came to itself it may have been, which is not drawn
                    curves.append(replace(curve, failed=True))
                elif ledger.status[curve.key] in ENDED:
                    curves.append(curve)
                else:
                    drawn = {rung: float(np.quantile(known[rung], place)) if known.get(rung) else place for rung in trial.rungs}
                    values = held({**drawn, **curve.values}, trial.training.steps, rungs)
                    curves.append(replace(curve, values=values))
            for key, verdict in judge(curves, rungs, rule, cell).items():
                own = plan.by_key[key].rungs
                last = verdict.rung if verdict.action is Action.STOP and verdict.rung else own[-1]
                reached[key][: sum(rung <= last for rung in own)] += 1
        found |= {key: tuple((each / draws).tolist()) for key, each in reached.items()}
    for key in ledger.having(*ENDED):
        found[key] = tuple(float(rung <= ledger.last_rung(key)) for rung in plan.by_key[key].rungs)
    return found
