"""How far two embeddings order the starts of a cell alike, at its final step in both."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
from scipy import stats

from analysis.comparison.cells import Cell
from analysis.words import start

COLUMNS = ("cell", "cell_label", "step", "first", "second", "first_start", "second_start", "agree", "correlation", "starts")


def agreement(cells: Mapping[str, Sequence[Cell]]) -> pd.DataFrame:
    """Compare the order of the starts of each cell in every two embeddings, given the cells of each. Nothing is tested.

    Returns:
        a row per cell and pair of embeddings that have two starts or more in common there (see `COLUMNS`): the step; the two
        embeddings; the start with the lowest mean log FID in each, scratch included; whether it is the same; Spearman's
        correlation of the means over the starts (None for fewer than three), and their number.
    """
    rows = []
    for first, second in combinations(cells, 2):
        there = {cell.names["cell"]: cell for cell in cells[second]}
        for cell in cells[first]:
            if (row := _compared(cell, there.get(cell.names["cell"]))) is not None:
                rows.append({**row, "first": first, "second": second})
    return pd.DataFrame(rows, columns=COLUMNS)


def _compared(one: Cell, other: Cell | None) -> dict[str, object] | None:
    means = [{start(method.names): method.mean for method in cell.methods if method.is_whole} for cell in (one, other) if cell]
    if other is None or one.step != other.step:
        return None
    common = sorted(means[0].keys() & means[1].keys())
    if len(common) < 2:
        return None
    first, second = (min(common, key=lambda name: (of_cell[name], name)) for of_cell in means)
    correlation = None
    if len(common) > 2:
        correlation = float(stats.spearmanr(*([of_cell[name] for name in common] for of_cell in means)).statistic)
    return {
        "cell": one.names["cell"], "cell_label": one.names["cell_label"], "step": one.step, "first_start": first,
        "second_start": second, "agree": first == second, "correlation": correlation, "starts": len(common),
    }  # fmt: skip
