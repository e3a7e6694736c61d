"""The comparable results of a store that a recommendation is based on, and the limitations of that recommendation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.claims import LEVEL
from analysis.frames import Frames, records
from analysis.prediction.gain_model import FEWEST_TARGETS
from analysis.transfer import transferability as tf
from analysis.transfer.trained import with_own_fid
from analysis.words import Row, chance, method, span, times
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.predictors import PREDICTORS

#: What predictions are based on unless a predictor is named: FID between the real images.
DISTANCE = "fid"


@dataclass(frozen=True)
class Evidence:
    """Results that are comparable with each other."""

    embedding: str
    resolution: int
    conditional: bool
    gains: pd.DataFrame
    """`transferability.transfer_gain` at the first rung and at the final step, with `distance` and the `sweep` of the trial."""
    notes: tuple[str, ...]
    """Notes on results that were left out or differ from what was asked for."""

    @property
    def sources(self) -> list[str]:
        """Return the names of the sources, sorted."""
        return sorted(self.gains["source"].unique())

    def cell_of(self, target: str) -> str | None:
        """Return the cell with the results on a target, None without any; of several sizes, the smallest."""
        rows = self.gains[(self.gains["target"] == target) & (self.gains["at"] == "final")]
        return None if len(rows) == 0 else str(rows.sort_values("size", kind="stable")["cell"].iloc[0])


def evidence(frames: Frames, target: str = "", by: str = DISTANCE) -> Evidence:
    """Return the part of a store to base a recommendation for a target on, with results comparable with each other.

    A part has one embedding, one resolution, and either conditional or unconditional trials. A part with results on the target
    itself is taken first, then the one with the most targets; of several, an unconditional one is preferred, then the one with
    the most results.

    `by` is what a prediction is based on, in the column `distance`: `DISTANCE`, or a predictor of `trainers.config.predictors`.

    Raises:
        UserError: the store has no transfer that can be compared with training from scratch, or no value of the predictor.
    """
    curves = frames.curves[~frames.curves["confirmation"]]
    gains = with_own_fid(_with_nearness(tf.transfer_gain(curves), frames.distances, by), curves)
    gains = gains[gains["at"].isin(["first", "final"])]
    if not (gains["at"] == "final").any():
        raise UserError(
            "nothing to base a recommendation on: the store has no transfer trial with a result at the same step as a trial "
            "from scratch; run a sweep first (`transfergan run`)"
        )
    gains = gains.assign(sweep=gains["trial"].map(frames.trials.set_index("key")["sweep"]))
    parts = {}
    for _, part in gains.groupby(["embedding", "resolution", "conditional"], sort=True):
        first = part.iloc[0]
        parts[str(first["embedding"]), int(first["resolution"]), bool(first["conditional"])] = part
    chosen = max(
        parts,
        key=lambda key: ((parts[key]["target"] == target).any(), parts[key]["target"].nunique(), not key[2], len(parts[key])),
    )
    if by != DISTANCE and parts[chosen]["distance"].isna().all():
        raise UserError(
            f"--by {by}: the store has no value of it; set predictors: [{by}] in the sweep file, and run the sweep again (it "
            "trains nothing again)"
        )
    others = "; ".join(_settings(*key) for key in parts if key != chosen)
    note = f"Only results {_settings(*chosen)} are used, not those {others}, as these are not comparable."
    return Evidence(*chosen, parts[chosen].reset_index(drop=True), (note,) if others else ())


def _with_nearness(gains: pd.DataFrame, distances: pd.DataFrame, by: str) -> pd.DataFrame:
    if by == DISTANCE:
        return tf.with_distance(gains, distances, keep=True)
    return tf.with_distance(gains, distances, by, "generator", keep=True)


def at_size(results: Evidence, size: int, target: str = "") -> Evidence:
    """Return the cells of each target whose number of training images has the smallest ratio to `size`, either way.

    A note says so if they differ from `size`: those of `target` if it has results, else all.
    """
    ratio = (results.gains["size"].astype(float) / size).map(np.log2).abs()
    gains = results.gains[np.isclose(ratio, ratio.groupby(results.gains["target"]).transform("min"))].reset_index(drop=True)
    sizes = gains.loc[gains["target"] == target, "size"]
    sizes = sizes if len(sizes) else gains["size"]
    note = f"The results are for {span(sizes)} training images, the nearest in the store to {size:,}."
    return replace(results, gains=gains, notes=(*results.notes, note) if (sizes != size).any() else results.notes)


def doubts(ranked: pd.DataFrame, unmeasured: Sequence[str], by: str = DISTANCE) -> list[str]:
    """Return the limitations of a recommendation for a new target, as sentences, after the reasons for missing distances."""
    what = nearness_name(by)
    lines = list(unmeasured)
    best = records(ranked.head(1))[0]
    if best["basis"] == "distance alone":
        lines.append(
            f"No gain can be predicted: the store has results on {counted(best['targets'], 'target')}, and at least "
            f"{FEWEST_TARGETS} are needed. The order is by {what} alone, nearest first; whether a near source helps more is "
            "not known from this store."
        )
        return lines
    if (ranked["basis"] == "mean gain").all():
        lines.append(f"Too few sources have a known {what}: the order is by mean gain.")
    elif (ranked["slope"].fillna(0) == 0).all():
        lines.append(f"In this store {what} does not predict the gain: the order is by mean gain.")
    if best["estimated"]:
        lines.append(
            f"{counted(int(ranked['estimated'].sum()), 'gain')} at step {best['step']:,} behind these predictions are "
            "estimated from early gains, as the trials were stopped."
        )
    if best["p"] is None or best["p"] >= LEVEL:
        lines.append("The first start is not told apart from training from scratch.")
    elif best["gain"] < 0:
        lines.append("Training from scratch is predicted to be better than every start.")
    return lines


def nearness_name(by: str) -> str:
    """Return what a prediction is based on, in words."""
    return "distance" if by == DISTANCE else PREDICTORS[by].label


def in_words(row: Row, by: str = DISTANCE) -> str:
    """Return the first row of `recommender.ranked` as a sentence, with its basis."""
    name, what = method(row), nearness_name(by)
    if row["basis"] == "distance alone":
        return f"{name[:1].upper()}{name[1:]} is the start from the nearest source ({what} {row['distance']:.4g})."
    basis = f"{what} and mean gain" if row["basis"] == "distance" else "the mean gain"
    p = "" if row["p"] is None else f", {chance(row['p'])}"
    return (
        f"{name[:1].upper()}{name[1:]}: the gain over scratch at step {row['step']:,} is predicted to be {times(row['gain'])} "
        f"(95 % interval {times(row['low'])} to {times(row['high'])}{p}), from {basis} of {counted(row['trials'], 'trial')} on "
        f"{counted(row['targets'], 'target')}."
    )


def _settings(embedding: str, resolution: int, conditional: bool) -> str:
    return f"in {embedding} at {resolution} pixels {'with' if conditional else 'without'} labels"
