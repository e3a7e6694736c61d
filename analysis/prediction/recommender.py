"""Recommendation of a source and strategy for a new target, and the cost of having followed it on known targets.

Within a strategy the gain (log2, over scratch) of a source on a target is modelled as ``level + target + source + slope *
nearness + noise``. Nearness is minus log2 of the distance, centred within each target (Mundlak 1978), because distances of
different targets are not comparable (see `analysis.published`). Targets are a random sample; the effect of a new one has
expectation 0. Estimates that few data would overstate are shrunk:

* the slope by ``1 - variance / slope**2``, not below 0 (James & Stein 1961). Its variance is clustered by source (Liang & Zeger
  1986), as sources, not points, are independent. With fewer than three sources the slope is 0.
* the source effects towards 0, and so predictions towards the strategy's mean gain, by the variances between and within
  sources, estimated from moments (Henderson 1953).

The 95 % interval of a prediction is from **leave-one-target-out** cross-validation: the root mean square of the prediction
errors times the quantile of Student's t with one degree of freedom fewer than there are targets is the margin, the same for all
sources. In simulations it covers 95 to 96 % of new gains with 6 or 10 targets. With 3 targets it is too wide, as each target is
then predicted from two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import sources
from analysis.transfer import transferability as tf

#: With fewer targets neither the slope nor the error of a prediction can be estimated.
FEWEST_TARGETS = 3

_FEWEST_SOURCES = 3  # for a slope
_LEAST_KEPT = 0.05  # least variance between sources, relative to the noise: keeps their order by mean gain
_ITERATIONS = 20  # at most, alternating between target and source effects; two suffice if every source has every target

_POINTS = ["strategy", "target", "source", "source_label", "gain", "distance", "images", "cells", "seeds", "trials"]
_COLUMNS = ["strategy", "source", "source_label", "gain", "low", "high", "distance", "slope", "basis", "targets", "cells"]
_COLUMNS += ["seeds", "trials"]

#: Rules of choice, in the order of the table. The first two use the gains of source and strategy on the other targets.
CHOOSERS = {
    "recommended": "the recommended",
    "average": "the best on average",
    "nearest": "the nearest source",
    "largest": "the largest source",
    "random": "a random source",
}


def observed(gains: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the data that the recommender is fitted to, in one embedding: one row per strategy, target and source.

    Returns:
        Mean `gain` (log2) at the cells' common step, over seeds and then cells; `distance` (FID of the real images) and
        `images` that the source was trained on, NaN if unknown; and the numbers of `cells`, `seeds` (maximum over cells) and
        `trials`.
    """
    rows = tf.points(gains)
    if len(rows) == 0:
        return pd.DataFrame(columns=_POINTS)
    images = trials[trials["kind"] == "pretrain"].groupby("source")["size"].max()
    means = rows.groupby(["strategy", "target", "source", "source_label"], sort=False, as_index=False).agg(
        gain=("gain", "mean"), distance=("distance", "mean"), cells=("cell", "nunique"), seeds=("seeds", "max"),
        trials=("seeds", "sum"),
    )  # fmt: skip
    return means.assign(images=means["source"].map(images).astype(float))[_POINTS]


def ranked(points: pd.DataFrame, distances: Mapping[str, float]) -> pd.DataFrame:
    """Return every source and strategy with its predicted gain on a new target, the highest first.

    `distances` are FIDs from each source's real images to the new target's; a missing source gets average nearness.

    Returns:
        Predicted `gain` (log2 of scratch's FID over this one's) with its 95 % interval `low` to `high`, NaN with fewer than
        `FEWEST_TARGETS` targets; `distance`; `slope`, the gain per halving of the distance; `basis`, ``distance``, or ``mean
        gain`` with too few distances, targets or sources (`slope` is then NaN); and the numbers of `targets`, `cells`, `seeds`
        and `trials` behind the prediction.
    """
    rows: list[dict[str, Any]] = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = _Table.of(group)
        enough = len(table.targets) >= FEWEST_TARGETS
        nearness = _nearness([distances.get(name, np.nan) for name in table.sources])
        by_distance = enough and table.has_distances and int(np.isfinite(nearness).sum()) >= _FEWEST_SOURCES
        if not by_distance:
            table = table.without_distance()
        model = _fit(table.gain, table.nearness)
        predicted, margin = model.predict(nearness), _margin(table) if enough else np.nan
        slope, basis = (model.slope, "distance") if by_distance else (np.nan, "mean gain")
        counts = group.groupby("source").agg(
            targets=("target", "nunique"), cells=("cells", "sum"), seeds=("seeds", "max"), trials=("trials", "sum"),
            source_label=("source_label", "first"),
        )  # fmt: skip
        for name, gain in zip(table.sources, predicted, strict=True):
            row = {"strategy": strategy, "source": name, "gain": gain, "low": gain - margin, "high": gain + margin}
            row |= {"distance": distances.get(name, np.nan), "slope": slope, "basis": basis}
            rows.append({**row, **{str(key): value for key, value in counts.loc[name].items()}})
    predictions = pd.DataFrame(rows, columns=_COLUMNS)
    return predictions.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def evaluate(points: pd.DataFrame) -> pd.DataFrame:
    """Return the regret of the recommender and of simpler rules, each target being predicted from the others.

    The regret of a choice is the gain (log2) of the target's best source and strategy minus that of the chosen pair. Rules that
    choose only a source use the strategy with the highest mean gain over the other targets. Ties count with their mean.

    Returns:
        One row per rule of `CHOOSERS` that applies to every target: its mean `regret` (log2) with Student's 95 % interval `low`
        to `high` over targets; `best_in`, the number of `targets` where it chose the best. Empty below `FEWEST_TARGETS`
        targets.
    """
    tables = {str(strategy): _Table.of(group) for strategy, group in points.groupby("strategy", sort=False)}
    regrets: list[dict[str, float]] = []
    for target, tried in points.groupby("target", sort=True):
        others = points[points["target"] != target]
        tried = tried[tried["strategy"].isin(others["strategy"])].set_index(["strategy", "source"])
        if len(tried) < 2:
            continue
        regrets.append(_regrets(tried, others.groupby("strategy")["gain"].mean(), tables, str(target)))
    if len(regrets) < FEWEST_TARGETS:
        return pd.DataFrame(columns=["chooser", "about", "regret", "low", "high", "best_in", "targets"])
    table, rows = pd.DataFrame(regrets), []
    for name in [name for name in CHOOSERS if name in table and table[name].notna().all()]:
        mean, margin = sources.mean_and_margin(table[name])
        row = {"chooser": name, "about": CHOOSERS[name], "regret": mean, "low": max(0.0, mean - margin), "high": mean + margin}
        rows.append({**row, "best_in": int((table[name] < 1e-9).sum()), "targets": len(table)})
    return pd.DataFrame(rows)


def _regrets(tried: pd.DataFrame, means: "pd.Series[float]", tables: "Mapping[str, _Table]", target: str) -> dict[str, float]:
    """Return the regret on one target of each rule that applies to it.

    `tried` are the target's points by strategy and source, and `means` the mean gains on the other targets. The target is left
    out of the fits to `tables`.
    """
    gain = tried["gain"].astype(float)
    informed: dict[tuple[str, str], float] = {}
    plain: dict[tuple[str, str], float] = {}
    for strategy, rows in tried.groupby(level="strategy", sort=False):
        table = tables[str(strategy)]
        of_source = dict(zip(rows.index.get_level_values("source"), rows["distance"], strict=True))
        nearness = _nearness([of_source.get(name, np.nan) for name in table.sources])
        keys = [(str(strategy), name) for name in table.sources]
        for predictions, data in ((informed, table), (plain, table.without_distance())):
            rest = data.without(target)
            predictions |= dict(zip(keys, _fit(rest.gain, rest.nearness).predict(nearness), strict=True))
    regrets = {
        name: sources.regret(pd.Series([predictions[key] for key in gain.index]), gain)
        for name, predictions in (("recommended", informed), ("average", plain))
    }
    best_strategy = str(means.reindex(gain.index.get_level_values("strategy").unique()).idxmax())
    among = tried.xs(best_strategy, level="strategy")
    lost = float(gain.max() - among["gain"].max())
    if among["distance"].notna().all():
        regrets["nearest"] = lost + sources.regret(-among["distance"], among["gain"])
    if among["images"].notna().all() and among["images"].nunique() > 1:
        regrets["largest"] = lost + sources.regret(among["images"], among["gain"])
    return {**regrets, "random": lost + sources.regret_of_chance(among["gain"])}


@dataclass(frozen=True)
class _Table:
    """The gains of one strategy: `gain` and `nearness` (T, S), NaN if unknown; every target has at least one gain."""

    targets: list[str]
    sources: list[str]
    gain: np.ndarray
    nearness: np.ndarray

    @classmethod
    def of(cls, group: pd.DataFrame) -> "_Table":
        gain = group.pivot(index="target", columns="source", values="gain")
        distance = group.pivot(index="target", columns="source", values="distance")
        return cls(list(gain.index), list(gain.columns), gain.to_numpy(float), _nearness(distance))

    @property
    def has_distances(self) -> bool:
        """Whether enough sources have a distance, on enough targets, to fit a slope."""
        paired = np.isfinite(self.gain) & np.isfinite(self.nearness)
        return int((paired.sum(axis=1) >= 2).sum()) >= FEWEST_TARGETS and int(paired.any(axis=0).sum()) >= _FEWEST_SOURCES

    def without(self, target: str) -> "_Table":
        kept = np.array([name != target for name in self.targets])
        names = [name for name in self.targets if name != target]
        return _Table(names, self.sources, self.gain[kept], self.nearness[kept])

    def without_distance(self) -> "_Table":
        return _Table(self.targets, self.sources, self.gain, np.full_like(self.gain, np.nan))


@dataclass(frozen=True)
class _Model:
    level: float
    slope: float
    source: np.ndarray
    """Effect of each source (S,); 0 without observations."""
    least: float
    most: float
    """The range of the observed centred nearness, to which that of a new target is clipped."""

    def predict(self, nearness: np.ndarray) -> np.ndarray:
        """Return the gain (S,) of each source on a target from its nearness (S,), NaN if unknown."""
        centred = np.clip(_centred(nearness[None], np.isfinite(nearness)[None])[0], self.least, self.most)
        predicted: np.ndarray = self.level + self.source + self.slope * centred
        return predicted


def _fit(gain: np.ndarray, nearness: np.ndarray) -> _Model:
    """Fit the model to gains and nearness, both (T, S) with NaN if unknown."""
    present = np.isfinite(gain)
    x = _centred(nearness, present & np.isfinite(nearness))
    slope = _slope(x, _centred(gain, present), present)
    rest = np.where(present, gain - slope * x, 0.0)
    source = np.zeros(gain.shape[1])
    for _ in range(_ITERATIONS):
        former = source
        target = np.where(present, rest - source, 0.0).sum(axis=1) / present.sum(axis=1)
        source = _source_effects(np.where(present, rest - target[:, None], 0.0), present)
        if np.abs(source - former).max() < 1e-9:
            break
    return _Model(float(target.mean()), slope, source, float(x.min()), float(x.max()))


def _slope(x: np.ndarray, y: np.ndarray, present: np.ndarray) -> float:
    """Return the shrunk slope of y on x, both (T, S), centred within targets and 0 if missing."""
    square, clusters = float((x * x).sum()), int((present & (x != 0)).any(axis=0).sum())
    if square < 1e-12 or clusters < _FEWEST_SOURCES:
        return 0.0
    slope = float((x * y).sum()) / square
    sums = (x * (y - slope * x)).sum(axis=0)
    variance = float((sums**2).sum()) / square**2 * clusters / (clusters - 1)
    return slope * max(0.0, 1 - variance / slope**2) if slope else 0.0


def _source_effects(residuals: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the shrunk effect of each source (S,) from the residuals of target and distance (T, S), 0 if missing."""
    count = present.sum(axis=0)
    tried = count > 0
    mean = residuals.sum(axis=0) / np.maximum(count, 1)
    freedom = int(present.sum()) - int(tried.sum()) - (len(residuals) - 1)
    if freedom < 1:  # the noise cannot be estimated, so nothing is shrunk
        return np.asarray(mean, float)
    noise = float((np.where(present, residuals - mean, 0.0) ** 2).sum()) / freedom / np.maximum(count, 1)
    between = float(mean[tried].var(ddof=1)) if tried.sum() > 1 else 0.0
    variance = np.maximum(between - float(noise[tried].mean()), _LEAST_KEPT * noise)
    shrunk: np.ndarray = mean * np.divide(variance, variance + noise, out=np.ones_like(mean), where=variance + noise > 0)
    return shrunk


def _margin(table: _Table) -> float:
    """Return half the width of a prediction's 95 % interval, by leave-one-target-out cross-validation."""
    squares = []
    for number, target in enumerate(table.targets):
        rest = table.without(target)
        errors = table.gain[number] - _fit(rest.gain, rest.nearness).predict(table.nearness[number])
        squares.append(np.mean(errors[np.isfinite(errors)] ** 2))
    return float(stats.t.ppf(0.975, len(squares) - 1) * np.sqrt(np.mean(squares)))


def _nearness(distances: Any) -> np.ndarray:
    """Return minus log2 of the distances; NaN unless positive."""
    values = np.asarray(distances, float)
    nearness: np.ndarray = -np.log2(np.where(values > 0, values, np.nan))
    return nearness


def _centred(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return values (T, S) minus the mean of each row, 0 if missing."""
    filled = np.where(present, values, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(present.sum(axis=1, keepdims=True), 1)
    centred: np.ndarray = np.where(present, filled - mean, 0.0)
    return centred
