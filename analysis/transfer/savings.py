"""What a pre-trained start saves: how many times the images, and how many times the steps, scratch needs to be as good.

* The **data multiplier** of a transfer with N images is k where scratch reaches the transfer's FID with k N images.
* Its **speed-up** is k where scratch takes k times the steps to its best FID that the transfer takes to that same FID.

Both are read off a curve, interpolated between its measured points: scratch's FID by number of images with logarithms on both
axes, in which a power law is straight; the transfer's FID by step on plain axes, as learning curves are convex, so that a
straight line claims no more than is true. What lies beyond the measured points is *censored*: k is known to be ``at least``
or ``at most`` so much, and is never extrapolated.

**Intervals** (95 %) are over seeds. The logarithms of FID are taken as normal about their method's mean with a variance that
all methods compared share; it is pooled over them, since a few seeds of one tell little. Means are drawn anew from what
that leaves possible (Student's t, as the variance too is estimated; the generalised pivotal quantity of Weerahandi 1993),
and k is computed for each draw. Where no method has two seeds there is no interval.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.transfer.transferability import COMPARABLE, SCRATCH

Bound = Literal["", "at least", "at most"]

_DRAWS = 2000
_SEED = 20180508  # of the draws: the same store gives the same page

_NAMES = ["target", "conditional", "resolution", "family", "target_label"]
_METHOD = ["strategy", "source", "source_label"]
_SAVED = ["value", "seeds", "multiplier", "bound", "low", "high"]
_DATA_COLUMNS = ["embedding", *_NAMES, *_METHOD, "size", "step", *_SAVED, "equivalent", "sizes", "planned"]
_STEP_COLUMNS = ["embedding", *_NAMES, "cell", "cell_label", *_METHOD, "size", "scratch_step", "step", *_SAVED]


def data_multiplier(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Return, per family (cells that differ by size alone) and transfer, how many times its images scratch needs.

    A transfer and scratch at every size are taken at one matched step: the last that all their seeds reached. Scratch's
    means are made non-increasing in the number of images by isotonic regression before they are read off: where more images
    seem to hurt, that is taken for chance.

    Args:
        curves: `Frames.curves`.
        metric: a positive metric of which less is better.

    Returns:
        One row per family, embedding, strategy, source and size, where scratch was measured at two sizes or more: `step`;
        `value`, the transfer's mean (geometric, over `seeds`); `multiplier` with `bound` (``at least`` beyond scratch's
        largest size, ``at most`` below its smallest, else empty) and its interval `low` to `high` (0 and inf where open; NaN
        without seeds to tell); `equivalent`, multiplier times size; `sizes`, at which scratch was measured, of `planned`
        sizes of the family.
    """
    rows: list[dict[str, Any]] = []
    for _, family in _measured(curves, metric).groupby(["family", "embedding"], sort=False):
        methods = [method for method in _methods(family, ["size", "strategy", "source"]) if method.means]
        scratch = {method.first["size"]: method for method in methods if method.first["strategy"] == SCRATCH}
        if len(scratch) < 2:
            continue
        shared = set.intersection(*(set(method.means) for method in scratch.values()))
        spread = _pooled(methods)
        sizes = np.log2(np.array(list(scratch), float))
        counts = np.array([method.seeds for method in scratch.values()])
        noise: dict[int, np.ndarray] = {}
        needed: dict[int, np.ndarray] = {}  # scratch's curve by size at a step, and draws of it: the same for all transfers
        for method in methods:
            steps = shared & set(method.means)
            if method.first["strategy"] == SCRATCH or not steps:
                continue
            step = max(steps)
            if step not in noise:
                means = np.array([each.means[step] for each in scratch.values()])
                noise[step] = _noise(*spread[step], len(means) + 1)
                drawn = np.vstack([means, means + noise[step][:, :-1] / np.sqrt(counts)])
                needed[step] = non_increasing(drawn, counts)
            level, own = method.means[step], np.log2(method.first["size"])
            levels = np.append(level, level + noise[step][:, -1] / np.sqrt(method.seeds))
            at, beyond = crossing(sizes, needed[step], levels)
            saved = _estimate(at - own, beyond, (sizes[0] - own, sizes[-1] - own))
            row = {name: method.first[name] for name in ["embedding", *_NAMES, *_METHOD, "size"]}
            row |= {"step": step, "value": 2**level, "seeds": method.seeds, **saved}
            rows.append({**row, "equivalent": saved["multiplier"] * row["size"], "sizes": len(scratch)})
    found = pd.DataFrame(rows, columns=_DATA_COLUMNS)
    planned = curves[curves["kind"] == "adapt"].groupby("family")["size"].nunique()
    return found.assign(planned=found["family"].map(planned))


def speed_up(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Return, per cell and transfer, how many times the steps scratch takes to its best value.

    Scratch's best is the least of its mean over seeds, at the steps that all of them reached. The transfer reaches it
    between its first measured step that is as low and the one before. If that is the first of all, k is ``at least`` so
    much; if the transfer never got so low before it ended or was stopped, ``at most``. A seed's chance is taken to move its
    curve as a whole, which errs on the wide side.

    Args:
        curves: `Frames.curves`.
        metric: a positive metric of which less is better.

    Returns:
        One row per cell, embedding, strategy and source: `scratch_step` and `value` of scratch's best; `step`, when the
        transfer reached it (its bound where censored); `seeds` of the transfer; `multiplier`, `bound`, `low` and `high` as in
        `data_multiplier`.
    """
    rows: list[dict[str, Any]] = []
    for _, cell in _measured(curves, metric).groupby(["cell", "embedding"], sort=False):
        methods = [method for method in _methods(cell, ["strategy", "source"]) if method.means]
        scratch = next((method for method in methods if method.first["strategy"] == SCRATCH), None)
        if scratch is None:
            continue
        best = min(scratch.means, key=lambda step: scratch.means[step])
        spread = _pooled(methods)
        for method in methods:
            if method is scratch:
                continue
            freedom = min(spread[step][1] for step in {*method.means, best})
            noise = _noise(1.0, freedom, 2) / np.sqrt([scratch.seeds, method.seeds])
            level = scratch.means[best] + np.append(0, noise[:, 0] * np.sqrt(spread[best][0]))
            steps = np.array(list(method.means), float)
            deviations = np.sqrt([spread[step][0] for step in method.means])
            own = np.array(list(method.means.values())) + np.vstack([np.zeros_like(deviations), noise[:, 1:] * deviations])
            at, beyond = crossing(steps, 2**own, 2**level)
            # The sooner the transfer is there, the more it saves: its bounds change sides.
            saved = _estimate(np.log2(best / at), -beyond, (np.log2(best / steps[-1]), np.log2(best / steps[0])))
            row = {name: method.first[name] for name in ["embedding", *_NAMES, "cell", "cell_label", *_METHOD, "size"]}
            row |= {"scratch_step": best, "value": 2 ** scratch.means[best], "step": float(at[0]), "seeds": method.seeds}
            rows.append({**row, **saved})
    return pd.DataFrame(rows, columns=_STEP_COLUMNS)


def crossing(x: np.ndarray, curves: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each curve first comes down to its level.

    Args:
        x: positions, (S,), rising.
        curves: values there, (D, S), straight in between.
        levels: (D,).

    Returns:
        Positions (D,), at the ends of `x` where the crossing lies beyond; and (D,) of which end that is: -1 below the first,
        1 above the last, 0 within.
    """
    slack = 1e-9 * (1 + np.abs(levels))  # to be as low but for rounding is to be as low
    reached = curves <= (levels + slack)[:, None]
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), len(x))
    right = np.clip(first, 1, len(x) - 1)
    rows = np.arange(len(curves))
    if len(x) == 1:
        return np.full(len(curves), x[0]), np.where(first == 0, -1, 1)
    above, below = curves[rows, right - 1], curves[rows, right]
    fall = above - below
    share = np.clip(np.divide(above - levels, fall, out=np.ones_like(fall), where=fall > 0), 0, 1)
    at = x[right - 1] + share * (x[right] - x[right - 1])
    # To start at the level itself is to reach it there, not before.
    before = (first == 0) & (curves[:, 0] < levels - slack)
    at = np.where(first == 0, x[0], np.where(first == len(x), x[-1], at))
    return at, np.where(before, -1, np.where(first == len(x), 1, 0))


def non_increasing(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the closest non-increasing sequence to each row, by weighted least squares.

    The minimum over starts of the maximum over ends of the means in between (Robertson, Wright & Dykstra 1988, 1.4), for
    all rows at once.

    Args:
        values: (D, S).
        weights: (S,), positive.
    """
    count = values.shape[1]
    sums = np.cumsum(np.pad(values * weights, ((0, 0), (1, 0))), axis=1)
    totals = np.cumsum(np.pad(weights, (1, 0)))
    found = np.full(values.shape, np.inf)
    for start in range(count):
        greatest = np.full(len(values), -np.inf)
        for end in range(count - 1, start - 1, -1):
            mean = (sums[:, end + 1] - sums[:, start]) / (totals[end + 1] - totals[start])
            greatest = np.maximum(greatest, mean)
            found[:, end] = np.minimum(found[:, end], greatest)
    return found


@dataclass(frozen=True)
class _Method:
    """The trials of a method (strategy, source and size) that differ by seed alone."""

    first: dict[str, Any]
    """A row of its first trial."""
    seeds: int
    means: dict[int, float]
    """By step, mean log2 of the value, at the steps that all seeds reached, rising."""
    squares: dict[int, tuple[float, int]]
    """By step, sum of squares of log2 about its mean, and degrees of freedom, over the seeds that reached it."""


def _noise(variance: float, freedom: int, columns: int) -> np.ndarray:
    """Return draws (D, columns) of the deviation of one seed's value; none where no freedom tells the variance."""
    if freedom < 1:
        return np.empty((0, columns))
    random = np.random.default_rng(_SEED)
    scale = np.sqrt(variance * freedom / random.chisquare(freedom, _DRAWS))
    drawn: np.ndarray = scale[:, None] * random.standard_normal((_DRAWS, columns))
    return drawn


def _estimate(found: np.ndarray, beyond: np.ndarray, ends: tuple[float, float]) -> dict[str, Any]:
    """Return the multiplier from its log2 (the first) and the draws of it (the rest), censored at the ends."""
    bound: Bound = "at least" if beyond[0] > 0 else "at most" if beyond[0] < 0 else ""
    low = high = np.nan
    if len(found) > 1:
        draws, out = found[1:], beyond[1:]
        low = _quantile(np.where(out > 0, ends[1], np.where(out < 0, -np.inf, draws)), 0.025)
        high = _quantile(np.where(out > 0, np.inf, np.where(out < 0, ends[0], draws)), 0.975)
    return {"multiplier": float(2 ** found[0]), "bound": bound, "low": float(2**low), "high": float(2**high)}


def _quantile(values: np.ndarray, share: float) -> float:
    """Return an order statistic: values may be infinite, and are not to be averaged."""
    return float(np.sort(values)[round(share * (len(values) - 1))])


def _measured(curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return what may be compared: finite and positive, after step 0, of trials that did not diverge or fail."""
    takes_part = curves["status"].isin(COMPARABLE) & (curves["status"] != "diverged") & (curves["kind"] == "adapt")
    rows: pd.DataFrame = curves[takes_part & (curves["metric"] == metric) & (curves["step"] > 0) & (curves["value"] > 0)]
    finite: pd.DataFrame = rows[np.isfinite(rows["value"])]
    return finite


def _methods(rows: pd.DataFrame, by: list[str]) -> list[_Method]:
    """Return the methods of a family or a cell, sorted by `by`."""
    found = []
    for _, own in rows.groupby([rows[name].fillna("") if name == "source" else rows[name] for name in by], sort=True):
        steps, trials = own["step"].to_numpy(), own["trial"].to_numpy()
        logs, seeds = np.log2(own["value"].to_numpy(float)), len(set(trials))
        means, squares = {}, {}
        for step in np.unique(steps):
            at = logs[steps == step]
            squares[int(step)] = float(np.square(at - at.mean()).sum()), len(at) - 1
            if len(at) == seeds:
                means[int(step)] = float(at.mean())
        found.append(_Method({str(name): value for name, value in own.iloc[0].items()}, seeds, means, squares))
    return found


def _pooled(methods: list[_Method]) -> dict[int, tuple[float, int]]:
    """Return, by step, the variance between seeds pooled over the methods, and its degrees of freedom."""
    found: dict[int, tuple[float, int]] = {}
    for step in {step for method in methods for step in method.squares}:
        squares, freedom = np.sum([method.squares[step] for method in methods if step in method.squares], axis=0)
        found[step] = (float(squares / freedom) if freedom else np.nan, int(freedom))
    return found
