"""How well each source is trained: the FID of its generator to its own domain, at the end of its pre-training.

A source may help more than another because it is nearer to the target, or because it was trained better. Its own FID tells the
two apart as far as it can: FIDs of different domains are not on one scale.
"""

import numpy as np
import pandas as pd

_BY = ["source", "conditional", "resolution", "split", "embedding"]
_COLUMNS = [*_BY, "source_label", "trainings", "steps_low", "steps_high", "fid", "low", "high"]


def _ends(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of FID of each pretrain trial that is done, by embedding."""
    rows = curves[(curves["kind"] == "pretrain") & (curves["metric"] == "fid") & (curves["status"] == "done")]
    rows = rows[(rows["value"] > 0) & np.isfinite(rows["value"])]
    ordered: pd.DataFrame = rows.sort_values("step", kind="stable").drop_duplicates(["trial", "embedding"], keep="last")
    return ordered


def with_own_fid(gains: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Add the column `own_fid`: that of the training that each trial starts from, NaN if unknown."""
    ends = _ends(curves)
    known = {(trial, name): value for trial, name, value in zip(ends["trial"], ends["embedding"], ends["value"], strict=True)}
    own = [known.get(key, np.nan) for key in zip(gains["parent"], gains["embedding"], strict=True)]
    return gains.assign(own_fid=np.array(own, float))


def sources(curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row per source that was trained to its end.

    Returns:
        The number of `trainings`; the least and greatest number of steps, `steps_low` and `steps_high`; `fid`, the geometric
        mean of their own FIDs, and its extremes `low` and `high`.
    """
    ends = _ends(curves)
    logs = ends.assign(log=np.log2(ends["value"].astype(float)))
    table = logs.groupby([*_BY, "source_label"], sort=False, as_index=False).agg(
        trainings=("trial", "size"), steps_low=("step", "min"), steps_high=("step", "max"),
        fid=("log", "mean"), low=("value", "min"), high=("value", "max"),
    )  # fmt: skip
    return table.assign(fid=np.exp2(table["fid"].astype(float)))[_COLUMNS]
