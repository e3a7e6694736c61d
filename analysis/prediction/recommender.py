"""Recommendation of a source and strategy for a new target from the results on other targets.

The gain of every start is predicted by `gain_model`. The 95 % interval of a prediction is from **leave-one-target-out**
cross-validation: the root mean square of the prediction errors times the quantile of Student's t with one degree of freedom
fewer than there are targets is the margin, the same for all sources. With 3 targets it is too wide, as each target is then
predicted from two. With fewer targets no gain can be predicted, and starts are ordered by distance alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims import COLUMNS, outcome
from analysis.comparison.intervals import pairs
from analysis.prediction.final_gains import final_points
from analysis.prediction.gain_model import FEWEST_SOURCES, FEWEST_TARGETS, Table, fit, nearness, prediction_error

_POINTS = ["strategy", "target", "source", "source_label", "gain", "distance", "images", "own_fid", "cells", "seeds"]
_POINTS += ["trials", "estimated", "step"]
_COLUMNS = ["strategy", "source", "source_label", "gain", "low", "high", "p", "distance", "slope", "basis", "targets", "cells"]
_COLUMNS += ["seeds", "trials", "estimated", "step"]


def observed(gains: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the data that the recommender is fitted to, in one embedding: one row per strategy, target and source.

    Returns:
        Mean `gain` (log2) at the cells' final `step`, over seeds and then cells (see `final_gains`); `distance` (FID of the
        real images), `images` that the source was trained on and `own_fid`, the geometric mean of its trainings' (see
        `transfer.trained`), NaN if unknown; and the numbers of `cells`, `seeds` (maximum over cells), `trials`, and of
        gains that were `estimated`.
    """
    rows = final_points(gains)
    if len(rows) == 0:
        return pd.DataFrame(columns=_POINTS)
    images = trials[trials["kind"] == "pretrain"].groupby("source")["size"].max()
    means = rows.groupby(["strategy", "target", "source", "source_label"], sort=False, as_index=False).agg(
        gain=("gain", "mean"), distance=("distance", "mean"), cells=("cell", "nunique"), seeds=("seeds", "max"),
        trials=("seeds", "sum"), estimated=("estimated", "sum"), step=("step", "min"),
    )  # fmt: skip
    trainings = gains.drop_duplicates(["source", "parent"])
    own = np.exp2(np.log2(trainings["own_fid"]).groupby(trainings["source"]).mean())
    known = {"images": means["source"].map(images).astype(float), "own_fid": means["source"].map(own).astype(float)}
    return means.assign(**known)[_POINTS]


def ranked(points: pd.DataFrame, distances: Mapping[str, float]) -> pd.DataFrame:
    """Return every source and strategy with its predicted gain on a new target, the highest first.

    `distances` are FIDs from each source's real images to the new target's; a missing source gets average nearness. With fewer
    than `FEWEST_TARGETS` targets no gain can be predicted: the order is then by distance alone (a strategy with a higher mean
    gain first, from one source), and there is no row without distances.

    Returns:
        Predicted `gain` (log2 of scratch's FID over this one's) at `step` with its 95 % interval `low` to `high`, and `p` of no
        gain; `distance`; `slope`, the gain per halving of the distance; `basis`, ``distance``, ``mean gain`` with too few
        distances or sources (`slope` is then NaN), or ``distance alone`` without a prediction; and the numbers of `targets`,
        `cells`, `seeds`, `trials` and `estimated` gains behind the prediction.
    """
    if points["target"].nunique() < FEWEST_TARGETS:
        return _by_distance(points, distances)
    rows: list[dict[str, Any]] = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = Table.of(group)
        if len(table.targets) < FEWEST_TARGETS:
            continue
        near = nearness([distances.get(name, np.nan) for name in table.sources])
        by_distance = table.has_distances and int(np.isfinite(near).sum()) >= FEWEST_SOURCES
        if not by_distance:
            table = table.without_distance()
        model = fit(table)
        predicted, error = model.predict(near), prediction_error(table)
        freedom = len(table.targets) - 1
        margin = stats.t.ppf(0.975, freedom) * error
        slope, basis = (model.slope, "distance") if by_distance else (np.nan, "mean gain")
        counts = _counts(group)
        for name, gain in zip(table.sources, predicted, strict=True):
            row = {"strategy": strategy, "source": name, "gain": gain, "low": gain - margin, "high": gain + margin}
            row |= {"p": 2 * stats.t.sf(abs(gain) / error, freedom) if error > 0 else np.nan}
            row |= {"distance": distances.get(name, np.nan), "slope": slope, "basis": basis}
            rows.append({**row, **counts[name]})
    predictions = pd.DataFrame(rows, columns=_COLUMNS)
    return predictions.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def _by_distance(points: pd.DataFrame, distances: Mapping[str, float]) -> pd.DataFrame:
    """Return the starts whose source has a distance, the nearest first, without a prediction."""
    means = points.groupby("strategy")["gain"].mean().sort_values(ascending=False, kind="stable")
    rows = [
        {"strategy": strategy, "source": source, "distance": distances[source], "basis": "distance alone", **of_source}
        for strategy in means.index
        for source, of_source in _counts(points[points["strategy"] == strategy]).items() if source in distances
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS).sort_values("distance", kind="stable").reset_index(drop=True)


def _counts(points: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what is known of each source of a strategy: its label, the final step, and the numbers behind a prediction."""
    counts = points.groupby("source").agg(
        targets=("target", "nunique"), cells=("cells", "sum"), seeds=("seeds", "max"), trials=("trials", "sum"),
        estimated=("estimated", "sum"), step=("step", "min"), source_label=("source_label", "first"),
    )  # fmt: skip
    return {str(name): {str(key): value for key, value in row.items()} for name, row in counts.to_dict("index").items()}


def recommended_claim(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return the first start of `ranked` as a claim about its gain on the new target, none without a start."""
    first = ranking.head(1)
    p = first["p"].astype(float)
    return first.assign(
        kind="recommended", cell=None, subject=pairs(first), versus="scratch",
        value=first["gain"], p=p, outcome=outcome(p), simultaneous=False,
    )[COLUMNS]  # fmt: skip
