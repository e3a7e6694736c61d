"""Estimated seconds of a sweep's trials, fitted to the times of the trials in a store. Independent of Ray.

A trial consists of its set-up (until step 0 has been measured) and, for every rung, the training up to it and its evaluation
(see `bench.costs.measured`). A planned trial is like a measured one if it has the same networks, losses and minibatches, the
same embedding and the same device. The rungs of like trials are fitted by seconds per step, per evaluation, and in addition for
the last evaluation (non-negative least squares), so budgets and rungs may differ. If all measured rungs are equally many steps
apart, steps and evaluations cannot be distinguished; the interval then covers rungs of training only and rungs with as much
evaluation as possible.

If no measured trial is like a planned one, the one with the nearest work is used, in proportion to the work: for training the
floating-point operations of a step, counted on the networks (`trainers.core.flops`); for evaluation the evaluated pixels. This
is an upper bound if larger networks use the device at least as efficiently, so the interval reaches from no difference to it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import fmean

import numpy as np

from bench.costs.fits import non_negative, t_quantile
from bench.costs.measured import Measured, measured, on_device
from bench.costs.work import alike, differences, network, pixels, work
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

#: Measured trials from which on a strategy is fitted separately; steps of strategies that freeze parts take less time.
ENOUGH = 3


def rounded(number: float) -> str:
    """Return a number, such as hours or their cost, with three digits, or as a whole number from 1,000; without an exponent."""
    return f"{number:,.0f}" if number >= 999.5 else f"{number:.3g}"


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval; `low` and `high` are None if its width is unknown."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" ({rounded(self.low)} to {rounded(self.high)})"
        return f"{rounded(self.value)}{ends}"

    def times(self, factor: float) -> "Interval":
        """Return the interval in another unit."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Interval(self.value * factor, low, high)


@dataclass(frozen=True)
class Estimate:
    """The seconds of a trial on one slot.

    Attributes:
        setup_seconds: until step 0 has been measured.
        rung_seconds: for each of the trial's rungs, from the one before it until its measurement.
        bounds: the 95 % interval of the mean of such trials, as factors; None if only one trial was measured.
        spread: standard deviation of the logarithm of a trial's seconds about that mean.
        unlike: the keys of the sweep file in which it differs from the measured trial that is used in proportion to the work;
            empty if a like trial was measured.
    """

    setup_seconds: float
    rung_seconds: tuple[float, ...]
    bounds: tuple[float, float] | None = (1.0, 1.0)
    spread: float = 0.0
    unlike: tuple[str, ...] = ()

    def seconds(self, done: int | None = None, rungs: int | None = None) -> float:
        """Return the seconds from the end of rung number `done` (None: from the start) to that of `rungs` (None: the last)."""
        return sum(self.rung_seconds[done or 0 : rungs]) + (self.setup_seconds if done is None else 0)


def estimates(
    plan: Plan, store: Store | None, device: str | None = None, further: Sequence[Measured] = ()
) -> dict[str, Estimate]:
    """Return the estimate of every trial of a plan, by key, for the whole trial even if the store has a part of it.

    `device` is one of `Measured`; None is the GPU, or without GPUs the processor, with most trials. Trials are those of the
    store and `further` ones.

    Raises:
        UserError: no trial with this embedding has been measured on the device; names the fix.
    """
    timings = [*([] if store is None else measured(store)), *further]
    return estimate(plan, on_device(timings, device, gpu=bool(plan.spec.resources.gpus)))


def estimate(plan: Plan, timings: Sequence[Measured]) -> dict[str, Estimate]:
    """Return the estimate of every trial of a plan, by key, from measured trials of one device; see `estimates`."""
    fits = _Fits(timings)
    try:
        return {key: fits.estimate(trial) for key, trial in plan.by_key.items()}
    except _Unknown as error:
        device, embedding = "a GPU" if plan.spec.resources.gpus else "a CPU", network(plan.spec.evaluation)
        raise UserError(
            f"the duration of trials is unknown: the store has none on {device} in embedding {embedding!r}; "
            "transfergan run SPEC --max-hours 0.1 measures the first"
        ) from error


@dataclass(frozen=True)
class _Fit:
    """The fit of like trials.

    Attributes:
        like: one of the trials.
        setup, step, evaluation, last: seconds of a set-up, a step and an evaluation, and what the last evaluation adds.
        residuals: for each trial the logarithm of its seconds minus that of the fitted seconds.
        apart: the number of steps between rungs if it is the same for all rungs, else None.
    """

    like: TrialConfig
    setup: float
    step: float
    evaluation: float
    last: float
    residuals: tuple[float, ...]
    apart: float | None

    @classmethod
    def of(cls, timings: Sequence[Measured]) -> "_Fit":
        legs = np.array([leg for trial in timings for leg in trial.legs], float).reshape(-1, 3)
        design = np.column_stack([legs[:, 0], np.ones(len(legs)), legs[:, 1]])
        step, evaluation, last = map(float, non_negative(design, legs[:, 2]))
        setups = [trial.setup_seconds for trial in timings if trial.setup_seconds is not None]
        setup = fmean(setups) if setups else evaluation
        residuals = []
        for trial in timings:
            rungs = sum(n * step + evaluation + end * last for n, end, _ in trial.legs)
            fitted = setup * (trial.setup_seconds is not None) + rungs
            if fitted > 0 and trial.seconds > 0:
                residuals.append(math.log(trial.seconds / fitted))
        apart = float(legs[0, 0]) if len(set(legs[:, 0])) == 1 else None
        return cls(timings[0].trial, setup, step, evaluation, last, tuple(residuals), apart)

    @property
    def readings(self) -> tuple["_Fit", ...]:
        """This fit and, if all rungs are equally far apart, the opposite reading of the same times.

        Steps and evaluations cannot be distinguished then. The fit has no evaluations, which gives the most for longer trials;
        the other reading has an evaluation as long as the set-up, which contains one.
        """
        if self.apart is None:
            return (self,)
        rung = self.apart * self.step + self.evaluation
        evaluation = min(self.setup, rung)
        return self, replace(self, evaluation=evaluation, step=(rung - evaluation) / self.apart)

    def legs(self, trial: TrialConfig, training: float = 1, evaluation: float = 1) -> tuple[float, tuple[float, ...]]:
        """Return a trial's seconds for the set-up and each rung, with training and evaluation multiplied by these factors."""
        rungs = [
            (step - before) * self.step * training + (self.evaluation + (step == trial.rungs[-1]) * self.last) * evaluation
            for before, step in pairwise((0, *trial.rungs))
        ]
        return self.setup * evaluation, tuple(rungs)


class _Unknown(Exception):
    """No measured trial has a planned trial's embedding."""


class _Fits:
    """The fits of measured trials, each computed once."""

    def __init__(self, timings: Sequence[Measured]) -> None:
        self._timings: dict[str, dict[str | None, list[Measured]]] = {}
        for timing in timings:
            if timing.legs:
                self._timings.setdefault(alike(timing.trial), {}).setdefault(timing.trial.strategy, []).append(timing)
        self._fits: dict[tuple[str, str | None], _Fit] = {}
        self._estimates: dict[tuple[str, str | None, tuple[int, ...]], Estimate] = {}

    def estimate(self, trial: TrialConfig) -> Estimate:
        """Return the estimate of a trial. Raises _Unknown."""
        if trial.imported:
            return Estimate(0.0, (0.0,) * len(trial.rungs))
        kind = alike(trial)
        case = kind, trial.strategy, trial.rungs
        if case not in self._estimates:
            like = kind in self._timings
            self._estimates[case] = self._by_fit(self._fit(kind, trial.strategy), trial) if like else self._scaled(trial)
        return self._estimates[case]

    def _scaled(self, trial: TrialConfig) -> Estimate:
        """Return the estimate of a trial from the fit with the nearest work. Raises _Unknown."""
        embedding = network(trial.evaluation)
        others = [
            self._fit(kind, trial.strategy)
            for kind, by_strategy in self._timings.items()
            if network(next(iter(by_strategy.values()))[0].trial.evaluation) == embedding
        ]
        if not others:
            raise _Unknown
        ratios = [(work(trial) / work(fit.like), pixels(trial) / pixels(fit.like)) for fit in others]
        nearest = min(range(len(others)), key=lambda i: abs(math.log(ratios[i][0])))
        return replace(self._by_fit(others[nearest], trial, *ratios[nearest]), unlike=differences(trial, others[nearest].like))

    def _by_fit(self, fit: _Fit, trial: TrialConfig, training: float = 1, evaluation: float = 1) -> Estimate:
        """Return the estimate of a trial by a fit, with training and evaluation multiplied by these factors."""
        setup, rungs = fit.legs(trial, training, evaluation)
        total, bounds = setup + sum(rungs), self._bounds(fit)
        if bounds is not None and total:
            factors = [(end(1, training), end(1, evaluation)) for end in (min, max)]
            readings = [reading.legs(trial, *pair) for reading in fit.readings for pair in factors]
            ends = [first + sum(others) for first, others in readings]
            bounds = bounds[0] * min(total, *ends) / total, bounds[1] * max(total, *ends) / total
        return Estimate(setup, rungs, bounds, self._pooled[0])

    def _fit(self, kind: str, strategy: str | None) -> _Fit:
        """Return the fit of a strategy's trials if there are enough, else of all like trials."""
        by_strategy = self._timings[kind]
        group = strategy if len(by_strategy.get(strategy, ())) >= ENOUGH or len(by_strategy) == 1 else "all"
        if (kind, group) not in self._fits:
            timings = by_strategy.get(group) or [trial for trials in by_strategy.values() for trial in trials]
            self._fits[kind, group] = _Fit.of(timings)
        return self._fits[kind, group]

    @cached_property
    def _pooled(self) -> tuple[float, int]:
        """The spread pooled over all fits, and its degrees of freedom."""
        fits = [self._fit(kind, strategy) for kind, by_strategy in self._timings.items() for strategy in by_strategy]
        distinct = {id(fit): fit.residuals for fit in fits}.values()
        free = sum(len(residuals) - 1 for residuals in distinct if residuals)
        squares = sum((r - fmean(residuals)) ** 2 for residuals in distinct for r in residuals)
        return (math.sqrt(squares / free), free) if free > 0 else (0.0, 0)

    def _bounds(self, fit: _Fit) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean of a fit's trials as factors, by Student's t on logarithms."""
        spread, free = self._pooled
        if not free:
            return None
        half = t_quantile(free) * spread / math.sqrt(max(1, len(fit.residuals)))
        return math.exp(-half), math.exp(half)


def unlike(estimates: Iterable[Estimate]) -> tuple[str, ...]:
    """Return the keys of the sweep file in which trials differ from the measured ones that they are estimated from."""
    return tuple(sorted({key for estimate in estimates for key in estimate.unlike}))


def together(parts: Iterable[tuple[Estimate, float]]) -> Interval:
    """Return the total seconds of trials with a 95 % interval.

    Errors of the means are treated as common to all trials, as when the machine was busy during the measurements; deviations of
    a trial from its mean as independent. `parts` are trials' estimates, each with the seconds of it that count.
    """
    parts = list(parts)
    total = sum(seconds for _, seconds in parts)
    if any(trial.bounds is None for trial, seconds in parts if seconds):
        return Interval(total, None, None)
    independent = 1.96 * math.sqrt(sum((seconds * trial.spread) ** 2 for trial, seconds in parts))
    ends = [(trial.bounds or (1.0, 1.0), seconds) for trial, seconds in parts]
    low, high = (abs(sum(seconds * (bounds[side] - 1) for bounds, seconds in ends)) for side in (0, 1))
    return Interval(total, max(0.0, total - math.hypot(low, independent)), total + math.hypot(high, independent))
