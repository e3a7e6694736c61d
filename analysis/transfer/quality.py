"""What metrics beside FID say of the best methods: is a low FID bought with copies, or with fewer kinds of images?"""

import numpy as np
import pandas as pd

from analysis.frames import records
from analysis.words import start
from trainers.config.metrics import metrics

#: What a reader should beware of: a metric, the value beyond which, and which way; what is then said.
_WARNINGS = (
    ("memorisation", 0.6, 1, "lies nearer to its training images than fresh images do"),
    ("diversity", 0.5, -1, "has less than half of the real images' diversity"),
)

_COLUMNS = ["cell", "cell_label", "strategy", "source", "source_label", "step", "metric", "value", "error", "seeds"]


def quality(curves: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Return every metric of scratch and of each strategy with its best source, cell by cell, at the method's last step.

    Args:
        curves: `Frames.curves` in one embedding.
        ranked: `transferability.ranking` of them.

    Returns:
        One row per cell, method and metric, in the order of `ranked` and of the metrics' records: `step`; `value`, the mean
        over `seeds`; `error`, 1.96 standard errors of it from the sampling of images (NaN where there is none).
    """
    by = ["cell", "strategy", "source", "step"]
    chosen = ranked.drop_duplicates(["cell", "strategy"]).reset_index(drop=True)
    place = {method: number for number, method in enumerate(_keys(chosen, by))}
    rows = curves[curves["metric"].isin(list(metrics())) & (curves["kind"] == "adapt")]
    rows = rows.assign(place=pd.Series(_keys(rows, by), index=rows.index, dtype="object").map(place))
    rows = rows[rows["place"].notna() & np.isfinite(rows["value"].astype(float))]
    if len(rows) == 0:
        return pd.DataFrame(columns=_COLUMNS)
    rows = rows.assign(squares=np.square(rows["standard_error"].astype(float)))
    named = ["place", "cell", "cell_label", "strategy", "source", "source_label", "step", "metric"]
    means = rows.groupby(named, dropna=False, as_index=False).agg(
        value=("value", "mean"), squares=("squares", lambda each: each.sum(skipna=False)), seeds=("trial", "nunique")
    )
    means["error"] = 1.96 * np.sqrt(means["squares"].astype(float)) / means["seeds"]
    order = {name: number for number, name in enumerate(metrics())}
    means = means.assign(order=means["metric"].map(order)).sort_values(["place", "order"], kind="stable")
    return means.reset_index(drop=True)[_COLUMNS]


def warnings(found: pd.DataFrame) -> list[str]:
    """Return what a reader should beware of in the best methods: copies of training images, or a loss of diversity.

    Args:
        found: what `quality` returned.
    """
    best = found.drop_duplicates(["cell", "strategy", "metric"])
    lines = []
    for metric, limit, way, said in _WARNINGS:
        rows = best[best["metric"] == metric]
        hit = rows[way * (rows["value"] - limit) > rows["error"].fillna(0)]
        for row in records(hit):
            lines.append(f"{row['cell_label']}: what {start(row)} draws {said} ({metric} {row['value']:.2f}).")
    return lines


def _keys(rows: pd.DataFrame, by: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(rows[name].fillna("") if name == "source" else rows[name] for name in by), strict=True))
