"""What a store knows that bears on a new target, and in what a recommendation from it is to be doubted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.frames import Frames, records
from analysis.prediction import recommender
from analysis.transfer import transferability as tf
from analysis.words import Row, counted, method, span, times
from trainers.common.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """The results that are comparable with each other and come nearest to what is asked."""

    embedding: str
    resolution: int
    conditional: bool
    gains: pd.DataFrame
    """`transferability.transfer_gain` at the cells' common step, with `distance` and the `sweep` of the trial."""
    notes: tuple[str, ...]
    """What was left out, or differs from what is asked."""

    @property
    def sources(self) -> list[str]:
        """Return the sources, by name."""
        return sorted(self.gains["source"].unique())


def evidence(frames: Frames) -> Evidence:
    """Return the largest part of a store whose results are comparable with each other.

    Of one embedding, one resolution, and with or without labels: the part with the most targets, of equals the one without
    labels, of these the one with the most results.

    Args:
        frames: the store.

    Raises:
        UserError: no transfer can be compared with training from scratch.
    """
    found = tf.with_distance(tf.transfer_gain(frames.curves), frames.distances, keep=True)
    found = found[found["at"] == "common"]
    if len(found) == 0:
        raise UserError(
            "there is nothing to recommend by: the store has no transfer with a result beside one from scratch at the same "
            "step; `transfergan run` measures some"
        )
    found = found.assign(sweep=found["trial"].map(frames.trials.set_index("key")["sweep"]))
    parts = {}
    for _, own in found.groupby(["embedding", "resolution", "conditional"], sort=True):
        first = own.iloc[0]
        parts[str(first["embedding"]), int(first["resolution"]), bool(first["conditional"])] = own
    chosen = max(parts, key=lambda key: (parts[key]["target"].nunique(), not key[2], len(parts[key])))
    others = "; ".join(_settings(*key) for key in parts if key != chosen)
    note = f"Only results {_settings(*chosen)} are used, and not those {others}: they cannot be compared."
    return Evidence(*chosen, parts[chosen].reset_index(drop=True), (note,) if others else ())


def at_size(found: Evidence, size: int) -> Evidence:
    """Return, of each target, the cells whose number of training images is nearest to `size`, by ratio."""
    off = (found.gains["size"].astype(float) / size).map(np.log2).abs()
    gains = found.gains[np.isclose(off, off.groupby(found.gains["target"]).transform("min"))].reset_index(drop=True)
    note = f"The results are with {span(gains['size'])} training images, the nearest that the store has to {size:,}."
    return replace(found, gains=gains, notes=(*found.notes, note) if (gains["size"] != size).any() else found.notes)


def doubts(found: Evidence, ranked: pd.DataFrame, target: str, unmeasured: Sequence[str]) -> list[str]:
    """Return in sentences what a recommendation does not rest on, or does not tell.

    Args:
        found: what it is from.
        ranked: `recommender.ranked`.
        target: the new target's name.
        unmeasured: why distances could not be measured.
    """
    lines = list(unmeasured)
    targets = sorted(found.gains["target"].unique())
    if len(targets) < recommender.FEWEST_TARGETS:
        lines.append(
            f"The store has results on {counted(len(targets), 'target')}, and it takes {recommender.FEWEST_TARGETS} to tell "
            "what distance is worth and how far off a prediction is: the order is that of the mean gain, without intervals."
        )
    elif (ranked["basis"] == "mean gain").all():
        lines.append("Distances of too few sources are known: the order is that of the mean gain.")
    elif (ranked["slope"].fillna(0) == 0).all():
        lines.append("In this store distance does not foretell the gain: the order is that of the mean gain.")
    if target in targets:
        lines.append("The store has results on this very target: its report tells more than this prediction.")
    best = records(ranked.head(1))[0]
    if best["gain"] <= 0:
        lines.append("No start is predicted to be ahead of training from scratch.")
    elif best["low"] is not None and best["low"] <= 0:
        lines.append("The best start cannot be told from training from scratch: its interval includes ×1.00.")
    return lines


def in_words(row: Row) -> str:
    """Return one row of `recommender.ranked` as a sentence, with what it stands on."""
    held = "" if row["low"] is None else f", 95 % interval {times(row['low'])} to {times(row['high'])}"
    by = "from distance and mean gain" if row["basis"] == "distance" else "the mean gain"
    behind = f"{counted(row['trials'], 'trial')} on {counted(row['targets'], 'target')}"
    name = method(row)
    return (
        f"{name[:1].upper()}{name[1:]}: FID from scratch is predicted to be {times(row['gain'])} its own{held} "
        f"({by}, of {behind})."
    )


def _settings(embedding: str, resolution: int, conditional: bool) -> str:
    return f"in {embedding} at {resolution} pixels {'with' if conditional else 'without'} labels"
