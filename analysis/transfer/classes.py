"""Class by class: how well a conditional generator draws each class, and whether transfer helps all of them.

The store has, for conditional trials, FID of each class (metric ``fid/CLASS``: the images asked for of that class against the
reference images of that class) and their mean, the intra-FID of Miyato & Koyama 2018 (``intra_fid``).
"""

import pandas as pd

from analysis.frames import records
from analysis.transfer import transferability as tf
from analysis.transfer.transferability import SCRATCH

PREFIX = "fid/"

#: What the mean over the classes is called among them.
MEAN = "mean"

_BY = ["cell", "cell_label", "target_label", "size", "strategy", "source", "source_label", "class", "step"]
_COLUMNS = [*_BY, "value", "seeds", "samples"]


def fid_by_class(curves: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Return FID by class of scratch and of each strategy with its best source, cell by cell.

    All of a cell are taken at one step, the last that every seed of every method shown reached, so that no trial that was
    stopped is compared with what a longer one became. A cell without such a step is left out.

    Args:
        curves: `Frames.curves` in one embedding.
        ranked: `transferability.ranking` of them, which says which source is a strategy's best.

    Returns:
        One row per cell, method and class, in the order of `ranked` and then by class, the mean over classes (`class` is
        ``mean``) first: `step`, `value` (mean over `seeds`), `samples` (generated images behind a seed's
        value).
    """
    chosen = ranked.drop_duplicates(["cell", "strategy"])
    place = {method: number for number, method in enumerate(_methods(chosen))}
    known = curves["metric"].str.startswith(PREFIX) | (curves["metric"] == "intra_fid")
    rows = curves[known & (curves["kind"] == "adapt") & curves["status"].isin(tf.COMPARABLE) & (curves["step"] > 0)]
    rows = rows.assign(place=pd.Series(_methods(rows), index=rows.index, dtype="object").map(place))
    rows["class"] = rows["metric"].str.removeprefix(PREFIX).where(rows["metric"] != "intra_fid", MEAN)
    found = [pd.DataFrame(columns=_COLUMNS)]
    for _, own in rows[rows["place"].notna()].groupby("cell", sort=False):
        common = set.intersection(*own.groupby("trial")["step"].agg(set))
        if not common:
            continue
        at = own[own["step"] == max(common)]
        means = at.groupby(["place", *_BY], dropna=False, as_index=False).agg(
            value=("value", "mean"), seeds=("trial", "nunique"), samples=("samples", "min")
        )
        found.append(means.sort_values(["place", "class"], key=lambda values: values.map(_order)))
    return pd.concat([frame for frame in found if len(frame)] or found, ignore_index=True)[_COLUMNS]


def _methods(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(zip(rows["cell"], rows["strategy"], rows["source"].fillna(""), strict=True))


def _order(value: object) -> tuple[bool, str]:
    """Sort classes by name and their mean first."""
    return value != MEAN, f"{value:09.0f}" if isinstance(value, float) else str(value)


def against_scratch(rows: pd.DataFrame) -> tuple[dict[str, float], int, int] | None:
    """Return, of one cell's `fid_by_class`, the best transfer's and scratch's mean and step, and for how many classes it leads.

    Returns:
        ``{"transfer", "scratch", "step"}``, classes where the transfer's FID is lower, classes in all; None where either is
        missing.
    """
    transfers, scratch = rows[rows["strategy"] != SCRATCH], rows[rows["strategy"] == SCRATCH]
    if len(transfers) == 0 or len(scratch) == 0:
        return None
    best = records(transfers)[0]
    ours = transfers[transfers["strategy"] == best["strategy"]].set_index("class")["value"]
    theirs = scratch.set_index("class")["value"]
    if MEAN not in ours or MEAN not in theirs:
        return None
    ahead = (ours.drop(MEAN) < theirs.drop(MEAN)).sum()
    means = {"transfer": float(ours[MEAN]), "scratch": float(theirs[MEAN]), "step": float(best["step"])}
    return means, int(ahead), len(ours) - 1
