"""Which differences noise does not explain, when many are looked at: tests against scratch, and Holm's correction."""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer.transferability import COMPARABLE, SCRATCH

#: The probability of any false claim among all that are made together.
LEVEL = 0.05

_COLUMNS = ["cell", "cell_label", "strategy", "source", "source_label", "step", "gain", "low", "high", "seeds", "p", "p_holm"]


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Return p-values corrected for their number, such that the chance of any false claim stays below the level (Holm 1979).

    Args:
        p: p-values; NaN for what was not tested, which does not count.
    """
    known = p.dropna().sort_values(kind="stable")
    factors = len(known) - np.arange(len(known))
    corrected = pd.Series(np.minimum(np.maximum.accumulate(known.to_numpy() * factors), 1.0), index=known.index)
    return corrected.reindex(p.index)


def against_scratch(curves: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Test each transfer against scratch at its cell's common step, the last that all its trials but the diverged reached.

    Student's two-sided t of the difference of mean log2, with the variance between seeds pooled over all methods of the cell
    (as in an analysis of variance); corrected by Holm's method over all tests returned.

    Args:
        curves: `Frames.curves` in one embedding.
        metric: a positive metric of which less is better.

    Returns:
        One row per cell, strategy and source: `step`, mean `gain` (log2) with its uncorrected 95 % interval `low` to `high`,
        `seeds`, `p`, `p_holm`; the last four are NaN where no method of the cell has two seeds, as nothing then tells noise.
    """
    comparable = curves["status"].isin(COMPARABLE) & (curves["kind"] == "adapt") & (curves["status"] != "diverged")
    rows = []
    measured = curves[comparable & (curves["metric"] == metric) & (curves["step"] > 0) & (curves["value"] > 0)]
    measured = measured[np.isfinite(measured["value"])]
    for cell, own in measured.groupby("cell", sort=False):
        reached = own.groupby("step")["trial"].nunique()
        common = reached.index[reached == own["trial"].nunique()]
        if len(common) == 0:
            continue
        at = own[own["step"] == common.max()].assign(log=lambda frame: np.log2(frame["value"].astype(float)))
        by = ["strategy", "source", "source_label", "cell_label"]
        methods = at.groupby(by, sort=False, dropna=False)["log"].agg(["mean", "var", "size"]).reset_index()
        scratch = methods[methods["strategy"] == SCRATCH]
        freedom = int((methods["size"] - 1).sum())
        if len(scratch) == 0:
            continue
        variance = float((methods["var"].fillna(0) * (methods["size"] - 1)).sum()) / freedom if freedom else np.nan
        for _, row in methods[methods["strategy"] != SCRATCH].iterrows():
            gain = float(scratch["mean"].iloc[0] - row["mean"])
            error = float(np.sqrt(variance * (1 / scratch["size"].iloc[0] + 1 / row["size"])))
            reach = stats.t.ppf(0.975, freedom) * error if freedom else np.nan
            p = float(2 * stats.t.sf(abs(gain) / error, freedom)) if freedom and error > 0 else np.nan
            names = (cell, row["cell_label"], row["strategy"], row["source"], row["source_label"], int(common.max()))
            rows.append((*names, gain, gain - reach, gain + reach, int(row["size"]), p, np.nan))
    found = pd.DataFrame(rows, columns=_COLUMNS)
    found["p_holm"] = holm(found["p"].astype(float))
    return found
