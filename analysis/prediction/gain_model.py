"""The model that predicts the gain of a source on a new target.

Within a strategy the gain (log2, over scratch) of a source on a target is modelled as ``level + target + source + slope *
nearness + noise``. Nearness is minus log2 of the distance, centred within each target (Mundlak 1978), because distances of
different targets are not comparable (see `analysis.published`). Targets are a random sample; the effect of a new one has
expectation 0. Estimates that few data would overstate are shrunk:

* the slope by ``1 - variance / slope**2``, not below 0 (James & Stein 1961). Its variance is clustered by source (Liang & Zeger
  1986), as sources, not points, are independent. With fewer than three sources the slope is 0. With four or more it is that
  for sources that are trained equally well: what nearness and gain share with the source's own FID is taken out of both
  (Frisch & Waugh 1933), since a near source may help because it is trained well.
* the source effects towards 0, and so predictions towards the strategy's mean gain, by the variances between and within
  sources, estimated from moments (Henderson 1953).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

#: With fewer targets neither the slope nor the error of a prediction can be estimated.
FEWEST_TARGETS = 3

#: With fewer sources the slope cannot be estimated.
FEWEST_SOURCES = 3

_LEAST_KEPT = 0.05  # least variance between sources, relative to the noise: keeps their order by mean gain
_ITERATIONS = 20  # at most, alternating between target and source effects; two suffice if every source has every target


@dataclass(frozen=True)
class Table:
    """The gains of one strategy: `gain` and `nearness` (T, S), NaN if unknown; every target has at least one gain.

    `training` (S,) is how well each source is trained, minus log2 of its own FID; NaN if unknown.
    """

    targets: list[str]
    sources: list[str]
    gain: np.ndarray
    nearness: np.ndarray
    training: np.ndarray

    @classmethod
    def of(cls, group: pd.DataFrame) -> "Table":
        """Return the table of rows `target`, `source`, `gain`, `distance` and `own_fid`."""
        gain = group.pivot(index="target", columns="source", values="gain")
        distance = group.pivot(index="target", columns="source", values="distance")
        own = group.groupby("source")["own_fid"].first().reindex(gain.columns)
        return cls(list(gain.index), list(gain.columns), gain.to_numpy(float), nearness(distance), nearness(own))

    @property
    def has_distances(self) -> bool:
        """Whether enough sources have a distance, on enough targets, to fit a slope."""
        paired = np.isfinite(self.gain) & np.isfinite(self.nearness)
        return int((paired.sum(axis=1) >= 2).sum()) >= FEWEST_TARGETS and int(paired.any(axis=0).sum()) >= FEWEST_SOURCES

    def without(self, target: str) -> "Table":
        """Return the table of the other targets."""
        kept = np.array([name != target for name in self.targets])
        names = [name for name in self.targets if name != target]
        return Table(names, self.sources, self.gain[kept], self.nearness[kept], self.training)

    def without_distance(self) -> "Table":
        """Return the table with all distances unknown."""
        return replace(self, nearness=np.full_like(self.gain, np.nan))


@dataclass(frozen=True)
class Model:
    """A fitted model: the mean gain `level`, the gain per halving of the distance `slope`, and the sources' effects."""

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


def fit(table: Table) -> Model:
    """Fit the model."""
    gain, present = table.gain, np.isfinite(table.gain)
    known = present & np.isfinite(table.nearness)
    x = _centred(table.nearness, known)
    slope = _slope(*_without_training(table.training, x, _centred(gain, present), known), present)
    rest = np.where(present, gain - slope * x, 0.0)
    source = np.zeros(gain.shape[1])
    for _ in range(_ITERATIONS):
        former = source
        target = np.where(present, rest - source, 0.0).sum(axis=1) / present.sum(axis=1)
        source = _source_effects(np.where(present, rest - target[:, None], 0.0), present)
        if np.abs(source - former).max() < 1e-9:
            break
    return Model(float(target.mean()), slope, source, float(x.min()), float(x.max()))


def _without_training(
    training: np.ndarray, x: np.ndarray, y: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return x and y (T, S), centred within targets, without their regressions on how well the sources are trained."""
    if not np.isfinite(training).all() or len(training) < FEWEST_SOURCES + 1:
        return x, y
    t = _centred(np.broadcast_to(training, x.shape), known)
    square = float((t * t).sum())
    if square < 1e-12:
        return x, y
    return x - t * float((t * x).sum()) / square, y - t * float((t * y).sum()) / square


def _slope(x: np.ndarray, y: np.ndarray, present: np.ndarray) -> float:
    """Return the shrunk slope of y on x, both (T, S), centred within targets and 0 if missing."""
    square, clusters = float((x * x).sum()), int((present & (x != 0)).any(axis=0).sum())
    if square < 1e-12 or clusters < FEWEST_SOURCES:
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


def prediction_error(table: Table) -> float:
    """Return the root mean square error of a prediction, by leave-one-target-out cross-validation."""
    squares = []
    for number, target in enumerate(table.targets):
        rest = table.without(target)
        errors = table.gain[number] - fit(rest).predict(table.nearness[number])
        squares.append(np.mean(errors[np.isfinite(errors)] ** 2))
    return float(np.sqrt(np.mean(squares)))


def nearness(distances: Any) -> np.ndarray:
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
