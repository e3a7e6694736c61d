"""How well a target's reference images can tell generators apart: their number, the samples, and the floor of FID and KID."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import Frames, records

#: With fewer reference images, or fewer samples per dimension of the embedding, FID depends much on the draw.
FEW_REFERENCE, SAMPLES_PER_DIMENSION = 500, 4

_FLOORS = ("fid_floor", "kid_floor")
_COLUMNS = ["target", "target_label", "resolution", "split", "reference", "samples", "dimensions"]
_COLUMNS += [f"{name}{end}" for name in _FLOORS for end in ("", "_low", "_high")] + ["floor_samples", "few", "narrow"]


def references(frames: Frames, embedding: str) -> pd.DataFrame:
    """Return what each target is measured against, in one embedding.

    Returns:
        One row per target, resolution and `split`, "held-out" or "train": `reference`, the number of reference images;
        `samples`, the smallest number of generated images of a trial; `dimensions` of the embedding; `fid_floor` and
        `kid_floor`, of `floor_samples` real training images, each with its 95 % interval `_low` to `_high`; `few`, whether
        there are few reference images; `narrow`, whether there are few samples for the dimensions. Unknown numbers are NaN; so
        are the floors and the number of images where the train split is the reference.
    """
    statistics = frames.domain_statistics
    known = {
        (row["domain"], row["resolution"], row["figure"]): row
        for row in records(statistics[statistics["embedding"] == embedding])
    }
    curves = frames.curves
    of_fid = curves[(curves["embedding"] == embedding) & (curves["metric"] == "fid") & (curves["kind"] == "adapt")]
    by = ["target", "target_label", "resolution", "split"]
    targets = of_fid.groupby(by, sort=False, as_index=False).agg(samples=("samples", "min"))
    rows = []
    for row in records(targets):
        names = ("diversity", "dimensions", *_FLOORS) if row["split"] == "held-out" else ("dimensions",)
        figures = {
            name: known.get((row["target"], row["resolution"], name), {}) if name in names else {}
            for name in ("diversity", "dimensions", *_FLOORS)
        }
        row |= {"reference": _number(figures["diversity"], "samples"), "dimensions": _number(figures["dimensions"], "value")}
        for name in _FLOORS:
            row |= {name: _number(figures[name], "value")}
            row |= {f"{name}_{end}": _number(figures[name], end) for end in ("low", "high")}
        row["floor_samples"] = _number(figures["fid_floor"], "samples")
        row["few"] = row["reference"] < FEW_REFERENCE
        row["narrow"] = row["samples"] < SAMPLES_PER_DIMENSION * row["dimensions"]
        rows.append(row)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _number(row: dict[str, Any], column: str) -> float:
    value = row.get(column)
    return np.nan if value is None else float(value)
