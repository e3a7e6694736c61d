"""What transfer is worth, and whether distance foretells it: pure functions of the tidy frames.

Two rules keep the comparisons honest under early stopping (a stopped trial is *censored*: it ended before its budget):

* Two trials are compared at a **matched step**: the last step that both have reached, never one's last value against the
  other's. Several trials are ranked against each other by gain only at a **common step**, which all of them reached.
* Only trials of one cell and one embedding are compared. Those still unfinished take part as far as they have got, or a
  trial that was stopped would look best while its better peers still run; failed trials take no part.

The **transfer gain** is ``log2(FID from scratch / FID of the transfer)``: 1 means that transfer halved the FID, -1 that it
doubled it. The logarithm of the ratio, because halving and doubling then weigh the same, because means over seeds are
means of ratios, and because the cells' FIDs differ by an order of magnitude (relative reduction is bounded by 1 above and
by nothing below).
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from bench.store import FINISHED

SCRATCH = "scratch"
#: Statuses of the trials that take part in comparisons.
COMPARABLE = (*FINISHED, "unfinished")

At = Literal["first", "common", "matched"]
Via = Literal["real", "generator"]

_CELL_ORDER = ["target", "conditional", "family", "size", "cell"]
_METHOD = ["cell", "embedding", "strategy", "source"]
_CELL_COLUMNS = ["target", "size", "conditional", "resolution", "cell_label", "family", "target_label"]
_GAIN_COLUMNS = ["trial", *_METHOD, *_CELL_COLUMNS, "source_label", "parent", "seed", "status", "censored", "budget"]
_MEASURED_COLUMNS = ["at", "step", "value", "scratch", "gain", "reference"]
_RANK_COLUMNS = [*_METHOD, *_CELL_COLUMNS, "source_label", "wins", "step", "value", "low", "high", "seeds", "budget", "trial"]


def transfer_gain(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Return the gain over scratch of every transfer trial, at three steps.

    The reference is the scratch trial of the same cell and seed, or where there is none the mean of the cell's scratch
    trials (at the steps that all of these reached). Rows, up to three per trial, by `at`:

    * ``first``: the cell's first rung;
    * ``common``: the last step that every trial of the cell but the diverged reached, where gains may be ranked;
    * ``matched``: the last step that this trial and its reference reached.

    Args:
        curves: `Frames.curves`.
        metric: a positive metric (KID's unbiased estimate is not: it can be negative).

    Returns:
        Trial columns with `at`, `step`, `value`, `scratch` (the reference's value), `gain` (log2 ratio) and `reference`
        (``seed`` or ``mean``).
    """
    rows = []
    finite = curves[(curves["metric"] == metric) & _comparable(curves) & np.isfinite(curves["value"])]
    for _, group in finite[(finite["value"] > 0) & (finite["step"] > 0)].groupby(["cell", "embedding"], sort=False):
        values = group.pivot(index="step", columns="trial", values="value").sort_index()
        trials = group.drop_duplicates("trial").set_index("trial")
        scratch = trials[trials["strategy"] == SCRATCH]
        complete = values[list(trials.index[trials["status"] != "diverged"])].dropna()
        common = complete.index[-1] if len(complete) else None
        if len(scratch) == 0:
            continue
        # Numbers and lists, as a sweep has thousands of trials: to pick rows from frames takes far longer than to compare them.
        steps, table = values.index.to_numpy(), values.to_numpy(float)
        places = {trial: place for place, trial in enumerate(values.columns)}
        of_seed = scratch.groupby("seed").groups
        references = {
            seed: table[:, [places[trial] for trial in peers]].mean(axis=1)  # NaN where one of them is missing
            for seed, peers in {**of_seed, None: scratch.index}.items()
        }
        transfers = trials[trials["source"].notna()].reset_index()
        for row, named in zip(transfers.to_dict("records"), transfers[_GAIN_COLUMNS].to_numpy(object), strict=True):
            same_seed = row["seed"] in of_seed
            own, reference = table[:, places[row["trial"]]], references[row["seed"] if same_seed else None]
            both = np.flatnonzero(np.isfinite(own) & np.isfinite(reference))
            matched = steps[both[-1]] if len(both) else None
            for at, step in (("first", steps[0]), ("common", common), ("matched", matched)):
                place = int(np.searchsorted(steps, step)) if step is not None else -1
                if place in both:
                    gain = float(np.log2(reference[place] / own[place]))
                    measured = (at, int(steps[place]), float(own[place]), float(reference[place]), gain)
                    rows.append([*named, *measured, "seed" if same_seed else "mean"])
    gains = pd.DataFrame(rows, columns=[*_GAIN_COLUMNS, *_MEASURED_COLUMNS])
    return gains.sort_values([*_CELL_ORDER, "strategy", "source", "seed"], kind="stable").reset_index(drop=True)


def ranking(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Rank the methods (strategy and source) of each cell, best first.

    A method's curve is the mean over its seeds at the steps that all of them reached. Two methods are compared at the last
    step of both curves, and ranked by the number of others that they beat there (Copeland's rule). How far a trial came says
    nothing by itself: a stopping rule may have spared it for its strategy's sake. Where nothing was stopped this is the order
    of the final values.

    Returns:
        One row per cell, embedding and method, sorted by rank within the cell: `wins`; the curve's last `step` and `value`,
        its `low` and `high` over seeds; `seeds` (how many); `trial` (the key of the best seed).
    """
    rows = []
    measured = curves[(curves["metric"] == metric) & _comparable(curves) & np.isfinite(curves["value"])]
    for _, cell in measured[measured["step"] > 0].groupby(["cell", "embedding"], sort=False):
        groups = [group for _, group in cell.groupby(["strategy", "source"], sort=False, dropna=False)]
        seeds = [group.pivot(index="step", columns="trial", values="value").sort_index().dropna() for group in groups]
        wins = _wins(pd.DataFrame({number: values.mean(axis=1) for number, values in enumerate(seeds)}).sort_index())
        for number, (group, values) in enumerate(zip(groups, seeds, strict=True)):
            if len(values):
                last, first = values.iloc[-1], group.iloc[0]
                named = {name: first[name] for name in [*_METHOD, *_CELL_COLUMNS, "source_label", "budget"]}
                spread = {"value": float(last.mean()), "low": float(last.min()), "high": float(last.max()), "seeds": len(last)}
                rows.append({**named, **spread, "wins": wins[number], "step": int(values.index[-1]), "trial": last.idxmin()})
    order = {**dict.fromkeys(_CELL_ORDER, True), "embedding": True, "wins": False, "step": False, "value": True}
    ranked = pd.DataFrame(rows, columns=_RANK_COLUMNS)
    return ranked.sort_values(list(order), ascending=list(order.values()), kind="stable").reset_index(drop=True)


def _wins(means: pd.DataFrame) -> list[int]:
    """Return, per column, how many other columns have a higher value in the last row that both have."""
    values = means.to_numpy(float).T
    wins = []
    for own in values:
        both = np.isfinite(own) & np.isfinite(values)
        last = both.shape[1] - 1 - np.argmax(both[:, ::-1], axis=1)
        wins.append(int((both.any(axis=1) & (own[last] < values[range(len(values)), last])).sum()))
    return wins


def best_per_cell(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the best method of each cell: the first of `ranking`, scratch included."""
    return ranked.drop_duplicates(["cell", "embedding"]).reset_index(drop=True)


def best_source(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the best source of each cell and strategy, by `ranking`."""
    transfers = ranked[ranked["source"].notna()]
    return transfers.drop_duplicates(["cell", "embedding", "strategy"]).reset_index(drop=True)


def with_distance(
    rows: pd.DataFrame, distances: pd.DataFrame, kind: str = "fid", via: Via = "real", *, keep: bool = False
) -> pd.DataFrame:
    """Add the column `distance` from source to target, in each row's own embedding and resolution.

    Args:
        rows: gains or rankings.
        distances: `Frames.distances`.
        kind: which distance.
        via: ``real``, the source's real images stand for it; ``generator``, samples of its pre-trained generators do (their
            mean where there are several).
        keep: keep rows without a distance, as NaN.
    """
    chosen = distances[(distances["kind"] == kind) & distances["trial"].isna().eq(via == "real")]
    on = ["source", "target", "resolution", "embedding"]
    # Objects on both sides: pandas refuses to merge an all-missing column of one string type with one of another.
    mean = chosen.rename(columns={"value": "distance"}).groupby(on)["distance"].mean().reset_index()
    typed = dict.fromkeys(("source", "target", "embedding"), "object")
    merged = rows.astype(typed).merge(mean.astype({**typed, "resolution": "int64"}), on=on, how="left")
    return merged if keep else merged[merged["distance"].notna()].reset_index(drop=True)


def nearest_source(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, per cell and embedding, the nearest of the sources that were tried there.

    Args:
        rows: what `with_distance` returned.
    """
    transfers = rows[rows["source"].notna()].sort_values("distance", kind="stable")
    nearest = transfers.drop_duplicates(["cell", "embedding"])
    return nearest[["cell", "embedding", "source", "source_label", "distance"]].reset_index(drop=True)


def distance_correlation(rows: pd.DataFrame, at: At = "common") -> pd.DataFrame:
    """Return Spearman's rank correlation between distance and gain over sources.

    A point is one (source, cell, strategy): its gain averaged over seeds. A negative correlation means that nearer sources
    help more. Pooled over targets it says whether distances of different targets can be compared; in the paper they cannot
    (-0.07 pooled against 0.8 for most single targets, there against FID, so of opposite sign).

    Args:
        rows: gains from `with_distance`.
        at: which of `transfer_gain`'s steps; only at ``first`` and ``common`` do all of a cell's gains belong to one step.

    Returns:
        Rows by `scope`: ``cell`` (one target, size, strategy), ``strategy`` (pooled over cells), ``all`` (pooled over
        both), with `n` (points), `pairs` (distinct source and target), `rho` (None where n < 3 or all values are equal).
    """
    seeds = points(rows, at)
    result = []
    scopes: list[tuple[str, list[str]]] = [
        ("cell", ["embedding", "cell", "cell_label", "target", "size", "strategy"]),
        ("strategy", ["embedding", "strategy"]),
        ("all", ["embedding"]),
    ]
    for scope, by in scopes:
        for names, group in seeds.groupby(by, sort=False):
            keys = names if isinstance(names, tuple) else (names,)
            n, pairs = len(group), len(group.drop_duplicates(["source", "target"]))
            rho = spearman(group["distance"], group["gain"])
            result.append({"scope": scope, **dict(zip(by, keys, strict=True)), "n": n, "pairs": pairs, "rho": rho})
    columns = ["scope", *scopes[0][1], "n", "pairs", "rho"]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in result], dtype="object") for name in columns}).reset_index(
        drop=True
    )


def points(rows: pd.DataFrame, at: At = "common") -> pd.DataFrame:
    """Return one row per (cell, embedding, strategy, source): `distance`, mean `gain` over its `seeds`, and labels."""
    by = [*_METHOD, *_CELL_COLUMNS, "source_label"]
    means = {
        "distance": ("distance", "first"),
        "gain": ("gain", "mean"),
        "seeds": ("gain", "size"),
        "step": ("step", "min"),
    }
    chosen = rows[rows["at"] == at]
    if len(chosen) == 0:
        return pd.DataFrame(columns=[*by, *means])
    return chosen.groupby(by, sort=False, as_index=False).agg(**means)


def coverage(trials: pd.DataFrame, statuses: Iterable[str]) -> pd.DataFrame:
    """Count the trials by status: one row for the pretrain trials, then one per cell.

    Returns:
        `cell_label` (None for the pretrain trials), `planned`, and one column per status.
    """
    rows: list[dict[str, Any]] = []
    for _, group in trials.sort_values(["kind", *_CELL_ORDER], ascending=[False] + [True] * len(_CELL_ORDER)).groupby(
        "cell", sort=False, dropna=False
    ):
        counts = group["status"].value_counts()
        by_status = {status: int(counts.get(status, 0)) for status in statuses}
        rows.append({"cell_label": group["cell_label"].iloc[0], "planned": len(group), **by_status})
    return pd.DataFrame(rows, columns=["cell_label", "planned", *statuses])


def _comparable(curves: pd.DataFrame) -> "pd.Series[bool]":
    return (curves["kind"] == "adapt") & curves["status"].isin(COMPARABLE)


def spearman(x: "pd.Series[float]", y: "pd.Series[float]") -> float | None:
    """Return Spearman's rank correlation; None for fewer than three points, or where all of either are equal."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return None
    return float(stats.spearmanr(x.astype(float), y.astype(float)).statistic)
