"""Tests of differences between methods: pooled variance, t-tests against scratch, and Holm's correction."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer.transferability import SCRATCH, measured

_COLUMNS = ["cell", "cell_label", "strategy", "source", "source_label", "step", "gain", "low", "high", "seeds", "p", "p_holm"]


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Return p-values adjusted by Holm's step-down method (1979), which controls the family-wise error rate.

    NaN marks what was not tested and is not counted.
    """
    tested = p.dropna().sort_values(kind="stable")
    factors = len(tested) - np.arange(len(tested))
    corrected = pd.Series(np.minimum(np.maximum.accumulate(tested.to_numpy() * factors), 1.0), index=tested.index)
    return corrected.reindex(p.index)


def pooled_variance(groups: Iterable[np.ndarray]) -> tuple[float, int]:
    """Return the variance within groups, pooled over them, and its degrees of freedom; NaN if these are 0."""
    squares, freedom = 0.0, 0
    for group in groups:
        squares += float(np.square(group - group.mean()).sum())
        freedom += len(group) - 1
    return (squares / freedom if freedom else np.nan), freedom


def t_tests(curves: pd.DataFrame) -> pd.DataFrame:
    """Test each transfer against scratch at its cell's common step, the last that all non-diverged trials reached.

    Student's two-sided t-test of the difference of mean log2. The variance between seeds is pooled over all methods of the cell
    (as in an analysis of variance). p-values are corrected by Holm's method over all tests returned. All curves have one
    embedding.

    Returns:
        One row per cell, strategy and source: `step`, mean `gain` (log2) with its uncorrected 95 % interval `low` to `high`,
        `seeds`, `p`, `p_holm`. `low`, `high`, `p` and `p_holm` are NaN if no method of the cell has two seeds, as the variance
        is then unknown.
    """
    rows = []
    for cell, trials in measured(curves, "fid").groupby("cell", sort=False):
        reached = trials.groupby("step")["trial"].nunique()
        common = reached.index[reached == trials["trial"].nunique()]
        if len(common) == 0:
            continue
        at_step = trials[trials["step"] == common.max()].assign(log=lambda frame: np.log2(frame["value"].astype(float)))
        by = ["strategy", "source", "source_label", "cell_label"]
        methods = at_step.groupby(by, sort=False, dropna=False)["log"].agg(["mean", "var", "size"]).reset_index()
        scratch = methods[methods["strategy"] == SCRATCH]
        freedom = int((methods["size"] - 1).sum())
        if len(scratch) == 0:
            continue
        variance = float((methods["var"].fillna(0) * (methods["size"] - 1)).sum()) / freedom if freedom else np.nan
        for _, row in methods[methods["strategy"] != SCRATCH].iterrows():
            gain = float(scratch["mean"].iloc[0] - row["mean"])
            error = float(np.sqrt(variance * (1 / scratch["size"].iloc[0] + 1 / row["size"])))
            margin = stats.t.ppf(0.975, freedom) * error if freedom else np.nan
            p = float(2 * stats.t.sf(abs(gain) / error, freedom)) if freedom and error > 0 else np.nan
            names = (cell, row["cell_label"], row["strategy"], row["source"], row["source_label"], int(common.max()))
            rows.append((*names, gain, gain - margin, gain + margin, int(row["size"]), p, np.nan))
    tests = pd.DataFrame(rows, columns=_COLUMNS)
    tests["p_holm"] = holm(tests["p"].astype(float))
    return tests
