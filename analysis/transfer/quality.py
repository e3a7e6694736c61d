"""All metrics of the best methods, and warnings where a low FID comes with memorisation or low diversity."""

import numpy as np
import pandas as pd

from analysis.frames import records
from analysis.transfer.transferability import of_best_sources
from analysis.words import start
from trainers.config.metrics import metrics

#: Warnings: the metric, its limit, the side of the limit that is bad (1: above), and the text.
_WARNINGS = (
    ("memorisation", 0.6, 1, "are nearer to its training images than unseen real images are"),
    ("diversity", 0.5, -1, "have less than half of the real images' diversity"),
)

_BY = ["cell", "cell_label", "strategy", "source", "source_label", "step", "metric"]
_COLUMNS = [*_BY, "value", "error", "seeds"]


def metrics_of_best(curves: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Return every metric of scratch and of each strategy with its best source, per cell, at the method's last step.

    `curves` have one embedding, and `ranked` is their `transferability.ranking`.

    Returns:
        One row per cell, method and metric, in the order of `ranked` and of `metrics()`: `step`; `value`, the mean over
        `seeds`; `error`, 1.96 standard errors of `value` from the sampling of images (NaN if unknown).
    """
    wanted = curves["metric"].isin(list(metrics())) & (curves["kind"] == "adapt") & np.isfinite(curves["value"].astype(float))
    rows = curves.loc[wanted, [*_BY, "trial", "value", "standard_error"]]
    rows = of_best_sources(rows, ranked, ["cell", "strategy", "source", "step"])
    if len(rows) == 0:
        return pd.DataFrame(columns=_COLUMNS)
    rows = rows.assign(squares=np.square(rows["standard_error"].astype(float)))
    means = rows.groupby(["place", *_BY], dropna=False, as_index=False).agg(
        value=("value", "mean"), squares=("squares", lambda squares: squares.sum(skipna=False)), seeds=("trial", "nunique")
    )
    means["error"] = 1.96 * np.sqrt(means["squares"].astype(float)) / means["seeds"]
    order = {name: number for number, name in enumerate(metrics())}
    means = means.assign(order=means["metric"].map(order)).sort_values(["place", "order"], kind="stable")
    return means.reset_index(drop=True)[_COLUMNS]


def warnings(metrics: pd.DataFrame) -> list[str]:
    """Return warnings about the methods of `metrics_of_best`: copies of training images, or a loss of diversity."""
    best = metrics.drop_duplicates(["cell", "strategy", "metric"])
    lines = []
    for metric, limit, side, text in _WARNINGS:
        rows = best[best["metric"] == metric]
        beyond = rows[side * (rows["value"] - limit) > rows["error"].fillna(0)]
        lines += [
            f"{row['cell_label']}: the images of {start(row)} {text} ({metric} {row['value']:.2f})." for row in records(beyond)
        ]
    return lines
