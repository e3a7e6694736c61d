"""The cost of a sweep: the hours of its trials at most, and as expected with the stopping rule."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.costs.budget import hours
from bench.costs.estimate import Estimate, Interval, estimate, together, unlike
from bench.costs.measured import Measured, devices, measured, on_device
from bench.costs.work import alike
from bench.driver.choice import BEST, comparable, transfers_and_scratch
from bench.driver.ledger import ENDED, Ledger
from bench.driver.stopping import Action, judge
from bench.driver.verdicts import held
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError

#: Random orders of merit per cell, and at most over all cells and over all trials.
DRAWS, ALL_DRAWS, ALL_TRIALS = 20, 2000, 200_000

#: The probability that a trial continues to each of its rungs, by key.
Shares = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bill:
    """Hours (see `bench.costs.budget.hours`) on one device.

    The trials of a confirmation are part of all of them; they never stop early.

    Attributes:
        device: None if the store does not record it.
        measured: the number of measured trials that the hours are estimated from.
        unlike: the keys of the sweep file in which trials of the plan differ from all measured ones, so that they are estimated
            in proportion to the work.
        evaluation: the share of evaluation in the time of the measured trials that are like the plan's; None if unknown.
        at_most: all trials, to their budgets.
        expected: all trials, up to the rungs that the stopping rule is expected to allow; see `expected_shares`.
        left_at_most, left_expected: the part of both that the store lacks.
    """

    device: str | None
    measured: int
    unlike: tuple[str, ...]
    evaluation: float | None
    at_most: Interval
    expected: Interval
    left_at_most: Interval
    left_expected: Interval

    def times(self, factor: float) -> dict[str, Any]:
        """Return the four intervals as plain data, multiplied by a factor such as the price of an hour."""
        names = ("at_most", "expected", "left_at_most", "left_expected")
        return {name: asdict(getattr(self, name).times(factor)) for name in names}


def bills(
    plan: Plan, store: Store | None, seeds: int = 0, confirming: Plan | None = None, further: Sequence[Measured] = ()
) -> list[Bill]:
    """Return a plan's bill on each device that there are measurements from, the device with most trials first.

    Args:
        plan, store: the plan, and where trials were measured.
        seeds: of the confirmation that follows the plan, 0 for none.
        confirming: the plan of the confirmation. None while it is not known: then its methods are the transfers of each cell
            that take the most time.
        further: measured times besides those of the store.

    Raises:
        UserError: there are no measurements.
    """
    gpu = bool(plan.spec.resources.gpus)
    timings = [*([] if store is None else measured(store)), *further]
    then = None if confirming is None or store is None else Ledger.open(confirming, store)
    estimated: list[tuple[Mapping[str, Estimate], _Confirmation, str | None, Sequence[Measured]]] = []
    unknown = None
    for device in devices(timings, gpu=gpu) or (None,):
        on_it = on_device(timings, device, gpu=gpu)
        try:
            estimates = estimate(plan, on_it)
            after = _of(then, estimate(then.plan, on_it)) if then else _dearest(plan, estimates, seeds)
            estimated.append((estimates, after, device, on_it))
        except UserError as error:
            unknown = error
    if unknown and not estimated:
        raise unknown
    # What follows takes most of the time of a large plan, so it comes once the durations are known.
    fresh = Ledger.fresh(plan)
    now = fresh if store is None else Ledger.open(plan, store)
    now.settle()
    from_start = expected_shares(fresh)
    from_now = from_start if store is None else expected_shares(now)
    return [_bill(estimates, now, from_start, from_now, after, device, on_it) for estimates, after, device, on_it in estimated]


#: The estimates of some trials, each with the seconds of it that count.
Parts = Sequence[tuple[Estimate, float]]


@dataclass(frozen=True)
class _Confirmation:
    """The trials of a confirmation, in all and as far as the store lacks them."""

    all: Parts
    left: Parts


def _of(ledger: Ledger, estimates: Mapping[str, Estimate]) -> _Confirmation:
    """Return the parts of a planned confirmation; its sources are those of the sweep."""
    parts, left = [], []
    for trial in ledger.plan.of_kind("adapt"):
        estimated, reached = estimates[trial.key], sum(rung <= ledger.last_rung(trial.key) for rung in trial.rungs)
        parts.append((estimated, estimated.seconds()))
        if ledger.status[trial.key] not in ENDED:
            left.append((estimated, _seconds(estimated, (1.0,) * len(trial.rungs), reached)))
    return _Confirmation(parts, left)


def _dearest(plan: Plan, estimates: Mapping[str, Estimate], seeds: int) -> _Confirmation:
    """Return the parts of a confirmation with the two transfers of each cell that take the most time, and with scratch."""
    parts: list[tuple[Estimate, float]] = []
    for cell in plan.cells:
        transfers, scratch = ([estimates[trial.key] for trial in trials] for trials in transfers_and_scratch(plan, cell))
        best = sorted(transfers, key=Estimate.seconds)[-BEST:]
        if comparable(best, scratch):
            parts += [(estimated, estimated.seconds()) for estimated in (*best, *scratch)] * seeds
    return _Confirmation(parts, parts)


def _bill(
    estimates: Mapping[str, Estimate], now: Ledger, from_start: Shares, from_now: Shares, after: _Confirmation,
    device: str | None, timings: Sequence[Measured],
) -> Bill:  # fmt: skip
    """Return a bill from the trials' estimates, their shares from an empty store and from the present one, and what follows."""
    by_key, one = now.plan.by_key, hours(1, now.plan.spec.resources)
    certain = {key: (1.0,) * len(trial.rungs) for key, trial in by_key.items()}
    reached = {key: sum(rung <= now.last_rung(key) for rung in by_key[key].rungs) for key in now.open_trials()}

    def total(shares: Shares, reached: Mapping[str, int], then: Parts) -> Interval:
        trials = [(estimates[key], _seconds(estimates[key], shares[key], done)) for key, done in reached.items()]
        return together([*trials, *then]).times(one)

    begin = dict.fromkeys(by_key, 0)
    return Bill(
        device=device,
        measured=len(timings),
        unlike=unlike(estimates.values()),
        evaluation=_evaluation_share(now.plan, timings),
        at_most=total(certain, begin, after.all),
        expected=total(from_start, begin, after.all),
        left_at_most=total(certain, reached, after.left),
        left_expected=total(from_now, reached, after.left),
    )


def _evaluation_share(plan: Plan, timings: Sequence[Measured]) -> float | None:
    kinds = set(map(alike, plan.trials))
    like = [
        (each.evaluation_share, each.seconds)
        for each in timings
        if each.evaluation_share is not None and alike(each.trial) in kinds
    ]
    total = sum(seconds for _, seconds in like)
    return sum(share * seconds for share, seconds in like) / total if total else None


def _seconds(trial: Estimate, shares: Sequence[float], done: int) -> float:
    """Return the expected seconds of a trial after its first `done` rungs, given the probabilities of reaching the rungs."""
    later = zip(trial.rung_seconds[done:], shares[done:], strict=True)
    return (0 if done else trial.setup_seconds) + sum(seconds * share for seconds, share in later)


@cache
def drawn_merit(factors: tuple[str | None, ...], seed: str) -> float:
    """Return an imagined merit (less is better) of a method: the sum of a standard normal deviate for each of its factors.

    A factor, such as the method's strategy or source, has the same deviate in all methods with one seed.
    """
    return sum(random.Random(f"{seed} {factor}").gauss() for factor in factors)  # noqa: S311 - not a secret


def expected_shares(ledger: Ledger) -> dict[str, tuple[float, ...]]:
    """Return the probability that each trial continues to each of its rungs.

    The stopping rule is applied to random orders of merit: see `drawn_merit`, of a method's strategy and source, or of a tried
    setting. The order is the same at all rungs, and no trial fails or ceases to improve. Measured values replace drawn ones;
    ended trials have the rungs that they reached. The diversity of samples is never drawn, so a trial collapses only at a rung
    where it was measured, as in the run.
    """
    plan = ledger.plan
    rule = plan.spec.stopping.model_copy(update={"plateau": 0})
    shares = {key: (1.0,) * len(trial.rungs) for key, trial in plan.by_key.items()}
    draws = max(1, min(DRAWS, ALL_DRAWS // max(1, len(plan.cells)), ALL_TRIALS // len(plan.trials)))
    for cell, keys in plan.cells.items():
        rungs, recorded = ledger.verdicts.rungs(cell), ledger.verdicts.curves(cell)
        at_rung = {rung: sorted(curve.values[rung] for curve in recorded if rung in curve.values) for rung in rungs}
        reached = {key: np.zeros(len(shares[key])) for key in keys}
        for draw in range(draws):
            curves = []
            for curve in recorded:
                trial = plan.by_key[curve.key]
                factors: tuple[str | None, ...] = (trial.strategy, trial.parent) if trial.kind == "adapt" else (curve.method,)
                place = NormalDist(sigma=math.sqrt(len(factors))).cdf(drawn_merit(factors, f"{draw} {cell}"))
                if ledger.status[curve.key] == "stopped":  # perhaps by its own curve, which is not drawn
                    curves.append(replace(curve, failed=True))
                elif ledger.status[curve.key] in ENDED:
                    curves.append(curve)
                else:
                    drawn = {r: float(np.quantile(at_rung[r], place)) if at_rung.get(r) else place for r in trial.rungs}
                    values = held({**drawn, **curve.values}, trial.training.steps, rungs)
                    curves.append(replace(curve, values=values))
            for key, verdict in judge(curves, rungs, rule, cell).items():
                trial_rungs = plan.by_key[key].rungs
                last = verdict.rung if verdict.action is Action.STOP and verdict.rung else trial_rungs[-1]
                reached[key][: sum(rung <= last for rung in trial_rungs)] += 1
        shares |= {key: tuple((times / draws).tolist()) for key, times in reached.items()}
    for key in ledger.having(*ENDED):
        shares[key] = tuple(float(rung <= ledger.last_rung(key)) for rung in plan.by_key[key].rungs)
    return shares
