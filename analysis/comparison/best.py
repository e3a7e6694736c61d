"""The method that a cell's headline names, and what is known about its gain over scratch.

The named method is the first of the cell's transfers at its final step. It was chosen by the same values that its gain is
computed from, so its interval holds for all transfers of the cell together (`significance.t_tests`). Where fresh seeds confirm
the choice (`transfergan confirm`), the headline is made from those alone.
"""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.claims import COLUMNS
from analysis.comparison.cells import Cell, Method, reference_variance
from analysis.comparison.intervals import pairs
from analysis.comparison.power import smallest_effect
from analysis.frames import records

#: What the gain of the named method is computed from.
FRESH, CHOSEN = "fresh seeds", "the seeds it was chosen by"

_COLUMNS = ["cell", "cell_label", "family", "size", "strategy", "source", "source_label", "step", "gain", "low", "high"]
_COLUMNS += ["seeds", "lost"]
_COLUMNS += ["scratch_seeds", "value", "scratch", "p_holm", "outcome", "smallest", "basis", "provisional"]


def named(cells: Sequence[Cell], tests: pd.DataFrame, basis: str = CHOSEN) -> pd.DataFrame:
    """Return the named method of each cell that has scratch and a final transfer, in one embedding.

    Args:
        cells: the cells.
        tests: their `significance.t_tests`.
        basis: what the values come from, `FRESH` or `CHOSEN`.

    Returns:
        One row per cell: the method; the columns of `t_tests`; `value` and `scratch`, the geometric means of both at `step`;
        `scratch_seeds`; `smallest`, the smallest ratio that these seeds tell from 1 with a power of 80 % (NaN if the noise is
        unknown); `basis`; `provisional`, whether `step` is before the budget.
    """
    by_method = {(row["cell"], row["strategy"], row["source"]): row for row in records(tests)}
    rows = []
    for cell in cells:
        best = next((method for method in cell.transfers if method.final), None)
        if best is None or cell.scratch is None or not cell.scratch.final:
            continue
        row = by_method[cell.names["cell"], best.names["strategy"], best.names["source"]]
        row = {**cell.names, **row, "value": 2**best.mean, "scratch": 2**cell.scratch.mean}
        row |= {"scratch_seeds": len(cell.scratch.logs), "basis": basis, "provisional": best.step < cell.names["budget"]}
        row["smallest"] = _smallest(cell, cell.scratch, best, len(tests))
        rows.append(row)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _smallest(cell: Cell, scratch: Method, method: Method, comparisons: int) -> float:
    (of_scratch, freedom), (of_transfers, more) = cell.variance(scratch), cell.variance(method)
    if not freedom or not more:
        return math.nan
    seeds = min(len(scratch.logs), len(method.logs))
    sharing = max(1, int(more) // (seeds - 1)) if seeds > 1 else 1
    # The error of the reference does not fall with more seeds; here it is spread over those that there are.
    with_reference = of_scratch + seeds * reference_variance(scratch, method)
    return smallest_effect(math.sqrt(of_transfers), math.sqrt(with_reference), seeds, comparisons, sharing)


def claims(best: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `named` as claims."""
    claims = best.assign(kind="best", subject=pairs(best), versus="scratch", value=best["gain"], simultaneous=True)
    return claims.assign(p=best["p_holm"])[COLUMNS]
