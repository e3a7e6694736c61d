"""FID of each class of conditional generators, and the number of classes that transfer improves.

For conditional trials the store has the FID of each class (metric ``fid/CLASS``: images generated for that class against the
reference images of that class) and their mean, the intra-FID of Miyato & Koyama 2018 (``intra_fid``).
"""

import json

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.frames import records
from analysis.transfer import transferability as tf

PREFIX = "fid/"

#: The `class` of the mean over classes.
MEAN = "mean"

_BY = ["cell", "cell_label", "target_label", "size", "strategy", "source", "source_label", "class", "step"]
_COLUMNS = [*_BY, "value", "seeds", "samples"]


def class_fid(curves: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Return FID by class of scratch and of each strategy with its best source, per cell.

    All methods of a cell are compared at one step, the last that every seed of every method shown reached, so that no stopped
    trial is compared with a later value of a longer one. Cells without such a step are omitted. `curves` have one embedding;
    `ranked` is their `transferability.ranking`.

    Returns:
        One row per cell, method and class, in the order of `ranked` and then by class, with the mean over classes (`class` is
        ``mean``) first: `step`, `value` (mean over `seeds`), `samples` (generated images per seed behind the value).
    """
    of_classes = _of_class(curves["metric"]) | (curves["metric"] == "intra_fid")
    rows = tf.of_best_sources(curves[of_classes & tf.comparable(curves)], ranked, ["cell", "strategy", "source"])
    rows["class"] = rows["metric"].str.removeprefix(PREFIX).where(rows["metric"] != "intra_fid", MEAN)
    tables = [pd.DataFrame(columns=_COLUMNS)]
    for _, cell in rows.groupby("cell", sort=False):
        common = set.intersection(*cell.groupby("trial")["step"].agg(set))
        if not common:
            continue
        at_step = cell[cell["step"] == max(common)]
        means = at_step.groupby(["place", *_BY], dropna=False, as_index=False).agg(
            value=("value", "mean"), seeds=("trial", "nunique"), samples=("samples", "min")
        )
        tables.append(means.sort_values(["place", "class"], key=lambda values: values.map(_order)))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)[_COLUMNS]


def _of_class(metrics: "pd.Series[str]") -> "pd.Series[bool]":
    """Return which metrics are those of a class."""
    return metrics.isin([name for name in metrics.unique() if name.startswith(PREFIX)])


def unmeasured(trials: pd.DataFrame, curves: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return each conditional cell with classes that no trial measures: its label, the measured classes, and all classes."""
    of_classes = curves[_of_class(curves["metric"])]
    counts = of_classes.groupby("cell")["metric"].nunique()
    firsts = trials[trials["cell"].isin(counts.index) & trials["config"].notna()].drop_duplicates("cell")
    rows = []
    for row in records(firsts):
        classes = len(json.loads(row["config"]).get("domain", {}).get("classes", ()))
        if counts[row["cell"]] < classes:
            rows.append((str(row["cell_label"]), int(counts[row["cell"]]), classes))
    return rows


def _order(value: object) -> tuple[bool, str]:
    """Return a sort key: classes by name, their mean first; places by number."""
    return value != MEAN, f"{value:09.0f}" if isinstance(value, float) else str(value)


def compare_with_scratch(rows: pd.DataFrame) -> tuple[dict[str, float], int, int] | None:
    """Compare the best transfer with scratch, class by class, given `class_fid` of one cell.

    Returns:
        Mean FIDs and step as ``{"transfer", "scratch", "step"}``; the number of classes where the transfer's FID is lower; the
        number of classes of both. None if either method is missing.
    """
    transfers, scratch = rows[rows["strategy"] != SCRATCH], rows[rows["strategy"] == SCRATCH]
    if len(transfers) == 0 or len(scratch) == 0:
        return None
    best = records(transfers)[0]
    of_transfer = transfers[transfers["strategy"] == best["strategy"]].set_index("class")["value"]
    of_scratch = scratch.set_index("class")["value"]
    if MEAN not in of_transfer or MEAN not in of_scratch:
        return None
    of_both = of_transfer.drop(MEAN).align(of_scratch.drop(MEAN), join="inner")  # a class that one has not measured is none
    ahead = (of_both[0] < of_both[1]).sum()
    means = {"transfer": float(of_transfer[MEAN]), "scratch": float(of_scratch[MEAN]), "step": float(best["step"])}
    return means, int(ahead), len(of_both[0])
