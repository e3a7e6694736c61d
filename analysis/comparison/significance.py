"""Tests of each transfer against scratch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.claims import COLUMNS, outcome
from analysis.comparison.cells import Cell
from analysis.comparison.intervals import holm, levels, pairs

_NAMES = ["cell", "cell_label", "strategy", "source", "source_label"]
_COLUMNS = [*_NAMES, "step", "early", "gain", "low", "high", "seeds", "lost", "p", "p_holm", "outcome"]


def t_tests(cells: Sequence[Cell]) -> pd.DataFrame:
    """Test each transfer against scratch at its cell's final step, in one embedding.

    Welch's two-sided t-test of the difference of mean log2 (Satterthwaite's degrees of freedom): scratch has a variance of its
    own, and that of the transfers is pooled. The error of the reference images is added (`Cell.difference`). A method with a
    lost seed is tested by ranks. All p-values are corrected together by Holm's method, and an interval has the level at which
    its p-value was tested, so that it excludes 0 where the difference is significant; it is wider than one for this method
    alone. Methods that were stopped before the final step are not tested, but count in the correction.

    Returns:
        One row per cell, strategy and source: `step`; `early`, whether that is before the final step; mean `gain` (log2; NaN
        with a lost seed) with its interval `low` to `high`; the transfer's `seeds` and `lost` seeds; `p`, `p_holm`, `outcome`.
    """
    rows = []
    for cell in cells:
        for method in cell.transfers if cell.scratch else ():
            row = {**{name: {**cell.names, **method.names}[name] for name in _NAMES}, "lost": method.lost}
            row |= {"seeds": len(method.seeds.trials), "step": method.step, "early": not method.final}
            row |= {"gain": np.nan, "p": np.nan, "difference": None}
            if method.final and cell.scratch is not None and cell.scratch.final:
                difference = cell.difference(cell.scratch, method)
                row |= {"gain": difference.value, "p": difference.p, "difference": difference}
            elif (early := cell.early(method)) is not None:
                row |= {"step": early[0], "gain": early[1]}
            rows.append(row)
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "difference"])
    p = table["p"].astype(float)
    family = int(p.notna().sum() + table["early"].astype(bool).sum())
    table["p_holm"] = holm(p, family)
    margin = pd.Series(
        [d.margin(level) if np.isfinite(level) else np.nan
         for d, level in zip(table["difference"], levels(p, family), strict=True)],
        index=table.index, dtype=float,
    )  # fmt: skip
    table["low"], table["high"] = table["gain"].astype(float) - margin, table["gain"].astype(float) + margin
    table["outcome"] = outcome(table["p_holm"])
    return table[_COLUMNS]


def claims(tests: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `t_tests` at the final step as claims."""
    rows = tests[~tests["early"].astype(bool)]
    return rows.assign(
        kind="scratch", subject=pairs(rows), versus="scratch", value=rows["gain"],
        p=rows["p_holm"], simultaneous=True,
    )[COLUMNS]  # fmt: skip
