"""Transfer gain, the ranking of methods, and the correlation of gain with distance.

Two rules keep comparisons valid under early stopping, where a stopped trial is *censored* (it ended before its budget):

* Two trials are compared at a **matched step**: the last step that both reached, never at their respective last steps. Several
  trials are ranked by gain only at a **common step**, which all of them reached.
* Only trials of one cell and one embedding are compared. Unfinished trials take part up to their last rung; otherwise a
  stopped trial would look best while its better peers still run. Failed trials are excluded.

The **transfer gain** is ``log2(FID from scratch / FID of the transfer)``: at 1 transfer halved the FID, at -1 it doubled it. On
this scale halving and doubling weigh the same, a mean over seeds is the logarithm of a geometric mean ratio, and cells whose
FIDs differ by an order of magnitude are comparable. (A relative reduction is bounded above by 1 and unbounded below.)

All functions are pure functions of the frames of `analysis.frames`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from bench.store import FINISHED

SCRATCH = "scratch"
#: Statuses of the trials that take part in comparisons.
COMPARABLE = (*FINISHED, "unfinished")

Via = Literal["real", "generator"]

_CELL_ORDER = ["target", "conditional", "family", "size", "cell"]
_METHOD = ["cell", "embedding", "strategy", "source"]
_CELL_COLUMNS = ["target", "size", "conditional", "resolution", "cell_label", "family", "target_label"]
_GAIN_COLUMNS = ["trial", *_METHOD, *_CELL_COLUMNS, "source_label", "parent", "seed", "status", "censored", "budget"]
_MEASURED_COLUMNS = ["at", "step", "value", "scratch", "gain", "reference"]
_RANK_COLUMNS = [*_METHOD, *_CELL_COLUMNS, "source_label", "wins", "step", "value", "low", "high", "seeds", "budget", "trial"]


def comparable(curves: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the measurements after step 0 of adapt trials that may be compared, diverged trials included."""
    return (curves["kind"] == "adapt") & curves["status"].isin(COMPARABLE) & (curves["step"] > 0)


def measured(curves: pd.DataFrame, metric: str, *, positive: bool = True, diverged: bool = False) -> pd.DataFrame:
    """Return the comparable rows of a metric with a finite value.

    Values of 0 and below, which have no logarithm, are dropped if `positive`; trials that diverged are kept, up to their last
    finite value, if `diverged`.
    """
    rows: pd.DataFrame = curves[comparable(curves) & (curves["metric"] == metric) & np.isfinite(curves["value"])]
    return rows[(diverged | (rows["status"] != "diverged")) & ((not positive) | (rows["value"] > 0))]


def of_best_sources(rows: pd.DataFrame, ranked: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the rows of each cell's strategies with their best source by `ranking`, scratch included.

    The columns `by` of both frames must agree. `place` is added, the method's position in `ranked`.
    """
    best = ranked.drop_duplicates(["cell", "strategy"])
    place = {key: number for number, key in enumerate(_keys(best, by))}
    rows = rows.assign(place=pd.Series(_keys(rows, by), index=rows.index, dtype="object").map(place))
    return rows[rows["place"].notna()]


def _keys(rows: pd.DataFrame, by: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(rows[name].fillna("") if name == "source" else rows[name] for name in by), strict=True))


def transfer_gain(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the gain over scratch of every transfer trial, at three steps.

    The reference is the scratch trial of the same cell and seed. Without one it is the mean of the cell's scratch trials, at
    the steps that all of them reached. Rows, up to three per trial, by `at`:

    * ``first``: the cell's first rung;
    * ``common``: the last step that every trial of the cell reached, diverged ones aside; gains may be ranked there;
    * ``matched``: the last step that this trial and its reference reached.

    Returns:
        Trial columns with `at`, `step`, `value`, `scratch` (the reference's value), `gain` (log2 ratio) and `reference`
        (``seed`` or ``mean``).
    """
    rows = []
    for _, group in measured(curves, "fid", diverged=True).groupby(["cell", "embedding"], sort=False):
        values = group.pivot(index="step", columns="trial", values="value").sort_index()
        trials = group.drop_duplicates("trial").set_index("trial")
        scratch = trials[trials["strategy"] == SCRATCH]
        complete = values[list(trials.index[trials["status"] != "diverged"])].dropna()
        common = complete.index[-1] if len(complete) else None
        if len(scratch) == 0:
            continue
        # Arrays, because selecting rows of frames dominates the run time for thousands of trials.
        steps, table = values.index.to_numpy(), values.to_numpy(float)
        places = {trial: place for place, trial in enumerate(values.columns)}
        of_seed = scratch.groupby("seed").groups
        references = {
            seed: table[:, [places[trial] for trial in trials_of_seed]].mean(axis=1)  # NaN where a trial has no value
            for seed, trials_of_seed in {**of_seed, None: scratch.index}.items()
        }
        transfers = trials[trials["source"].notna()].reset_index()
        for row, names in zip(transfers.to_dict("records"), transfers[_GAIN_COLUMNS].to_numpy(object), strict=True):
            same_seed = row["seed"] in of_seed
            trial_values, reference = table[:, places[row["trial"]]], references[row["seed"] if same_seed else None]
            both = np.flatnonzero(np.isfinite(trial_values) & np.isfinite(reference))
            matched = steps[both[-1]] if len(both) else None
            for at, step in (("first", steps[0]), ("common", common), ("matched", matched)):
                place = int(np.searchsorted(steps, step)) if step is not None else -1
                if place in both:
                    value, scratch_value = float(trial_values[place]), float(reference[place])
                    gain = float(np.log2(scratch_value / value))
                    rows.append([*names, at, int(steps[place]), value, scratch_value, gain, "seed" if same_seed else "mean"])
    gains = pd.DataFrame(rows, columns=[*_GAIN_COLUMNS, *_MEASURED_COLUMNS])
    return gains.sort_values([*_CELL_ORDER, "strategy", "source", "seed"], kind="stable").reset_index(drop=True)


def ranking(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Rank the methods (strategy and source) of each cell, best first.

    A method's curve is the mean over its seeds at the steps that all of them reached. Two methods are compared at the last step
    that both curves have, and methods are ranked by their number of pairwise wins (Copeland's rule). The last step itself is no
    criterion, as a stopping rule may protect a trial for its strategy. Without stopping this is the order of final values.

    Returns:
        One row per cell, embedding and method, sorted by rank within the cell: `wins`; the curve's last `step` and `value`;
        `low` and `high`, the extremes over seeds there; `seeds` (their number); `trial` (the key of the best seed).
    """
    rows = []
    finite = measured(curves, metric, positive=False, diverged=True)
    for _, cell in finite.groupby(["cell", "embedding"], sort=False):
        groups = [group for _, group in cell.groupby(["strategy", "source"], sort=False, dropna=False)]
        seeds = [group.pivot(index="step", columns="trial", values="value").sort_index().dropna() for group in groups]
        wins = _wins(pd.DataFrame({number: values.mean(axis=1) for number, values in enumerate(seeds)}).sort_index())
        for number, (group, values) in enumerate(zip(groups, seeds, strict=True)):
            if len(values):
                last, first = values.iloc[-1], group.iloc[0]
                names = {name: first[name] for name in [*_METHOD, *_CELL_COLUMNS, "source_label", "budget"]}
                spread = {"value": float(last.mean()), "low": float(last.min()), "high": float(last.max()), "seeds": len(last)}
                rows.append({**names, **spread, "wins": wins[number], "step": int(values.index[-1]), "trial": last.idxmin()})
    order = {**dict.fromkeys(_CELL_ORDER, True), "embedding": True, "wins": False, "step": False, "value": True}
    ranked = pd.DataFrame(rows, columns=_RANK_COLUMNS)
    return ranked.sort_values(list(order), ascending=list(order.values()), kind="stable").reset_index(drop=True)


def _wins(means: pd.DataFrame) -> list[int]:
    """Return, per column, the number of columns with a higher value in the last row where both are finite."""
    curves = means.to_numpy(float).T
    wins = []
    for curve in curves:
        both = np.isfinite(curve) & np.isfinite(curves)
        last = both.shape[1] - 1 - np.argmax(both[:, ::-1], axis=1)
        wins.append(int((both.any(axis=1) & (curve[last] < curves[range(len(curves)), last])).sum()))
    return wins


def best_per_cell(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the best method of each cell (scratch included): the first row of `ranking`."""
    return ranked.drop_duplicates(["cell", "embedding"]).reset_index(drop=True)


def with_distance(
    rows: pd.DataFrame, distances: pd.DataFrame, kind: str = "fid", via: Via = "real", *, keep: bool = False
) -> pd.DataFrame:
    """Add the column `distance` from source to target, in each row's own embedding and resolution.

    With `via` ``real`` it is measured from the source's real images, with ``generator`` from samples of its pre-trained
    generators (the mean over generators). Rows (gains or rankings) without a distance are dropped, or with `keep` have NaN.
    """
    chosen = distances[(distances["kind"] == kind) & distances["trial"].isna().eq(via == "real")]
    on = ["source", "target", "resolution", "embedding"]
    # Cast both sides to object: pandas cannot merge an all-missing column of one string type with one of another.
    mean = chosen.rename(columns={"value": "distance"}).groupby(on)["distance"].mean().reset_index()
    typed = dict.fromkeys(("source", "target", "embedding"), "object")
    merged = rows.astype(typed).merge(mean.astype({**typed, "resolution": "int64"}), on=on, how="left")
    return merged if keep else merged[merged["distance"].notna()].reset_index(drop=True)


def nearest_source(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, per cell and embedding, the nearest of the sources that have a trial there, from rows of `with_distance`."""
    transfers = rows[rows["source"].notna()].sort_values("distance", kind="stable")
    nearest = transfers.drop_duplicates(["cell", "embedding"])
    return nearest[["cell", "embedding", "source", "source_label", "distance"]].reset_index(drop=True)


def distance_correlation(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rank correlation between distance and gain over sources, from gains of `with_distance`.

    A point is the mean gain over seeds of one (source, cell, strategy) at the common step. A negative correlation means that
    nearer sources help more. The correlation pooled over targets shows whether distances of different targets are comparable.
    In the paper they are not: -0.07 pooled, 0.8 within most targets (with FID in place of gain, hence the opposite sign).

    Returns:
        Rows by `scope`: ``cell`` (one target, size, strategy), ``strategy`` (pooled over cells), ``all`` (pooled over
        both), with `n` (points), `pairs` (distinct source and target), `rho` (None where n < 3 or all values are equal).
    """
    means = points(rows)
    result = []
    scopes: list[tuple[str, list[str]]] = [
        ("cell", ["embedding", "cell", "cell_label", "target", "size", "strategy"]),
        ("strategy", ["embedding", "strategy"]),
        ("all", ["embedding"]),
    ]
    for scope, by in scopes:
        for names, group in means.groupby(by, sort=False):
            keys = names if isinstance(names, tuple) else (names,)
            n, pairs = len(group), len(group.drop_duplicates(["source", "target"]))
            rho = spearman(group["distance"], group["gain"])
            result.append({"scope": scope, **dict(zip(by, keys, strict=True)), "n": n, "pairs": pairs, "rho": rho})
    columns = ["scope", *scopes[0][1], "n", "pairs", "rho"]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in result], dtype="object") for name in columns})


def points(rows: pd.DataFrame, at: str = "final") -> pd.DataFrame:
    """Return a row per cell, embedding, strategy, source: `distance`, mean `gain` over `seeds` at the common `step`, labels."""
    by = [*_METHOD, *_CELL_COLUMNS, "source_label"]
    means = {"distance": ("distance", "first"), "gain": ("gain", "mean"), "seeds": ("gain", "size"), "step": ("step", "min")}
    chosen = rows[rows["at"] == at]
    if len(chosen) == 0:
        return pd.DataFrame(columns=[*by, *means])
    return chosen.groupby(by, sort=False, as_index=False).agg(**means)


def coverage(trials: pd.DataFrame, statuses: Iterable[str]) -> pd.DataFrame:
    """Count trials by status: one row for all pretrain trials (`cell_label` is None), then one row per cell."""
    rows: list[dict[str, Any]] = []
    for _, group in trials.sort_values(["kind", *_CELL_ORDER], ascending=[False] + [True] * len(_CELL_ORDER)).groupby(
        "cell", sort=False, dropna=False
    ):
        counts = group["status"].value_counts()
        by_status = {status: int(counts.get(status, 0)) for status in statuses}
        rows.append({"cell_label": group["cell_label"].iloc[0], "planned": len(group), **by_status})
    return pd.DataFrame(rows, columns=["cell_label", "planned", *statuses])


def spearman(x: "pd.Series[float]", y: "pd.Series[float]") -> float | None:
    """Return Spearman's rank correlation; None with fewer than three points or if either variable is constant."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return None
    return float(stats.spearmanr(x.astype(float), y.astype(float)).statistic)
