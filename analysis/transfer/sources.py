"""The sources compared over all targets, and the regret of choosing a source by its distance.

The **regret** of a choice is the gain (log2) of the best source tried minus that of the chosen one: 0 if the choice is the
best, 1 if its FID is twice the best one's.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import transferability as tf

_COLUMNS = ["strategy", "source", "source_label", "gain", "low", "high", "value", "regret"]
_COLUMNS += ["best_in", "cells", "targets", "left"]


def over_targets(gains: pd.DataFrame) -> pd.DataFrame:
    """Return each source's mean gain and regret over all targets, by strategy, the highest mean gain first.

    Only cells where every source of the strategy has a gain at the cell's common step are used, so that sources are compared
    on the same targets. Cells of one target are averaged first, so that targets have equal weight. `gains` have one embedding.

    Returns:
        One row per strategy and source: mean `gain` (log2) with its 95 % interval `low` to `high` (Student's t over targets;
        NaN with one target); `value`, the mean of the metric; mean `regret`; `best_in`, the number of `cells` where the source
        is best; `targets`; `left`, the number of cells left out because a source has no gain there.
    """
    points = tf.points(gains.assign(distance=0.0))
    rows: list[dict[str, Any]] = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = group.pivot(index=["target", "cell"], columns="source", values="gain")
        complete = table.dropna()
        if len(complete) == 0 or table.shape[1] < 2:
            continue
        common = gains[(gains["at"] == "final") & (gains["strategy"] == strategy)]
        values = common.pivot_table(index=["target", "cell"], columns="source", values="value").loc[complete.index]
        by_target = complete.groupby(level="target").mean()
        labels = dict(zip(group["source"], group["source_label"], strict=True))
        means: list[dict[str, Any]] = []
        for source in complete:
            mean, margin = mean_and_margin(by_target[source])
            means.append({
                "strategy": strategy, "source": source, "source_label": labels[source],
                "gain": mean, "low": mean - margin, "high": mean + margin,
                "value": float(values[source].groupby(level="target").mean().mean()),
                "regret": float((complete.max(axis=1) - complete[source]).groupby(level="target").mean().mean()),
                "best_in": int((complete.idxmax(axis=1) == source).sum()), "cells": len(complete), "targets": len(by_target),
                "left": len(table) - len(complete),
            })  # fmt: skip
        rows += sorted(means, key=lambda row: -row["gain"])
    return pd.DataFrame(rows, columns=_COLUMNS)


def mean_and_margin(values: "pd.Series[float]") -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval by Student's t; NaN with one value."""
    n = len(values)
    margin = stats.t.ppf(0.975, n - 1) * values.std() / np.sqrt(n) if n > 1 else np.nan
    return float(values.mean()), float(margin)


def regret(nearness: "pd.Series[float]", gain: "pd.Series[float]") -> float:
    """Return the regret (log2) of choosing the nearest source (greatest `nearness`); the mean regret of tied ones."""
    nearest = nearness.to_numpy(float) == nearness.max()
    return float(gain.max() - gain.to_numpy(float)[nearest].mean())


def regret_of_chance(gain: "pd.Series[float]") -> float:
    """Return the expected regret (log2) of a source chosen uniformly at random."""
    return float(gain.max() - gain.mean())
