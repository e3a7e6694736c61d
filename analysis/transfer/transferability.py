"""Transfer gain, the ranking of methods, and the correlation of gain with distance.

Two rules keep comparisons valid under early stopping, where a stopped trial is *censored* (it ended before its budget):

* Two trials are compared at a **matched step**: one that both reached, never at their respective last steps. Methods are
  ranked at the cell's **final step** only, and those that stopped before it are ranked last (see `analysis.comparison.cells`).
* Only trials of one cell and one embedding are compared. Unfinished trials take part up to their last rung. Failed trials are
  excluded.

The **transfer gain** is ``log2(FID from scratch / FID of the transfer)``: at 1 transfer halved the FID, at -1 it doubled it. On
this scale halving and doubling weigh the same, a mean over seeds is the logarithm of a geometric mean ratio, and cells whose
FIDs differ by an order of magnitude are comparable. (A relative reduction is bounded above by 1 and unbounded below.)

All functions are pure functions of the frames of `analysis.frames`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.cells import COMPARABLE, Cell, cells
from analysis.frames import grouped, records

Via = Literal["real", "generator"]
At = Literal["first", "final", "matched"]

_CELL_ORDER = ["target", "conditional", "family", "size", "cell"]
_METHOD = ["cell", "embedding", "strategy", "source"]
_CELL_COLUMNS = ["target", "size", "conditional", "resolution", "cell_label", "family", "target_label"]
_AT = ["embedding", "trial", "step", "value"]
_GAIN_COLUMNS = ["trial", *_METHOD, *_CELL_COLUMNS, "source_label", "parent", "seed", "status", "censored", "budget"]
_MEASURED_COLUMNS = ["at", "step", "value", "scratch", "gain"]
_RANK_COLUMNS = [*_METHOD, *_CELL_COLUMNS, "source_label", "step", "value", "low", "high", "seeds", "final", "lost", "budget"]
_RANK_COLUMNS += ["trial"]
_NEAREST_COLUMNS = ["cell", "embedding", "source", "source_label", "distance", "sources", "ties"]


def comparable(curves: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the measurements after step 0 of adapt trials that may be compared, diverged trials included."""
    return (curves["kind"] == "adapt") & curves["status"].isin(COMPARABLE) & (curves["step"] > 0)


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


def transfer_gain(curves: pd.DataFrame, table: Iterable[Cell] | None = None) -> pd.DataFrame:
    """Return the gain over scratch of every transfer trial, at three steps.

    `table` are the cells of the curves, if they are known.

    The reference is the geometric mean of the cell's scratch trials. Rows, up to three per trial, by `at`:

    * ``final``: the cell's final step (see `analysis.comparison.cells`), for methods that are compared there;
    * ``first``: the cell's first rung, where all methods are. On the report this is the *early gain*;
    * ``matched``: the last step that this trial and scratch reached.

    Returns:
        Trial columns with `at`, `step`, `value`, `scratch` (the reference's value) and `gain` (log2 ratio).
    """
    rows = []
    usable = (curves["metric"] == "fid") & (curves["value"] > 0) & np.isfinite(curves["value"])
    needed = list(dict.fromkeys([*_AT, *_GAIN_COLUMNS]))
    trials = curves.loc[comparable(curves) & usable, needed]  # of a trial that diverged, up to its last usable value
    values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for embedding, trial, step, value in zip(*(trials[name].tolist() for name in _AT), strict=True):
        values[embedding, trial][step] = value
    transfers = trials[trials["source"].notna()].drop_duplicates(["embedding", "trial"])[_GAIN_COLUMNS]
    of_cell = grouped(records(transfers), ["cell", "embedding"])
    for cell in cells(curves) if table is None else table:
        if cell.scratch is None:
            continue
        scratch = {step: seeds.mean for step, seeds in cell.scratch.by_step.items()}
        final = {trial for method in cell.transfers if method.is_whole for trial in method.by_step[method.step].trials}
        for names in of_cell.get((cell.names["cell"], cell.names["embedding"]), ()):
            of_trial = values[cell.names["embedding"], names["trial"]]
            shared = sorted(set(of_trial) & set(scratch))
            steps: dict[str, int | None] = {
                "first": min(scratch),
                "final": cell.step if names["trial"] in final else None,
                "matched": max(shared, default=None),
            }
            for at, step in steps.items():
                if step is not None and step in shared:
                    value = of_trial[step]
                    rows.append([*names.values(), at, step, value, 2 ** scratch[step], scratch[step] - np.log2(value)])
    gains = pd.DataFrame(rows, columns=[*_GAIN_COLUMNS, *_MEASURED_COLUMNS])
    return gains.sort_values([*_CELL_ORDER, "strategy", "source", "seed"], kind="stable").reset_index(drop=True)


def ranking(table: Iterable[Cell]) -> pd.DataFrame:
    """Return the methods (strategy and source) of each cell, best first, as in `Cell.methods`.

    Returns:
        One row per cell, embedding and method: `step` and `value`, the geometric mean over `seeds` there; `low` and `high`, the
        extremes over them; `final`, whether `step` is the cell's final step; `lost`, the number of further seeds that diverged,
        failed or collapsed; `trial` (the key of the best seed).
    """
    rows = []
    for cell in table:
        for method in cell.methods:
            seeds = method.by_step[method.step]
            low, mean, high = 2 ** np.array([seeds.values.min(), seeds.mean, seeds.values.max()])
            numbers = {"step": method.step, "value": float(mean), "low": float(low), "high": float(high)}
            numbers |= {"seeds": len(seeds.trials), "final": method.final, "lost": method.lost}
            rows.append({**cell.names, **method.names, **numbers, "trial": seeds.trials[int(seeds.values.argmin())]})
    return pd.DataFrame(rows, columns=_RANK_COLUMNS)


def best_per_cell(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the first method of each cell in rows of `ranking` (scratch included)."""
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


def nearest_source(rows: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Return the nearest source of each cell and embedding, of those that have a trial there.

    Args:
        rows: rows of `with_distance`.
        distances: the table that the distances are from, with their intervals.

    Returns:
        One row per cell and embedding: `source`, `source_label`, `distance`; `sources`, how many have a distance; `ties`, the
        labels of the other sources whose distance's interval overlaps with that of the nearest.
    """
    on = ["source", "target", "resolution", "embedding"]
    real = distances[(distances["kind"] == "fid") & distances["trial"].isna()]
    real = real.assign(low=real["low"].fillna(real["value"]), high=real["high"].fillna(real["value"]))
    ends = {tuple(row[name] for name in on): (row["low"], row["high"]) for row in real.to_dict("records")}
    nearest = []
    transfers = rows[rows["source"].notna()].sort_values("distance", kind="stable")
    transfers = transfers.drop_duplicates(["cell", "embedding", "source"])
    for first, *others in grouped(records(transfers), ["cell", "embedding"]).values():
        high = ends[tuple(first[name] for name in on)][1]
        ties = [row["source_label"] for row in others if not ends[tuple(row[name] for name in on)][0] > high]
        names = {name: first[name] for name in _NEAREST_COLUMNS[:5]}
        nearest.append({**names, "sources": 1 + len(others), "ties": ties})
    return pd.DataFrame(nearest, columns=_NEAREST_COLUMNS)


def distance_correlation(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rank correlation between distance and gain over sources, from gains of `with_distance`.

    A point is the mean gain over seeds of one (source, cell, strategy) at the final step. A negative correlation means that
    nearer sources help more. The correlation pooled over targets shows whether distances of different targets are comparable.
    In the paper they are not: -0.07 pooled, 0.8 within most targets (with FID in place of gain, hence the opposite sign).

    Returns:
        Rows by `scope`: ``cell`` (one target, size, strategy), ``strategy`` (pooled over cells), ``all`` (pooled over
        both), with `n` (points), `pairs` (distinct source and target), `rho` (None where n < 3 or all values are equal).
    """
    means = records(points(rows))
    result = []
    scopes: list[tuple[str, list[str]]] = [
        ("cell", ["embedding", "cell", "cell_label", "target", "size", "strategy"]),
        ("strategy", ["embedding", "strategy"]),
        ("all", ["embedding"]),
    ]
    for scope, by in scopes:
        for keys, group in grouped(means, by).items():
            n, pairs = len(group), len({(row["source"], row["target"]) for row in group})
            rho = spearman([row["distance"] for row in group], [row["gain"] for row in group])
            result.append({"scope": scope, **dict(zip(by, keys, strict=True)), "n": n, "pairs": pairs, "rho": rho})
    columns = ["scope", *scopes[0][1], "n", "pairs", "rho"]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in result], dtype="object") for name in columns})


def points(rows: pd.DataFrame, at: At = "final") -> pd.DataFrame:
    """Return a row per cell, embedding, strategy, source: `distance`, mean `gain` over `seeds` at one `step`, labels."""
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


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None with fewer than three points or if either variable is constant."""
    if len(x) < 3 or len({*x}) < 2 or len({*y}) < 2:
        return None
    # `scipy.stats.spearmanr` spends most of its time on a p-value.
    return float(np.corrcoef([stats.rankdata(x), stats.rankdata(y)])[1, 0])
