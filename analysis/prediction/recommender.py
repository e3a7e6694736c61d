"""Which source and strategy to start from for images that no sweep has seen, and whether following that advice would have paid.

Within a strategy the gain (log2, over scratch) of a source on a target is taken to be ``level + target + source + slope *
nearness + noise``. Nearness is minus the log2 of the distance, less its mean over the target's sources: distances are compared
within a target alone (Mundlak 1978), as those of different targets do not tell (see `analysis.published`). Targets are a
random sample, so that of a new one the effect is unknown and expected to be none. What little data would overstate is shrunk:

* the slope by ``1 - variance / slope**2``, not below 0 (James & Stein 1961), with the variance clustered by source
  (Liang & Zeger 1986): sources, not points, are independent. With fewer than three sources it is 0.
* a source's effect towards 0, and so its prediction towards the strategy's mean gain, by the variances between and within
  sources, from moments (Henderson 1953).

A prediction's interval is from **leaving one target out**: the model predicts each target from the others. The root mean square
of these errors, times Student's t with one degree of freedom fewer than there are targets, is its reach, of any source alike.
In simulation it holds for 95 to 96 % of new gains with 6 or 10 targets; with 3 it is too wide, for there two targets predict
the third.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.transfer import sources
from analysis.transfer import transferability as tf

#: Fewer targets tell neither what distance is worth nor how far a prediction is off.
FEWEST_TARGETS = 3

_FEWEST_SOURCES = 3  # for a slope
_LEAST_KEPT = 0.05  # of what differs between sources, so that their order by mean gain remains where noise explains it all
_ROUNDS = 20  # at most, of taking turns between targets and sources; two where every source has every target

_POINTS = ["strategy", "target", "source", "source_label", "gain", "distance", "images", "cells", "seeds", "trials"]
_COLUMNS = ["strategy", "source", "source_label", "gain", "low", "high", "distance", "slope", "basis", "targets", "cells"]
_COLUMNS += ["seeds", "trials"]

#: Ways to choose, in the order of the table. The first two know of source and strategy how they did on the other targets.
CHOOSERS = {
    "recommended": "the recommended",
    "average": "the best on average",
    "nearest": "the nearest source",
    "largest": "the largest source",
    "random": "a random source",
}


def observed(gains: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return what the recommender learns from: one row per strategy, target and source.

    Args:
        gains: `transferability.transfer_gain` in one embedding, with `distance` (NaN where there is none).
        trials: `Frames.trials`, for the number of images a source was pre-trained on.

    Returns:
        Mean `gain` (log2) at the cells' common step, over seeds and then cells; `distance` (FID of the real images) and
        `images` of the source, NaN if unknown; and how many `cells`, `seeds` (of the cell with the most) and `trials` it is of.
    """
    rows = tf.points(gains)
    if len(rows) == 0:
        return pd.DataFrame(columns=_POINTS)
    images = trials[trials["kind"] == "pretrain"].groupby("source")["size"].max()
    found = rows.groupby(["strategy", "target", "source", "source_label"], sort=False, as_index=False).agg(
        gain=("gain", "mean"), distance=("distance", "mean"), cells=("cell", "nunique"), seeds=("seeds", "max"),
        trials=("seeds", "sum"),
    )  # fmt: skip
    return found.assign(images=found["source"].map(images).astype(float))[_POINTS]


def ranked(points: pd.DataFrame, distances: Mapping[str, float]) -> pd.DataFrame:
    """Return every source and strategy with its predicted gain on a new target, the highest first.

    Args:
        points: `observed`.
        distances: FID from each source's real images to the new target's, by source; a source that is missing counts as
            neither near nor far.

    Returns:
        Predicted `gain` (log2 of scratch's FID over this one's) with its 95 % interval `low` to `high`, NaN with fewer than
        `FEWEST_TARGETS` targets; `distance`; `slope`, the gain that halving the distance brings; `basis`, ``distance``, or
        ``mean gain`` where distances are missing or there are too few targets or sources (`slope` is then NaN); and how many
        `targets`, `cells`, `seeds` and `trials` of this source and strategy it stands on.
    """
    rows: list[dict[str, Any]] = []
    for strategy, group in points.groupby("strategy", sort=False):
        table = _Table.of(group)
        enough = len(table.targets) >= FEWEST_TARGETS
        nearness = _nearness([distances.get(name, np.nan) for name in table.sources])
        told = enough and table.tells_distance and int(np.isfinite(nearness).sum()) >= _FEWEST_SOURCES
        if not told:
            table = table.without_distance()
        model = _fit(table.gain, table.nearness)
        predicted, reach = model.predict(nearness), _reach(table) if enough else np.nan
        counts = group.groupby("source").agg(
            targets=("target", "nunique"), cells=("cells", "sum"), seeds=("seeds", "max"), trials=("trials", "sum"),
            source_label=("source_label", "first"),
        )  # fmt: skip
        for name, gain in zip(table.sources, predicted, strict=True):
            own = {"strategy": strategy, "source": name, "gain": gain, "low": gain - reach, "high": gain + reach}
            own |= {"distance": distances.get(name, np.nan), "slope": model.slope if told else np.nan}
            rows.append(
                {
                    **own,
                    "basis": "distance" if told else "mean gain",
                    **{str(key): value for key, value in counts.loc[name].items()},
                }
            )
    found = pd.DataFrame(rows, columns=_COLUMNS)
    return found.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def evaluate(points: pd.DataFrame) -> pd.DataFrame:
    """Return what following the recommender would have cost, beside simpler rules: each target predicted from the others.

    The regret of a choice is the gain (log2) of the target's best source and strategy minus that of the chosen. Those that
    choose a source alone take the strategy with the highest mean gain over the other targets. Ties count with their mean.

    Args:
        points: `observed`.

    Returns:
        One row per chooser (`CHOOSERS`) that can choose on every target: its mean `regret` (log2) with Student's 95 % interval
        `low` to `high` over targets, `best_in` so many of the `targets`. Empty below `FEWEST_TARGETS` targets.
    """
    tables = {str(strategy): _Table.of(group) for strategy, group in points.groupby("strategy", sort=False)}
    costs: list[dict[str, float]] = []
    for target, tried in points.groupby("target", sort=True):
        others = points[points["target"] != target]
        tried = tried[tried["strategy"].isin(others["strategy"])].set_index(["strategy", "source"])
        if len(tried) < 2:
            continue
        costs.append(_costs(tried, others.groupby("strategy")["gain"].mean(), tables, str(target)))
    if len(costs) < FEWEST_TARGETS:
        return pd.DataFrame(columns=["chooser", "about", "regret", "low", "high", "best_in", "targets"])
    table, rows = pd.DataFrame(costs), []
    for name in [name for name in CHOOSERS if name in table and table[name].notna().all()]:
        regret, n = table[name], len(table)
        reach = stats.t.ppf(0.975, n - 1) * regret.std() / np.sqrt(n)
        own = {"chooser": name, "about": CHOOSERS[name], "regret": regret.mean(), "low": max(0.0, regret.mean() - reach)}
        rows.append({**own, "high": regret.mean() + reach, "best_in": int((regret < 1e-9).sum()), "targets": n})
    return pd.DataFrame(rows)


def _costs(tried: pd.DataFrame, means: "pd.Series[float]", tables: "Mapping[str, _Table]", target: str) -> dict[str, float]:
    """Return each chooser's regret on one target.

    Args:
        tried: the target's points by strategy and source.
        means: mean gain on the other targets, by strategy.
        tables: by strategy, with all targets.
        target: left out.
    """
    gain = tried["gain"].astype(float)
    informed: dict[tuple[str, str], float] = {}
    plain: dict[tuple[str, str], float] = {}
    for strategy, rows in tried.groupby(level="strategy", sort=False):
        table = tables[str(strategy)]
        of_source = dict(zip(rows.index.get_level_values("source"), rows["distance"], strict=True))
        own = _nearness([of_source.get(name, np.nan) for name in table.sources])
        keys = [(str(strategy), name) for name in table.sources]
        for predictions, known in ((informed, table), (plain, table.without_distance())):
            rest = known.without(target)
            predictions |= dict(zip(keys, _fit(rest.gain, rest.nearness).predict(own), strict=True))
    costs = {
        name: sources.regret(pd.Series([predictions[key] for key in gain.index]), gain)
        for name, predictions in (("recommended", informed), ("average", plain))
    }
    usual = str(means.reindex(gain.index.get_level_values("strategy").unique()).idxmax())
    among = tried.xs(usual, level="strategy")
    lost = float(gain.max() - among["gain"].max())
    if among["distance"].notna().all():
        costs["nearest"] = lost + sources.regret(-among["distance"], among["gain"])
    if among["images"].notna().all() and among["images"].nunique() > 1:
        costs["largest"] = lost + sources.regret(among["images"], among["gain"])
    return {**costs, "random": lost + sources.regret_of_chance(among["gain"])}


@dataclass(frozen=True)
class _Table:
    """The gains of one strategy: `gain` and `nearness` (T, S), NaN where there is none; every target has one at least."""

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
    def tells_distance(self) -> bool:
        """Whether enough sources have a distance, on enough targets."""
        known = np.isfinite(self.gain) & np.isfinite(self.nearness)
        return int((known.sum(axis=1) >= 2).sum()) >= FEWEST_TARGETS and int(known.any(axis=0).sum()) >= _FEWEST_SOURCES

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
    """Effect of each source (S,); 0 of one that was never tried."""
    least: float
    most: float
    """Between these nearness was seen; beyond them it counts as the nearer of the two."""

    def predict(self, nearness: np.ndarray) -> np.ndarray:
        """Return the gain of each source (S,) on a target at these distances (S,), NaN for an unknown one."""
        centred = np.clip(_centred(nearness[None], np.isfinite(nearness)[None])[0], self.least, self.most)
        predicted: np.ndarray = self.level + self.source + self.slope * centred
        return predicted


def _fit(gain: np.ndarray, nearness: np.ndarray) -> _Model:
    there = np.isfinite(gain)
    x = _centred(nearness, there & np.isfinite(nearness))
    slope = _slope(x, _centred(gain, there), there)
    rest = np.where(there, gain - slope * x, 0.0)
    source = np.zeros(gain.shape[1])
    for _ in range(_ROUNDS):
        former = source
        target = np.where(there, rest - source, 0.0).sum(axis=1) / there.sum(axis=1)
        source = _source_effects(np.where(there, rest - target[:, None], 0.0), there)
        if np.abs(source - former).max() < 1e-9:
            break
    return _Model(float(target.mean()), slope, source, float(x.min()), float(x.max()))


def _slope(x: np.ndarray, y: np.ndarray, there: np.ndarray) -> float:
    """Return the shrunk slope of y on x, both centred within targets (T, S) and 0 where there is nothing."""
    square, clusters = float((x * x).sum()), int((there & (x != 0)).any(axis=0).sum())
    if square < 1e-12 or clusters < _FEWEST_SOURCES:
        return 0.0
    slope = float((x * y).sum()) / square
    sums = (x * (y - slope * x)).sum(axis=0)
    variance = float((sums**2).sum()) / square**2 * clusters / (clusters - 1)
    return slope * max(0.0, 1 - variance / slope**2) if slope else 0.0


def _source_effects(rest: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the shrunk mean of each source (S,) from what targets and distance leave (T, S), 0 where there is nothing."""
    count = there.sum(axis=0)
    tried = count > 0
    mean = rest.sum(axis=0) / np.maximum(count, 1)
    freedom = int(there.sum()) - int(tried.sum()) - (len(rest) - 1)
    if freedom < 1:  # nothing tells noise: what was measured is all that is known
        return np.asarray(mean, float)
    noise = float((np.where(there, rest - mean, 0.0) ** 2).sum()) / freedom / np.maximum(count, 1)
    between = float(mean[tried].var(ddof=1)) if tried.sum() > 1 else 0.0
    own = np.maximum(between - float(noise[tried].mean()), _LEAST_KEPT * noise)
    shrunk: np.ndarray = mean * np.divide(own, own + noise, out=np.ones_like(mean), where=own + noise > 0)
    return shrunk


def _reach(table: _Table) -> float:
    """Return half the width of a prediction's 95 % interval, from leaving one target out."""
    squares = []
    for number, target in enumerate(table.targets):
        rest = table.without(target)
        errors = table.gain[number] - _fit(rest.gain, rest.nearness).predict(table.nearness[number])
        squares.append(np.mean(errors[np.isfinite(errors)] ** 2))
    return float(stats.t.ppf(0.975, len(squares) - 1) * np.sqrt(np.mean(squares)))


def _nearness(distances: Any) -> np.ndarray:
    """Return minus the log2; NaN where there is no distance above 0."""
    values = np.asarray(distances, float)
    found: np.ndarray = -np.log2(np.where(values > 0, values, np.nan))
    return found


def _centred(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return values (T, S) less their mean over each row, 0 where there is nothing."""
    known = np.where(there, values, 0.0)
    mean = known.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    centred: np.ndarray = np.where(there, known - mean, 0.0)
    return centred
