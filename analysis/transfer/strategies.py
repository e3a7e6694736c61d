"""Which strategy is best from each source, and which others noise does not tell from it."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.frames import records
from analysis.transfer.significance import LEVEL
from analysis.transfer.transferability import COMPARABLE

_NAMES = ["cell", "cell_label", "size", "source", "source_label", "distance", "strategy"]
_COLUMNS = [*_NAMES, "rank", "step", "behind", "low", "high", "seeds", "verdict"]

#: What is said of a strategy: the first; behind it by more than noise explains; not told from it; nothing, for want of seeds.
BEST, BEHIND, NOISE, UNTESTED = "best", "behind", "within noise", "untested"


def strategy_ranking(curves: pd.DataFrame, ranked: pd.DataFrame, metric: str = "fid") -> pd.DataFrame:
    """Rank the strategies of each cell and source, and test each against the first.

    The order is `transferability.ranking`'s; scratch takes part beside every source, a method whose seeds all diverged nowhere.
    Two methods are compared at the last step that all seeds of both reached, by the difference of mean log2, with the variance
    between seeds pooled over all methods of the cell that reached that step. The first is chosen by the same numbers that it is
    compared by; so the test is Tukey's (in Kramer's form of 1956, for unequal numbers), which holds for whichever two of a
    source's strategies one picks, at a level divided by the number of sources and cells (Bonferroni).

    Args:
        curves: `Frames.curves` in one embedding.
        ranked: `ranking` of them, with `distance`, which the sources are ordered by.
        metric: a positive metric of which less is better.

    Returns:
        One row per cell, source (nearest first) and strategy (best first), where two strategies have the source: `rank` from 1;
        `step`; how far it is `behind` the first (log2 of the ratio of the metric) with its 95 % interval `low` to `high`, which
        holds for all of the source's strategies together; `seeds`; and the `verdict`. The first has NaN for a comparison.
    """
    comparable = curves["status"].isin(COMPARABLE) & (curves["kind"] == "adapt") & (curves["status"] != "diverged")
    measured = curves[comparable & (curves["metric"] == metric) & (curves["step"] > 0) & (curves["value"] > 0)]
    measured = measured[np.isfinite(measured["value"])]
    by_cell = dict(iter(measured.groupby("cell", sort=False)))
    rows: list[dict[str, Any]] = []
    for cell, order in ranked.groupby("cell", sort=False):
        seeds = _seeds(by_cell[cell]) if cell in by_cell else {}
        methods = [row for row in records(order) if (row["strategy"], row["source"]) in seeds]
        named = {
            row["source"]: {name: row[name] for name in ("source", "source_label", "distance")}
            for row in methods
            if row["source"] is not None
        }
        for about in sorted(named.values(), key=lambda row: (row["distance"] is None, row["distance"] or 0.0, row["source"])):
            own = [row for row in methods if row["source"] in (about["source"], None)]
            if sum(row["source"] is not None for row in own) > 1:
                rows.extend({**row, **about, **told} for row, told in _against_first(own, seeds))
    found = pd.DataFrame(rows, columns=[*_COLUMNS, "error", "methods", "freedom"])
    groups = max(1, int((found["rank"] == 1).sum()))
    tested = found["error"].notna()
    cases = list(zip(found.loc[tested, "methods"].astype(int), found.loc[tested, "freedom"].astype(int), strict=True))
    behind, error = found.loc[tested, "behind"].astype(float), found.loc[tested, "error"].astype(float)
    reach = error * [_quantile(LEVEL, *case) for case in cases]
    found.loc[tested, "low"], found.loc[tested, "high"] = behind - reach, behind + reach
    far = behind.abs() > error * [_quantile(LEVEL / groups, *case) for case in cases]
    found.loc[tested, "verdict"] = np.where(far, BEHIND, NOISE)
    return found[_COLUMNS]


@cache
def _quantile(level: float, methods: int, freedom: int) -> float:
    """Return how many standard errors two of so many means differ by at most, but for a share `level` of the time."""
    return float(stats.studentized_range.ppf(1 - level, methods, freedom)) / math.sqrt(2)


def _seeds(own: pd.DataFrame) -> dict[tuple[str, str | None], dict[int, np.ndarray]]:
    """Return the log2 of the values of each method's seeds, by the steps that all of them reached."""
    table = own.pivot(index="step", columns="trial", values="value").astype(float)
    of_method: dict[tuple[str, str | None], list[str]] = {}
    for row in own.drop_duplicates("trial").to_dict("records"):
        source = row["source"] if isinstance(row["source"], str) else None
        of_method.setdefault((row["strategy"], source), []).append(row["trial"])
    found: dict[tuple[str, str | None], dict[int, np.ndarray]] = {}
    for method, trials in of_method.items():
        values = table[trials].to_numpy()
        found[method] = {
            int(step): np.log2(row) for step, row in zip(table.index, values, strict=True) if np.isfinite(row).all()
        }
    return found


def _against_first(
    own: list[dict[str, Any]], seeds: dict[tuple[str, str | None], dict[int, np.ndarray]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    first = seeds[own[0]["strategy"], own[0]["source"]]
    unknown = dict.fromkeys(("behind", "low", "high", "error"), np.nan)
    yield own[0], {**unknown, "rank": 1, "step": max(first), "seeds": len(next(iter(first.values()))), "verdict": BEST}
    for rank, row in enumerate(own[1:], start=2):
        values = seeds[row["strategy"], row["source"]]
        step = max(values.keys() & first.keys(), default=None)
        if step is None:
            continue
        ours, best = values[step], first[step]
        pool = [others[step] for others in seeds.values() if step in others]
        freedom = sum(len(each) - 1 for each in pool)
        told = {**unknown, "rank": rank, "step": step, "seeds": len(ours), "verdict": UNTESTED}
        if freedom:
            variance = sum(float(((each - each.mean()) ** 2).sum()) for each in pool) / freedom
            told["error"] = math.sqrt(variance * (1 / len(ours) + 1 / len(best)))
        yield row, {**told, "behind": float(ours.mean() - best.mean()), "methods": len(own), "freedom": freedom}
