"""Methods compared with the first of their group by Tukey's test: strategies of a source, and all methods of a cell."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from analysis.claims import COLUMNS, LEVEL, outcome
from analysis.comparison.cells import Cell, Difference, Method
from analysis.comparison.studentized_range import upper_tail

_NAMES = ["cell", "cell_label", "size", "source", "source_label", "distance", "strategy"]
_COLUMNS = [*_NAMES, "rank", "step", "early", "behind", "low", "high", "seeds", "lost", "p", "outcome"]
_COLUMNS += ["first", "method"]

#: Degrees of freedom above which Student's distribution is taken as normal.
_MANY = 10_000


def strategy_ranking(cells: Sequence[Cell], distances: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """Compare the strategies of each cell and source with the first of them, in one embedding.

    Scratch is compared with the strategies of every source. The first is selected by the values that are tested, so the test
    is Tukey's, valid for any pair of a group's methods, with the errors of `Cell.difference` (Kramer 1956 for unequal group
    sizes, Games & Howell 1976 for unequal variances). p-values are multiplied by the number of groups (Bonferroni), and
    intervals hold for all groups together. Methods that were stopped before the final step count as methods of the group but
    are not tested.

    Args:
        cells: the cells of one embedding.
        distances: by cell and source, for the order of the sources.

    Returns:
        One row per cell, source (nearest first) and strategy (best first), for sources with two or more strategies: `rank` from
        1; `step`; `early`, whether that is before the cell's final step; `behind`, log2 of the ratio of FID to the first's,
        with its interval `low` to `high`; `seeds`; `lost`; `p`, corrected; `outcome`; `first` and `method`, the strategy and
        source of both. The numbers of the first are NaN.
    """
    groups: list[tuple[Cell, dict[str, Any], list[Method]]] = []
    for cell in cells:
        of_source = {method.names["source"]: method.names["source_label"] for method in cell.transfers}
        known = {source: distances.get((cell.names["cell"], source), math.inf) for source in of_source}
        for source in sorted(of_source, key=lambda name: (known[name], name)):
            names = {"source": source, "source_label": of_source[source], "distance": known[source]}
            methods = [method for method in cell.methods if method.is_scratch or method.names["source"] == source]
            if sum(method.is_transfer for method in methods) > 1:
                groups.append((cell, names, methods))
    table = _compared(groups)
    table["distance"] = table["distance"].astype(float).replace(math.inf, np.nan)
    return table


def best_against_others(cells: Sequence[Cell]) -> pd.DataFrame:
    """Compare the first method of each cell with every other one that is final, by the test of `strategy_ranking`.

    Returns:
        One row per cell and method but the first: `behind`, log2 of the ratio of FID to the first's, and the other columns of
        `strategy_ranking`.
    """
    table = _compared([(cell, {"distance": np.nan}, list(cell.methods)) for cell in cells if len(cell.methods) > 1])
    return table[(table["rank"] > 1) & ~table["early"].astype(bool)]


def _compared(groups: Sequence[tuple[Cell, Mapping[str, Any], Sequence[Method]]]) -> pd.DataFrame:
    """Return one row per method of each group: its cell's and group's names, and its comparison with the first."""
    rows: list[dict[str, Any]] = []
    for cell, names, methods in groups:
        first, count = methods[0], len(methods)
        for rank, method in enumerate(methods, start=1):
            row = {**cell.names, **method.names, **names, "strategy": method.names["strategy"], "rank": rank}
            row |= {
                "first": _key(first),
                "method": _key(method),
                "step": method.step,
                "early": not method.final,
                "seeds": len(method.seeds.trials),
                "lost": method.lost,
            }
            row |= dict.fromkeys(("behind", "low", "high", "p"), np.nan)
            if rank > 1 and first.final and method.final:
                row |= tukey(cell.difference(method, first), count, len(groups))
            rows.append(row)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["outcome"] = outcome(table["p"].astype(float))
    return table


def tukey(difference: Difference, methods: int, groups: int) -> dict[str, float]:
    """Return the comparison of one of `methods` with the first, or of any two of them, in one of `groups`.

    Returns:
        "behind", the difference, with its interval "low" to "high" and its p-value "p", both corrected for all pairs of the
        methods and for the groups; what is unknown is left out.
    """
    if np.isfinite(difference.rank_p):
        pairs = methods * (methods - 1) // 2
        return {"p": min(1.0, difference.rank_p * pairs * groups)}
    if not difference.error > 0:
        return {"behind": difference.value}
    freedom = _MANY if difference.freedom > _MANY else max(1, int(difference.freedom))
    margin = _critical_value(LEVEL / groups, methods, freedom) * difference.error
    statistic = abs(difference.value) / difference.error * math.sqrt(2)
    # The integral may underflow for a very large statistic; no p-value is below that of a single pair.
    of_pair = 2 * float(special.stdtr(freedom, -statistic / math.sqrt(2)))
    p = groups * max(of_pair, upper_tail(statistic, methods, freedom))
    return {"behind": difference.value, "low": difference.value - margin, "high": difference.value + margin, "p": min(1.0, p)}


def _key(method: Method) -> tuple[str, str | None]:
    return method.names["strategy"], method.names["source"]


@cache
def _critical_value(level: float, methods: int, freedom: int) -> float:
    """Return Tukey's critical value of the difference of two of `methods` means, in standard errors of that difference.

    It lies between Student's for one pair of means and for all pairs (Bonferroni).
    """
    pairs = methods * (methods - 1) // 2
    low, high = (float(-special.stdtrit(freedom, level / 2 / count)) for count in (1, pairs))
    if pairs == 1:
        return low

    def excess(log: float) -> float:
        statistic = math.exp(log) * math.sqrt(2)
        return upper_tail(statistic, methods, freedom) - level

    slack = 1e-6  # for the error of the quadrature, where the bounds are narrow
    start, end = math.log(low) - slack, math.log(high) + slack
    return math.exp(optimize.brentq(excess, start, end, xtol=1e-9, rtol=1e-9))


def claims(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return rows of `strategy_ranking` or `best_against_others` as claims of a kind: the first is compared with each other."""
    rows = table[(table["rank"] > 1) & ~table["early"].astype(bool)]
    claims = rows.assign(kind=kind, subject=rows["first"], versus=rows["method"], value=rows["behind"], simultaneous=True)
    return claims[COLUMNS]
