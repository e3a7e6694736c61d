"""What a pre-trained start saves: how many times as many images, or steps, scratch needs for the same FID.

* The **data multiplier** of a transfer with N images is k if scratch reaches the transfer's FID with k N images.
* The **speed-up** is k if scratch needs k times as many steps for its best FID as the transfer needs for that FID.

Both are read off a curve, interpolated between its measured points. Scratch's FID by number of images is interpolated with both
axes logarithmic, where a power law is a straight line. The transfer's FID by step is interpolated on linear axes: learning
curves are convex, so a straight line never overstates the speed-up. Beyond the measured points k is *censored*: it is reported
as ``at least`` or ``at most`` a bound and never extrapolated.

A data multiplier means something only where more images help scratch. It is therefore given only if scratch's FID falls with
the number of images by more than the spread between seeds explains, in a one-sided test of the slope over log2 of the size.

**Intervals** are over seeds. The logarithm of FID is modelled as normal around its method's mean. Scratch has its own variance,
and the transfers share one. Means are drawn from their generalised pivotal quantity (Weerahandi 1993; Student's t, since the
variance is estimated too), and k is computed for each draw. An interval holds for all transfers of its cell together
(Bonferroni), so it holds for the one that was chosen as the best. Without two seeds of both sides there is none.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from analysis.claims import COLUMNS, LEVEL, outcome
from analysis.comparison.cells import Cell, Method, cells, reference_variance
from analysis.comparison.intervals import holm, pairs
from analysis.comparison.reference_error import log_variance
from analysis.comparison.seeds import Seeds, Spread, pooled_variance
from analysis.transfer.crossings import crossing, draws, multiplier, non_increasing
from trainers.common.counts import counted

#: Why a data multiplier is not given.
NO_TREND = "more images did not help scratch at this budget; train longer"
UNTESTED = "with one seed of scratch per size it is unknown whether more images help"

_FARTHEST = 300.0  # log2, of a draw

_NAMES = ["embedding", "target", "conditional", "resolution", "family", "target_label", "cell", "cell_label"]
_METHOD = ["strategy", "source", "source_label", "size"]
_SAVED = ["value", "seeds", "multiplier", "bound", "low", "high", "p", "outcome", "methods", "why"]
_DATA_COLUMNS = [*_NAMES, *_METHOD, "step", *_SAVED, "equivalent", "largest", "sizes", "planned"]
_STEP_COLUMNS = [*_NAMES, *_METHOD, "scratch_step", "step", *_SAVED]


def data_multiplier(curves: pd.DataFrame, table: Sequence[Cell] | None = None, *, tested: bool = True) -> pd.DataFrame:
    """Return the data multiplier of each transfer, per family (cells that differ only in size).

    A transfer that its cell compares at the final step is compared with scratch at every size at that step. Scratch's means are
    made non-increasing in the number of images by isotonic regression first: an apparent loss from more images is treated as
    noise. A multiplier differs from 1 if the transfer differs from scratch with as many images (Welch's t-test with the
    variances of the family) and the interval excludes 1: the p-value is the larger of both, corrected by Holm's method.

    Args:
        curves: the curves of `analysis.frames`.
        table: their cells, if known.
        tested: give multipliers only where more images help scratch by more than noise explains.

    Returns:
        One row per cell, strategy and source, in families where scratch was measured at two or more sizes: `step`; `value`, the
        transfer's geometric mean over `seeds`; `multiplier` with `bound` (``at least`` beyond scratch's largest size, ``at
        most`` below its smallest, else empty) and interval `low` to `high` (0 and inf if open; NaN if unknown), which holds for
        all `methods` of the cell together, those that were stopped included; `p` (corrected) and `outcome`; `why` there is
        none, or ""; `equivalent`, multiplier times size; `largest`, whether scratch has no larger size; `sizes`, the number of
        sizes at which scratch was measured, out of `planned` sizes of the family.
    """
    rows: list[dict[str, Any]] = []
    by_family = sorted(cells(curves) if table is None else table, key=_family)
    for _, members in groupby(by_family, key=_family):
        family = list(members)
        for step in sorted({cell.step for cell in family if cell.step is not None}):
            rows += _multipliers(family, step, tested)
    planned = curves[curves["kind"] == "adapt"].groupby("family")["size"].nunique()
    found = _with_outcomes(rows, _DATA_COLUMNS)
    return found.assign(planned=found["family"].map(planned))


def _family(cell: Cell) -> tuple[str, str]:
    return cell.names["family"], cell.names["embedding"]


def _multipliers(family: Sequence[Cell], step: int, tested: bool) -> list[dict[str, Any]]:
    """Return the rows of the cells whose final step this is."""
    family = sorted(family, key=lambda cell: int(cell.names["size"]))
    scratch = {cell.names["size"]: cell.scratch for cell in family if cell.scratch is not None and not cell.scratch.lost}
    seeds = {size: method.by_step[step] for size, method in scratch.items() if step in method.by_step}
    logs = {size: of_size.logs for size, of_size in seeds.items()}
    if len(logs) < 2:
        return []
    sizes, counts = np.log2(np.array(list(logs), float)), np.array([len(of_size) for of_size in logs.values()])
    means = np.array([of_size.mean() for of_size in logs.values()])
    transfers = [method for cell in family if cell.step == step for method in cell.transfers if method.is_whole]
    spreads = pooled_variance(seeds.values()), pooled_variance(method.seeds for method in transfers)
    drawn_scratch, drawn = draws(spreads, len(sizes), 1)
    smooth = non_increasing(np.vstack([means, means + drawn_scratch / np.sqrt(counts)]), counts)
    smooth = np.ascontiguousarray(smooth.T)
    missing = _no_trend(sizes, means, counts, spreads[0]) if tested else ""
    rows = []
    for cell in [cell for cell in family if cell.step == step and cell.names["size"] in logs]:
        for method in _compared(cell):
            names = {**cell.names, **method.names}
            row = {name: names[name] for name in [*_NAMES, *_METHOD]} | {"step": step, "sizes": len(logs)}
            row |= {"largest": names["size"] >= max(logs), "methods": len(cell.transfers), **_unknown(method, missing)}
            if not row["why"] and cell.scratch is not None:
                size, of_reference = np.log2(names["size"]), reference_variance(cell.scratch, method)
                noise = drawn[:, 0] / np.sqrt(len(method.logs)) + np.sqrt(of_reference) * drawn[:, 1]
                levels = method.mean + np.append(0, noise)
                at, beyond = crossing(sizes, smooth, levels)
                row |= multiplier(at - size, beyond, (sizes[0] - size, sizes[-1] - size), row["methods"])
                own = logs[names["size"]]
                p = _welch(float(own.mean()) - method.mean, spreads, (len(own), len(method.logs)), of_reference)
                row |= {"equivalent": row["multiplier"] * names["size"], "p": float(np.maximum(p, row["p"]))}
            rows.append(row)
    return rows


def _no_trend(sizes: np.ndarray, means: np.ndarray, counts: np.ndarray, spread: Spread) -> str:
    """Return why scratch is not known to improve with the number of images, or ""."""
    variance, freedom = spread
    if not freedom:
        return UNTESTED
    centred = sizes - np.average(sizes, weights=counts)
    information = float((counts * centred**2).sum())
    slope, error = float((counts * centred * means).sum()) / information, float(np.sqrt(variance / information))
    p = float(special.stdtr(freedom, slope / error)) if error else float(slope >= 0)
    return "" if p < LEVEL else NO_TREND


def speed_up(curves: pd.DataFrame, table: Sequence[Cell] | None = None) -> pd.DataFrame:
    """Return the speed-up of each transfer that its cell compares at the final step.

    Scratch's best is the minimum of its mean over seeds. The transfer reaches it between its first measured step with a value
    as low and the step before. If that is its first step, the bound is ``at least``; if it did not reach that value before it
    ended, the bound is ``at most``. A seed's deviation is assumed to shift its whole curve, which makes intervals conservative
    (wide). A speed-up differs from 1 if the transfer differs from scratch at the step of scratch's best (Welch's t-test) and
    the interval excludes 1: the p-value is the larger of both. That step was chosen as scratch's lowest, so the p-value of a
    transfer that is worse there is multiplied by the number of steps. p-values are corrected by Holm's method.

    Args:
        curves: the curves of `analysis.frames`.
        table: their cells, if known.

    Returns:
        One row per cell, strategy and source: `scratch_step` and `value` of scratch's best; `step`, at which the transfer
        reached it (the bound if censored); `seeds` of the transfer; the other columns as in `data_multiplier`.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells(curves) if table is None else table:
        if cell.scratch is None or cell.scratch.lost:
            continue
        scratch = {step: seeds for step, seeds in cell.scratch.by_step.items() if cell.step is None or step <= cell.step}
        best = min(scratch, key=lambda step: scratch[step].mean)
        whole = [method for method in cell.transfers if method.is_whole]
        spreads = {
            step: pooled_variance(m.by_step[step] for m in whole if step in m.by_step)
            for step in {step for method in whole for step in method.by_step}
        }
        for method in _compared(cell):
            names = {**cell.names, **method.names}
            row = {name: names[name] for name in [*_NAMES, *_METHOD]} | {"methods": len(cell.transfers), **_unknown(method)}
            row |= {"scratch_step": best, "value": 2 ** scratch[best].mean}
            if not row["why"]:
                of_reference = _reference_variance(scratch[best], method, best)
                row |= _faster(scratch[best], best, method.by_step, spreads, row["methods"], of_reference)
                p = _difference(scratch[best], method.by_step.get(best), spreads.get(best), len(scratch), of_reference)
                row["p"] = float(np.maximum(p, row["p"]))
            rows.append(row)
    return _with_outcomes(rows, _STEP_COLUMNS)


def _faster(
    scratch: Seeds, best: int, by_step: dict[int, Seeds], spreads: dict[int, Spread], methods: int, of_reference: float
) -> dict[str, Any]:
    """Return the speed-up of a transfer over scratch's seeds at its best step, with its interval.

    `of_reference` is the variance of their difference over draws of the reference images.
    """
    steps, means = np.array(list(by_step), float), np.array([seeds.mean for seeds in by_step.values()])
    shared = (1.0, min(spreads[step][1] for step in by_step))
    drawn_scratch, drawn = draws((pooled_variance([scratch]), shared), 1, 1)
    noise = drawn_scratch[:, 0] / np.sqrt(len(scratch.logs)) + np.sqrt(of_reference) * drawn[:, 1]
    level = scratch.mean + np.append(0, noise)
    fewest = min(len(seeds.logs) for seeds in by_step.values())
    deviations = np.sqrt([spreads[step][0] if len(drawn) else 0.0 for step in by_step]) / np.sqrt(fewest)
    shifts = np.outer(deviations, np.append(0, drawn[:, 0]))
    # With one degree of freedom a draw may be far beyond any FID.
    curves, levels = (np.exp2(np.clip(logs, -_FARTHEST, _FARTHEST)) for logs in (means[:, None] + shifts, level))
    at, beyond = crossing(steps, curves, levels)
    # The speed-up falls as the step rises, so the bounds swap sides.
    saved = multiplier(np.log2(best / at), -beyond, (np.log2(best / steps[-1]), np.log2(best / steps[0])), methods)
    return {**saved, "step": float(at[0])}


def _reference_variance(scratch: Seeds, method: Method, step: int) -> float:
    """Return the variance over draws of the reference images of a method minus scratch, which is at `step`; 0 if unknown."""
    nearest = min(method.by_step, key=lambda other: abs(other - step))
    variance = log_variance(scratch.replicates, method.by_step[nearest].replicates)
    return variance if np.isfinite(variance) else 0.0


def _difference(scratch: Seeds, seeds: Seeds | None, spread: Spread | None, steps: int, of_reference: float) -> float:
    """Return the p-value of Welch's t-test at scratch's best of `steps` steps; NaN if unknown."""
    if seeds is None or spread is None:
        return np.nan
    difference = seeds.mean - scratch.mean
    p = _welch(difference, (pooled_variance([scratch]), spread), (len(scratch.logs), len(seeds.logs)), of_reference)
    return min(1.0, p * steps) if difference > 0 else p


def _welch(difference: float, spreads: tuple[Spread, Spread], counts: tuple[int, int], known: float = 0.0) -> float:
    """Return the p-value of Welch's t-test of a difference of two means, with a `known` variance added; NaN if unknown."""
    freedoms = np.array([freedom for _, freedom in spreads])
    parts = np.array([variance for variance, _ in spreads]) / counts
    if not freedoms.all() or not parts.sum() > 0:
        return np.nan
    total = parts.sum() + known
    return float(2 * special.stdtr(total**2 / (parts**2 / freedoms).sum(), -abs(difference) / np.sqrt(total)))


def claims(table: pd.DataFrame, kind: Literal["multiplier", "speed_up"]) -> pd.DataFrame:
    """Return rows of `data_multiplier` or `speed_up` that have a value as claims, without bounds of 1, which say nothing."""
    rows = table[(table["why"] == "") & ~((table["bound"] != "") & (table["multiplier"] == 1))]
    with np.errstate(divide="ignore"):  # an open interval begins at 0
        log2 = np.log2(rows[["multiplier", "low", "high"]].astype(float))
    step = rows["scratch_step"] if kind == "speed_up" else rows["step"]
    return rows.assign(
        kind=kind, subject=pairs(rows), versus="1", value=log2["multiplier"],
        low=log2["low"], high=log2["high"], simultaneous=True, step=step,
    )[COLUMNS]  # fmt: skip


def _compared(cell: Cell) -> list[Method]:
    """Return the transfers that are compared at the final step, with those that lost a seed."""
    return [method for method in cell.transfers if method.final]


def _unknown(method: Method, missing: str = "") -> dict[str, Any]:
    """Return the columns of a row without a multiplier."""
    lost = f"lost {counted(method.lost, 'seed')}" if method.lost else ""
    value = np.nan if method.lost else float(2**method.mean)
    nothing = dict.fromkeys(("multiplier", "low", "high", "p", "equivalent"), np.nan)
    return {**nothing, "bound": "", "value": value, "seeds": len(method.seeds.trials), "why": lost or missing}


def _with_outcomes(rows: Iterable[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """Return rows as a table with corrected p-values and outcomes."""
    table = pd.DataFrame(rows, columns=columns)
    corrected = holm(table["p"].astype(float))
    return table.assign(p=corrected, outcome=outcome(corrected))
