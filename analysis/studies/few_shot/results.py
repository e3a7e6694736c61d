"""The kept results of the study's sweeps, and how they are taken from a store."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd

from analysis.comparison.cells import cells
from analysis.frames import load
from analysis.prediction.predictors import compare_predictors
from analysis.transfer.transferability import transfer_gain
from bench.store import Store

#: The sweeps whose trials are compared, and the one with the predictors: sweep.yaml, augmentations.yaml, predictors.yaml.
COMPARED, OF_PREDICTORS = ("few-shot-study", "few-shot-augmentations"), "few-shot-predictors"

#: Names of the files that `Results.write` writes.
CURVES, PREDICTORS = "curves.csv", "predictors.csv"

_METHOD = ["strategy", "augmentation", "source"]


@dataclass(frozen=True)
class Results:
    """The results of the study.

    Attributes:
        curves: FID of the adaptations: `strategy`, `augmentation` (both with options), `source` (missing without one), `size`,
            `seed`, `step`, `fid`, and `lost`, whether the trial diverged or failed; a lost trial has a row even without a FID.
        predictors: the columns of `analysis.prediction.predictors.compare_predictors`.
    """

    curves: pd.DataFrame
    predictors: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write two CSV files, with five significant digits, into a folder."""
        for name, frame in ((CURVES, self.curves), (PREDICTORS, self.predictors)):
            frame.to_csv(folder / name, index=False, float_format="%.5g")


def kept() -> Results:
    """Return the results that are kept with the program."""
    folder = files("analysis.studies.few_shot")
    return Results(*(pd.read_csv(io.StringIO(folder.joinpath(name).read_text())) for name in (CURVES, PREDICTORS)))


def from_store(store: Store, compared: Sequence[str] = COMPARED, of_predictors: str = OF_PREDICTORS) -> Results:
    """Return the results of the sweeps in a store.

    Raises:
        UserError: the store lacks one of the sweeps.
    """
    curves = pd.concat([_curves(store, sweep) for sweep in compared]).drop_duplicates(ignore_index=True)
    frames = load(store, of_predictors)
    gains = transfer_gain(frames.curves, cells(frames.curves))
    order = [*_METHOD, "size", "seed", "step"]
    return Results(curves.sort_values(order, ignore_index=True), compare_predictors(gains, frames.distances))


def _curves(store: Store, sweep: str) -> pd.DataFrame:
    frames = load(store, sweep)
    trials = frames.trials[frames.trials["kind"] == "adapt"]
    trials = trials.assign(augmentation=[json.loads(config).get("augmentation", "none") for config in trials["config"]])
    fid = frames.curves[(frames.curves["metric"] == "fid") & (frames.curves["step"] > 0)]
    fid = fid[["trial", "step", "value"]].rename(columns={"trial": "key", "value": "fid"})
    columns = [*_METHOD, "size", "seed", "step", "fid", "lost"]
    return trials[["key", *_METHOD, "size", "seed", "lost"]].merge(fid, on="key", how="left")[columns]
