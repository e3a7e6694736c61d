"""What a sweep's trials will take, from what the trials in a store have taken. Plain functions of the store; no Ray.

A trial is its set-up (until step 0 has been measured) and then, for every rung, training up to it and its evaluation (see
`bench.timing`). A planned trial is like a measured one that has the same networks, the same losses and minibatches, the same
embedding and device. Their rungs are fitted with so many seconds per step, per evaluation, and more for the last one (least
squares, none negative); so budgets and rungs may differ. While all rungs that were measured are as many steps apart, the
interval reaches from rungs that are all training to rungs that are as much evaluation as there can be.

Where no trial is like it, the one with the nearest work stands for it, in proportion to work: training by the floating-point
operations of a step, counted on the networks (`trainers.flops`); evaluation by the pixels that are evaluated. That is the most
it can come to if the larger networks use the device no worse than the smaller, so the interval reaches from there to no
difference at all.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np
from scipy import special
from scipy.optimize import nnls

from bench.costs.measured import Measured, measured, on_device
from bench.store import Store
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError
from trainers.config.embeddings import ANNOUNCED
from trainers.config.settings import EvaluationConfig
from trainers.config.trial import TrialConfig

#: Trials of one strategy that must have been measured for it to be told from the others: what it freezes costs less.
ENOUGH = 3

#: What of a trial's training does not change how long a step takes.
_NO_MATTER = {"steps", "generator_lr", "critic_lr", "betas"}


def rounded(number: float) -> str:
    """Return a number, such as hours or their cost, to three digits and whole; never with an exponent where it is large."""
    return f"{number:,.0f}" if number >= 999.5 else f"{number:.3g}"


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval; None where nothing tells how wide it is."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" ({rounded(self.low)} to {rounded(self.high)})"
        return f"{rounded(self.value)}{ends}"

    def times(self, factor: float) -> "Interval":
        """Return it in another unit."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Interval(self.value * factor, low, high)


@dataclass(frozen=True)
class Estimate:
    """What a trial takes on one slot, from its beginning.

    Attributes:
        setup_seconds: until step 0 has been measured.
        rung_seconds: from each rung's predecessor until it has been measured, in the order of the trial's rungs.
        bounds: the 95 % interval of the mean of such trials, as factors; None where one trial alone tells of it.
        spread: standard deviation of the logarithm of a trial's seconds about that mean.
        scaled: whether no trial like it has been measured, and another stands for it in proportion to work.
    """

    setup_seconds: float
    rung_seconds: tuple[float, ...]
    bounds: tuple[float, float] | None = (1.0, 1.0)
    spread: float = 0.0
    scaled: bool = False

    def seconds(self, done: int | None = None, rungs: int | None = None) -> float:
        """Return the seconds from after `done` rungs (None: from the beginning) to the end of `rungs` (None: all)."""
        return sum(self.rung_seconds[done or 0 : rungs]) + (self.setup_seconds if done is None else 0)


def estimates(plan: Plan, store: Store | None, device: str | None = None) -> dict[str, Estimate]:
    """Return what every trial of a plan takes, by key, the time that it has taken already included.

    Args:
        plan: the sweep.
        store: what has been measured; None for nothing.
        device: as in `Measured`; None for the one that most of the store's trials ran on, with a GPU or without as the plan's.

    Raises:
        UserError: nothing like it has been measured (on that device); says how to.
    """
    found = [] if store is None else on_device(measured(store), device, gpu=bool(plan.spec.resources.gpus))
    return estimate(plan, found)


def estimate(plan: Plan, found: Sequence[Measured]) -> dict[str, Estimate]:
    """Return what every trial of a plan takes, by key, from measured trials of one device; see `estimates`."""
    fits = _Fits(found)
    try:
        return {key: fits.estimate(trial) for key, trial in plan.by_key.items()}
    except _Unknown as error:
        device, network = "a GPU" if plan.spec.resources.gpus else "a CPU", _network(plan.spec.evaluation)
        raise UserError(
            f"how long trials take is unknown: the store has none on {device} in embedding {network!r}; "
            "transfergan run SPEC --max-hours 0.1 measures the first"
        ) from error


@dataclass(frozen=True)
class _Fit:
    """What trials alike take: seconds of a set-up, a step, an evaluation, and what the last rung takes more.

    Attributes:
        like: one of them.
        residuals: of each trial the logarithm of its seconds, less that of what is said here.
        apart: how many steps all of their rungs are apart; None where they differ.
    """

    like: TrialConfig
    setup: float
    step: float
    evaluation: float
    last: float
    residuals: tuple[float, ...]
    apart: float | None

    @classmethod
    def of(cls, found: Sequence[Measured]) -> "_Fit":
        legs = np.array([leg for each in found for leg in each.legs], float).reshape(-1, 3)
        design = np.column_stack([legs[:, 0], np.ones(len(legs)), legs[:, 1]])
        step, evaluation, last = map(float, nnls(design, legs[:, 2])[0])
        setups = [each.setup_seconds for each in found if each.setup_seconds is not None]
        setup = fmean(setups) if setups else evaluation
        residuals = []
        for each in found:
            said = setup * (each.setup_seconds is not None) + sum(n * step + evaluation + end * last for n, end, _ in each.legs)
            if said > 0 and each.seconds > 0:
                residuals.append(math.log(each.seconds / said))
        apart = float(legs[0, 0]) if len(set(legs[:, 0])) == 1 else None
        return cls(found[0].trial, setup, step, evaluation, last, tuple(residuals), apart)

    @property
    def readings(self) -> tuple["_Fit", ...]:
        """It, and what else it may be: where all rungs are as far apart, nothing tells a step from an evaluation.

        It then has no evaluations, which is the most that a longer trial can come to; or an evaluation may take all of the
        set-up, in which there is one.
        """
        if self.apart is None:
            return (self,)
        rung = self.apart * self.step + self.evaluation
        evaluation = min(self.setup, rung)
        return self, replace(self, evaluation=evaluation, step=(rung - evaluation) / self.apart)

    def legs(self, trial: TrialConfig, training: float = 1, evaluation: float = 1) -> tuple[float, tuple[float, ...]]:
        """Return a trial's set-up and rungs, in seconds, its training and its evaluation so many times as much work."""
        steps = (0, *trial.rungs)
        rungs = [
            (step - before) * self.step * training + (self.evaluation + (step == steps[-1]) * self.last) * evaluation
            for before, step in zip(steps, steps[1:], strict=False)
        ]
        return self.setup * evaluation, tuple(rungs)


class _Unknown(Exception):
    """Nothing in the store tells what a trial takes."""


class _Fits:
    """The fits of measured trials, each made once."""

    def __init__(self, found: Sequence[Measured]) -> None:
        self._found: dict[str, dict[str | None, list[Measured]]] = {}
        for each in found:
            if each.legs:
                self._found.setdefault(alike(each.trial), {}).setdefault(each.trial.strategy, []).append(each)
        self._made: dict[tuple[str, str | None], _Fit] = {}
        self._estimates: dict[tuple[str, str | None, tuple[int, ...]], Estimate] = {}

    def estimate(self, trial: TrialConfig) -> Estimate:
        """Return what a trial takes. Raises _Unknown."""
        if trial.imported:
            return Estimate(0.0, (0.0,) * len(trial.rungs))
        kind = alike(trial)
        known = kind, trial.strategy, trial.rungs
        if known not in self._estimates:
            made = self._told(self._fit(kind, trial.strategy), trial) if kind in self._found else self._scaled(trial)
            self._estimates[known] = made
        return self._estimates[known]

    def _scaled(self, trial: TrialConfig) -> Estimate:
        network = _network(trial.evaluation)
        others = [
            self._fit(kind, trial.strategy)
            for kind, by_strategy in self._found.items()
            if _network(next(iter(by_strategy.values()))[0].trial.evaluation) == network
        ]
        if not others:
            raise _Unknown
        ratios = [(_work(trial) / _work(fit.like), _pixels(trial) / _pixels(fit.like)) for fit in others]
        nearest = min(range(len(others)), key=lambda i: abs(math.log(ratios[i][0])))
        return replace(self._told(others[nearest], trial, *ratios[nearest]), scaled=True)

    def _told(self, fit: _Fit, trial: TrialConfig, training: float = 1, evaluation: float = 1) -> Estimate:
        """Return what a trial takes by a fit, its training and its evaluation so many times as much work."""
        setup, rungs = fit.legs(trial, training, evaluation)
        total, bounds = setup + sum(rungs), self._bounds(fit)
        if bounds is not None and total:
            work = [(least(1, training), least(1, evaluation)) for least in (min, max)]
            ends = [own + sum(legs) for each in fit.readings for own, legs in (each.legs(trial, *times) for times in work)]
            bounds = bounds[0] * min(total, *ends) / total, bounds[1] * max(total, *ends) / total
        return Estimate(setup, rungs, bounds, self._spread)

    def _fit(self, kind: str, strategy: str | None) -> _Fit:
        """Return the fit of a strategy's own trials where there are enough, else of all that are alike."""
        found = self._found[kind]
        own = strategy if len(found.get(strategy, ())) >= ENOUGH or len(found) == 1 else "all"
        if (kind, own) not in self._made:
            chosen = found.get(own) or [each for several in found.values() for each in several]
            self._made[kind, own] = _Fit.of(chosen)
        return self._made[kind, own]

    @cached_property
    def _pooled(self) -> tuple[float, int]:
        """The spread that all strategies and all alike have in common, and its degrees of freedom."""
        fits = [self._fit(kind, strategy) for kind, by_strategy in self._found.items() for strategy in by_strategy]
        once = {id(fit): fit.residuals for fit in fits}.values()
        free = sum(len(residuals) - 1 for residuals in once if residuals)
        squares = sum((r - fmean(residuals)) ** 2 for residuals in once for r in residuals)
        return (math.sqrt(squares / free), free) if free > 0 else (0.0, 0)

    @property
    def _spread(self) -> float:
        return self._pooled[0]

    def _bounds(self, fit: _Fit) -> tuple[float, float] | None:
        """Return the interval of the mean of a fit's trials, as factors: Student's t on logarithms."""
        spread, free = self._pooled
        if not free:
            return None
        half = float(special.stdtrit(free, 0.975)) * spread / math.sqrt(max(1, len(fit.residuals)))
        return math.exp(-half), math.exp(half)


def alike(trial: TrialConfig) -> str:
    """Return what trials share whose steps and evaluations are the same work."""
    return json.dumps(
        [
            trial.gan.canonical_json(),
            trial.training.model_dump(mode="json", exclude=_NO_MATTER),
            [_network(trial.evaluation), trial.evaluation.samples, trial.evaluation.iw_steps],
            len(trial.domain.classes) if trial.conditional else 0,
            trial.augmentation,
        ],
        sort_keys=True,
    )


def _network(evaluation: EvaluationConfig) -> str:
    """Return which network is measured in, wherever its weights lie; of the user's own, which file."""
    name = evaluation.embedding.removeprefix(ANNOUNCED)
    kind = name.partition(":")[0]
    return name if kind == "custom" else kind


def _work(trial: TrialConfig) -> int:
    from trainers.core.flops import step_flops  # torch takes a while to import

    return step_flops(trial.gan, trial.training, len(trial.domain.classes) if trial.conditional else 0)


def _pixels(trial: TrialConfig) -> int:
    return trial.evaluation.samples * trial.gan.resolution**2


def together(parts: Iterable[tuple[Estimate, float]]) -> Interval:
    """Return the seconds that trials take together, in so many seconds each, with a 95 % interval.

    What is wrong with the means is taken to be wrong with all of them alike, as where a machine was busy; what a trial is
    off its mean, to be its own.
    """
    parts = list(parts)
    total = sum(seconds for _, seconds in parts)
    if any(each.bounds is None for each, seconds in parts if seconds):
        return Interval(total, None, None)
    own = 1.96 * math.sqrt(sum((seconds * each.spread) ** 2 for each, seconds in parts))
    ends = [(each.bounds or (1.0, 1.0), seconds) for each, seconds in parts]
    low, high = (abs(sum(seconds * (bounds[side] - 1) for bounds, seconds in ends)) for side in (0, 1))
    return Interval(total, max(0.0, total - math.hypot(low, own)), total + math.hypot(high, own))
