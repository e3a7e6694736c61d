"""The comparable results of a store that a recommendation is based on, and the limitations of that recommendation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.frames import Frames, records
from analysis.prediction import recommender
from analysis.transfer import transferability as tf
from analysis.words import Row, counted, method, span
from trainers.common.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """Results that are comparable with each other."""

    embedding: str
    resolution: int
    conditional: bool
    gains: pd.DataFrame
    """`transferability.transfer_gain` at the cells' common step, with `distance` and the `sweep` of the trial."""
    notes: tuple[str, ...]
    """Notes on results that were left out or differ from what was asked for."""

    @property
    def sources(self) -> list[str]:
        """Return the names of the sources, sorted."""
        return sorted(self.gains["source"].unique())


def evidence(frames: Frames) -> Evidence:
    """Return the largest part of a store whose results are comparable with each other.

    A part has one embedding, one resolution, and either conditional or unconditional trials. The part with the most targets is
    taken; of several, an unconditional one is preferred, then the one with the most results.

    Raises:
        UserError: the store has no transfer that can be compared with training from scratch.
    """
    gains = tf.with_distance(tf.transfer_gain(frames.curves), frames.distances, keep=True)
    gains = gains[gains["at"] == "final"]
    if len(gains) == 0:
        raise UserError(
            "nothing to base a recommendation on: the store has no transfer trial with a result at the same step as a trial "
            "from scratch; run a sweep first (`transfergan run`)"
        )
    gains = gains.assign(sweep=gains["trial"].map(frames.trials.set_index("key")["sweep"]))
    parts = {}
    for _, part in gains.groupby(["embedding", "resolution", "conditional"], sort=True):
        first = part.iloc[0]
        parts[str(first["embedding"]), int(first["resolution"]), bool(first["conditional"])] = part
    chosen = max(parts, key=lambda key: (parts[key]["target"].nunique(), not key[2], len(parts[key])))
    others = "; ".join(_settings(*key) for key in parts if key != chosen)
    note = f"Only results {_settings(*chosen)} are used, not those {others}, as these are not comparable."
    return Evidence(*chosen, parts[chosen].reset_index(drop=True), (note,) if others else ())


def at_size(results: Evidence, size: int) -> Evidence:
    """Return the cells of each target whose number of training images has the smallest ratio to `size`, either way."""
    ratio = (results.gains["size"].astype(float) / size).map(np.log2).abs()
    gains = results.gains[np.isclose(ratio, ratio.groupby(results.gains["target"]).transform("min"))].reset_index(drop=True)
    note = f"The results are for {span(gains['size'])} training images, the nearest in the store to {size:,}."
    return replace(results, gains=gains, notes=(*results.notes, note) if (gains["size"] != size).any() else results.notes)


def doubts(results: Evidence, ranked: pd.DataFrame, target: str, unmeasured: Sequence[str]) -> list[str]:
    """Return the limitations of a recommendation, as sentences, after the reasons why distances are `unmeasured`."""
    lines = list(unmeasured)
    targets = sorted(results.gains["target"].unique())
    if len(targets) < recommender.FEWEST_TARGETS:
        lines.append(
            f"The store has results on {counted(len(targets), 'target')}; at least {recommender.FEWEST_TARGETS} are needed to "
            "estimate the effect of distance and the error of a prediction. The order is by mean gain, without intervals."
        )
    elif (ranked["basis"] == "mean gain").all():
        lines.append("Too few sources have a known distance: the order is by mean gain.")
    elif (ranked["slope"].fillna(0) == 0).all():
        lines.append("In this store distance does not predict the gain: the order is by mean gain.")
    if target in targets:
        lines.append("The store has results on this target itself; its report says more than this prediction.")
    best = records(ranked.head(1))[0]
    if best["gain"] <= 0:
        lines.append("No start is predicted to be better than training from scratch.")
    elif best["low"] is not None and best["low"] <= 0:
        lines.append("The best start is not significantly better than training from scratch: its interval includes 1.")
    return lines


def in_words(row: Row) -> str:
    """Return one row of `recommender.ranked` as a sentence, with its basis."""
    interval = "" if row["low"] is None else f" (95 % interval {2 ** row['low']:.2f} to {2 ** row['high']:.2f})"
    basis = "distance and mean gain" if row["basis"] == "distance" else "the mean gain"
    name = method(row)
    return (
        f"{name[:1].upper()}{name[1:]}: FID from scratch is predicted to be {2 ** row['gain']:.2f} times this start's"
        f"{interval}, from {basis} of {counted(row['trials'], 'trial')} on {counted(row['targets'], 'target')}."
    )


def _settings(embedding: str, resolution: int, conditional: bool) -> str:
    return f"in {embedding} at {resolution} pixels {'with' if conditional else 'without'} labels"
