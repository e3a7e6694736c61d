"""The sources compared over all targets, and the regret of choosing a source by its distance.

The **regret** of a choice is the gain (log2) of the best source minus that of the chosen one: 0 if the choice is the best, 1 if
its FID is twice the best one's. The highest of several noisy gains overstates the true one, so a regret against it is positive
even where all sources are equal. Each seed is therefore left out in turn: the best source is chosen by the other seeds, and its
gain is measured on the one left out. With one seed there is no such regret.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims import COLUMNS
from analysis.comparison.intervals import mean_and_margin, total_error, with_tests
from analysis.transfer.steps import compared, compared_points, step_of

_COLUMNS = ["strategy", "source", "source_label", "gain", "low", "high", "value", "regret"]
_COLUMNS += ["behind", "behind_low", "behind_high", "p", "outcome", "cells", "targets", "left", "seeds", "step", "early"]
_COLUMNS += ["trainings"]


def over_targets(gains: pd.DataFrame) -> pd.DataFrame:
    """Return each source's mean gain and regret over all targets, by strategy, the highest mean gain first.

    Only cells where every source of the strategy has a gain at the step of `steps.compared` are used, so that sources are
    compared on the same targets. Cells of one target are averaged first, so that targets have equal weight. The first source of
    a strategy is compared with every other by a t-test of the differences on the same target. As the first is chosen by the
    same gains, p-values are corrected by Holm's method for all pairs of sources of all strategies. All targets share the
    trainings of a source: where there are several, the variance between them is added. `gains` have one embedding.

    Returns:
        One row per strategy and source: mean `gain` (log2) with its 95 % interval `low` to `high` (Student's t over targets;
        NaN with one target); `value`, the geometric mean of the metric; mean `regret` against the source that the other seeds
        choose; `behind`, the mean difference from the first source (log2) with the interval `behind_low` to `behind_high` at
        the level of the corrected test, `p` (corrected) and `outcome`, none for the first; the numbers of `cells`, `targets`
        and `seeds`; `left`, the number of cells left out because a source has no gain there; `step` and `early` of the gains;
        `trainings`, the fewest that a source of the strategy has.
    """
    chosen, points = compared(gains), compared_points(gains)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = group.pivot(index=["target", "cell"], columns="source", values="gain")
        complete = table.dropna()
        if len(complete) == 0 or table.shape[1] < 2:
            continue
        seeds = chosen[(chosen["strategy"] == strategy) & chosen["cell"].isin(complete.index.get_level_values("cell"))]
        logs = seeds.assign(log=np.log2(seeds["value"].astype(float))).groupby(["target", "cell", "source"])["log"].mean()
        values = logs.groupby(level=["target", "source"]).mean().groupby(level="source").mean()
        regrets = _regrets(seeds)
        by_target = complete.groupby(level="target").mean()
        order = list(by_target.mean().sort_values(ascending=False, kind="stable").index)
        labels = dict(zip(group["source"], group["source_label"], strict=True))
        trainings, (spread, freedom) = _between_trainings(seeds)
        for source in order:
            mean, margin = mean_and_margin(by_target[source], (spread / trainings[source], freedom))
            rows.append({
                "strategy": strategy, "source": source, "source_label": labels[source],
                "gain": mean, "low": mean - margin, "high": mean + margin,
                "value": float(2 ** values[source]), "regret": float(regrets[source]),
                "cells": len(complete), "targets": len(by_target), "left": len(table) - len(complete),
                "seeds": int(seeds.groupby(["cell", "source"]).size().min()), "step": step_of(seeds),
                "early": bool(seeds["early"].any()), "trainings": min(trainings.values()),
            })  # fmt: skip
        for first, other in combinations(order, 2):
            difference = by_target[first] - by_target[other]
            between_targets = difference.sem() ** 2, len(difference) - 1
            between_trainings = spread / trainings[first] + spread / trainings[other], freedom
            error, of_error = total_error([between_targets, between_trainings]) if len(difference) > 1 else (np.nan, np.nan)
            numbers = {"value": difference.mean(), "error": error, "freedom": of_error}
            pairs.append({"strategy": strategy, "first": first, "source": other, **numbers})
    return _with_tests(pd.DataFrame(rows), pd.DataFrame(pairs)).reindex(columns=_COLUMNS)


def _between_trainings(seeds: pd.DataFrame) -> tuple[dict[str, int], tuple[float, float]]:
    """Return the number of trainings of each source, and the variance of the mean gain between them with its freedom.

    The variance is pooled over the sources with several trainings; (0, 0) if there are none.
    """
    deviations = seeds["gain"] - seeds.groupby(["cell", "source"])["gain"].transform("mean")
    means = deviations.groupby([seeds["source"], seeds["parent"].fillna("")]).mean()
    counts = means.groupby(level="source").size()
    freedom = int((counts - 1).sum())
    spread = (float(means.pow(2).sum()) / freedom, float(freedom)) if freedom else (0.0, 0.0)
    return {str(name): int(count) for name, count in counts.items()}, spread


def _with_tests(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Add the comparison of each source with the first of its strategy."""
    if len(pairs) == 0:
        return rows
    tests = with_tests(pairs).rename(columns={"value": "behind", "low": "behind_low", "high": "behind_high"})
    first = rows.drop_duplicates("strategy").set_index("strategy")["source"]
    tests = tests[tests["first"] == tests["strategy"].map(first)]
    columns = ["strategy", "source", "behind", "behind_low", "behind_high", "p", "outcome"]
    return rows.merge(tests[columns], on=["strategy", "source"], how="left")


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `over_targets` as claims: the first source of a strategy against each other one."""
    first = table.drop_duplicates("strategy").set_index("strategy")["source"]
    rows = table[table["outcome"].notna()]
    return rows.assign(
        kind="source", cell=None, subject=[f"{first[name]}, {name}" for name in rows["strategy"]], versus=rows["source"],
        value=rows["behind"], low=rows["behind_low"], high=rows["behind_high"], simultaneous=True,
    )[COLUMNS]  # fmt: skip


def _regrets(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean regret of each source over cells, against the source that the other seeds choose.

    It is NaN if a cell has a gain from every source on fewer than two seeds.
    """
    table = rows.pivot_table(index=["cell", "seed"], columns="source", values="gain").dropna()
    if set(table.index.unique("cell")) != set(rows["cell"]):
        return pd.Series(np.nan, index=table.columns)
    seeds_of_cells = [seeds.to_numpy(float) for _, seeds in table.groupby(level="cell")]
    of_cells = [_gain_of_chosen(seeds) - seeds.mean(axis=0) for seeds in seeds_of_cells]
    return pd.DataFrame(of_cells, columns=table.columns).mean(skipna=False)


def _gain_of_chosen(values: np.ndarray) -> float:
    """Return the mean gain, on each seed (row), of the source (column) that the other seeds choose; NaN with one seed."""
    if len(values) < 2:
        return float("nan")
    others = values.sum(axis=0) - values
    return float(values[np.arange(len(values)), others.argmax(axis=1)].mean())


def regrets_of_nearest(seeds: np.ndarray, nearness: np.ndarray) -> tuple[float, float]:
    """Return the regrets (log2) of choosing the nearest source and a random one.

    They are against the source that the other seeds choose; NaN if fewer than two seeds have a gain from every source. Sources
    that are equally near count with their mean.

    Args:
        seeds: gains (seeds, sources), NaN if a seed lacks a source.
        nearness: of the sources (sources,).
    """
    complete = seeds[np.isfinite(seeds).all(axis=1)]
    if len(complete) < 2:
        return float("nan"), float("nan")
    chosen, means = _gain_of_chosen(complete), complete.mean(axis=0)
    return chosen - float(means[nearness == nearness.max()].mean()), chosen - float(means.mean())


def regret(nearness: "pd.Series[float]", gain: "pd.Series[float]") -> float:
    """Return the regret (log2) of choosing the nearest source (greatest `nearness`) against the highest gain of all.

    It is for gains without noise; tied sources count with their mean.
    """
    nearest = nearness.to_numpy(float) == nearness.max()
    return float(gain.max() - gain.to_numpy(float)[nearest].mean())


def regret_of_chance(gain: "pd.Series[float]") -> float:
    """Return the expected regret (log2) of a source chosen uniformly at random, for gains without noise."""
    return float(gain.max() - gain.mean())
