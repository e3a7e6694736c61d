"""The strategies of each source, ranked and compared by Tukey's test."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims import LEVEL
from analysis.frames import records
from analysis.transfer.significance import pooled_variance
from analysis.transfer.transferability import measured

_NAMES = ["cell", "cell_label", "size", "source", "source_label", "distance", "strategy"]
_COLUMNS = [*_NAMES, "rank", "step", "behind", "low", "high", "seeds", "verdict"]

_Logs = dict[tuple[str, str | None], dict[int, np.ndarray]]  # by (strategy, source) and step, log2 of each seed's value

#: Verdicts on a strategy: ranked first; significantly behind the first; not significantly behind; not testable (one seed each).
BEST, BEHIND, NOISE, UNTESTED = "best", "behind", "within noise", "untested"


def strategy_ranking(curves: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Rank the strategies of each cell and source, and test each against the first, in one embedding.

    The order is that of `transferability.ranking`, given as `ranked` with `distance`, by which sources are ordered. Scratch is
    compared with the strategies of every source; a method whose seeds all diverged is left out. Two methods are compared at the
    last step that all seeds of both reached, by the difference of mean log2, with the variance between seeds pooled over all
    methods of the cell at that step. The first is selected by the same numbers, so the test is Tukey's, valid for any pair of a
    source's strategies (in Kramer's form of 1956, for unequal group sizes), at a level divided by the number of sources and
    cells (Bonferroni).

    Returns:
        One row per cell, source (nearest first) and strategy (best first), for sources with two or more strategies: `rank` from
        1; `step`; `behind`, log2 of the ratio of FID to the first's, with its simultaneous 95 % interval `low` to `high` over
        the source's strategies; `seeds`; `verdict`. `behind`, `low` and `high` of the first are NaN.
    """
    by_cell = dict(iter(measured(curves, "fid").groupby("cell", sort=False)))
    rows: list[dict[str, Any]] = []
    for cell, order in ranked.groupby("cell", sort=False):
        logs = _logs_of_seeds(by_cell[cell]) if cell in by_cell else {}
        methods = [row for row in records(order) if (row["strategy"], row["source"]) in logs]
        sources = {
            row["source"]: {name: row[name] for name in ("source", "source_label", "distance")}
            for row in methods
            if row["source"] is not None
        }
        for source in sorted(
            sources.values(), key=lambda row: (row["distance"] is None, row["distance"] or 0.0, row["source"])
        ):
            group = [row for row in methods if row["source"] in (source["source"], None)]
            if sum(row["source"] is not None for row in group) > 1:
                rows.extend({**row, **source, **comparison} for row, comparison in _compare_with_first(group, logs))
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "error", "methods", "freedom"])
    groups = max(1, int((table["rank"] == 1).sum()))
    tested = table["error"].notna()
    cases = list(zip(table.loc[tested, "methods"].astype(int), table.loc[tested, "freedom"].astype(int), strict=True))
    behind, error = table.loc[tested, "behind"].astype(float), table.loc[tested, "error"].astype(float)
    margin = error * [_critical_value(LEVEL, *case) for case in cases]
    table.loc[tested, "low"], table.loc[tested, "high"] = behind - margin, behind + margin
    significant = behind.abs() > error * [_critical_value(LEVEL / groups, *case) for case in cases]
    table.loc[tested, "verdict"] = np.where(significant, BEHIND, NOISE)
    return table[_COLUMNS]


@cache
def _critical_value(level: float, methods: int, freedom: int) -> float:
    """Return Tukey's critical value of the difference of two of `methods` means, in standard errors of that difference."""
    return float(stats.studentized_range.ppf(1 - level, methods, freedom)) / math.sqrt(2)


def _logs_of_seeds(rows: pd.DataFrame) -> _Logs:
    """Return, by method and step, log2 of the value of each seed, at the steps that all seeds of the method reached."""
    table = rows.pivot(index="step", columns="trial", values="value").astype(float)
    trials_of: dict[tuple[str, str | None], list[str]] = {}
    for row in rows.drop_duplicates("trial").to_dict("records"):
        source = row["source"] if isinstance(row["source"], str) else None
        trials_of.setdefault((row["strategy"], source), []).append(row["trial"])
    logs: _Logs = {}
    for method, trials in trials_of.items():
        steps = zip(table.index, table[trials].to_numpy(), strict=True)
        logs[method] = {int(step): np.log2(values) for step, values in steps if np.isfinite(values).all()}
    return logs


def _compare_with_first(methods: list[dict[str, Any]], logs: _Logs) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each method's row with its comparison with the first; `error` is the standard error of `behind`."""
    first = logs[methods[0]["strategy"], methods[0]["source"]]
    unknown = dict.fromkeys(("behind", "low", "high", "error"), np.nan)
    yield methods[0], {**unknown, "rank": 1, "step": max(first), "seeds": len(next(iter(first.values()))), "verdict": BEST}
    for rank, row in enumerate(methods[1:], start=2):
        of_row = logs[row["strategy"], row["source"]]
        step = max(of_row.keys() & first.keys(), default=None)
        if step is None:
            continue
        values, best = of_row[step], first[step]
        variance, freedom = pooled_variance(others[step] for others in logs.values() if step in others)
        error = math.sqrt(variance * (1 / len(values) + 1 / len(best)))
        comparison = {**unknown, "rank": rank, "step": step, "seeds": len(values), "verdict": UNTESTED, "error": error}
        yield row, {**comparison, "behind": float(values.mean() - best.mean()), "methods": len(methods), "freedom": freedom}
