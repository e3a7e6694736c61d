"""Which source to start from, over all targets, and what it costs to let a distance choose it.

The **regret** of a choice is the gain (log2) of the best source tried minus that of the one chosen: 0 where the choice is the
best, 1 where its FID is twice as high as need be.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import transferability as tf

_COLUMNS = [
    "strategy",
    "source",
    "source_label",
    "gain",
    "low",
    "high",
    "value",
    "regret",
    "best_in",
    "cells",
    "targets",
    "left",
]


def over_targets(gains: pd.DataFrame) -> pd.DataFrame:
    """Return how each source did over all targets, by strategy, the highest mean gain first.

    Only cells where every source of the strategy has a gain at the cell's common step take part, so that sources are compared
    over the same targets. Cells of one target are averaged first: targets weigh the same.

    Args:
        gains: `transferability.transfer_gain` in one embedding.

    Returns:
        One row per strategy and source: mean `gain` (log2) with its 95 % interval `low` to `high` (Student's, over targets; NaN
        with one target); `value`, the mean of the metric itself; mean `regret`; `best_in` so many of the `cells`;
        `targets`; `left`, cells left out as not every source has a gain there.
    """
    points = tf.points(gains.assign(distance=0.0))
    rows = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = group.pivot(index=["target", "cell"], columns="source", values="gain")
        whole = table.dropna()
        if len(whole) == 0 or table.shape[1] < 2:
            continue
        common = gains[(gains["at"] == "common") & (gains["strategy"] == strategy)]
        values = common.pivot_table(index=["target", "cell"], columns="source", values="value").loc[whole.index]
        by_target = whole.groupby(level="target").mean()
        n = len(by_target)
        labels = dict(zip(group["source"], group["source_label"], strict=True))
        for source in whole:
            own = by_target[source]
            reach = stats.t.ppf(0.975, n - 1) * own.std() / np.sqrt(n) if n > 1 else np.nan
            rows.append({
                "strategy": strategy, "source": source, "source_label": labels[source],
                "gain": float(own.mean()), "low": float(own.mean() - reach), "high": float(own.mean() + reach),
                "value": float(values[source].groupby(level="target").mean().mean()),
                "regret": float((whole.max(axis=1) - whole[source]).groupby(level="target").mean().mean()),
                "best_in": int((whole.idxmax(axis=1) == source).sum()), "cells": len(whole), "targets": n,
                "left": len(table) - len(whole),
            })  # fmt: skip
    found = pd.DataFrame(rows, columns=_COLUMNS)
    order = {name: place for place, name in enumerate(found["strategy"].unique())}
    found = found.assign(order=found["strategy"].map(order)).sort_values(["order", "gain"], ascending=[True, False])
    return found.drop(columns="order").reset_index(drop=True)


def regret(nearness: "pd.Series[float]", gain: "pd.Series[float]") -> float:
    """Return the regret, in log2, of the nearest source; where several are as near, the mean of theirs.

    Args:
        nearness: of each source; more is nearer.
        gain: of each source, at one step.
    """
    nearest = nearness.to_numpy(float) == nearness.max()
    return float(gain.max() - gain.to_numpy(float)[nearest].mean())


def regret_of_chance(gain: "pd.Series[float]") -> float:
    """Return the regret to be expected, in log2, of a source picked at random."""
    return float(gain.max() - gain.mean())
