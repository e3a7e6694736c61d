"""The store's tables: what their columns are, what makes a row one and the same, and which row of several counts."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

SCHEMA_VERSION = 1

Table = Literal["trials", "measurements", "distances", "domains", "environments"]

_TIME = pa.timestamp("us", tz="UTC")

SCHEMAS: dict[Table, pa.Schema] = {
    # A trial's outcome. One row per trial key.
    "trials": pa.schema(
        {
            "key": pa.string(),  # content hash of `config`
            "kind": pa.string(),  # pretrain | adapt | tune
            "source": pa.string(),  # domain, mixture or chain pre-trained on, or import; null for scratch
            "target": pa.string(),  # domain adapted to; null for a pretrain trial
            "size": pa.int64(),  # training images the trial may see
            "strategy": pa.string(),  # null for a pretrain trial
            "conditional": pa.bool_(),
            "seed": pa.int64(),
            "cell": pa.string(),  # content hash of what makes trials comparable; null for a pretrain trial
            "parent": pa.string(),  # key of the pretrain trial it started from
            "resolution": pa.int64(),  # pixels
            "config": pa.string(),  # canonical JSON of the whole trial
            "status": pa.string(),  # done | stopped | diverged | failed | blocked
            "steps": pa.int64(),  # generator steps reached
            "budget": pa.int64(),  # generator steps planned; steps < budget means censored
            "seconds": pa.float64(),  # training and evaluation together, over all attempts that counted
            "images_per_second": pa.float64(),  # real images through the critic per second of training
            "peak_memory_mib": pa.float64(),
            "checkpoint": pa.string(),  # path in the store; null where there is none
            "samples": pa.string(),  # path in the store of the last PNG grid of generated images
            "real_samples": pa.string(),  # path in the store of the PNG grid of reference images
            "error": pa.string(),  # why it failed, diverged or is blocked
            "environment": pa.string(),  # hash of a row of `environments`
            "recorded_at": _TIME,
        }
    ),
    # One metric of one trial at one step.
    "measurements": pa.schema(
        {
            "trial": pa.string(),
            "step": pa.int64(),
            "metric": pa.string(),  # fid, kid, precision, ...; fid/CLASS; fid_ema, kid_ema; ada_signal and others
            "embedding": pa.string(),
            "value": pa.float64(),
            "standard_error": pa.float64(),  # null where the metric has none
            "samples": pa.int64(),  # generated images behind the value
            "images_seen": pa.int64(),
            "seconds": pa.float64(),  # of the trial, up to this step
            "recorded_at": _TIME,
        }
    ),
    # How far a source is from a target. `trial` names the generator when its samples stand for the source.
    "distances": pa.schema(
        {
            "source": pa.string(),
            "target": pa.string(),
            "trial": pa.string(),  # pretrain trial whose samples were used; null for the source's real images
            "resolution": pa.int64(),
            "kind": pa.string(),  # fid | kid | precision | recall | density | coverage
            "embedding": pa.string(),
            "value": pa.float64(),
            "low": pa.float64(),  # 95% interval
            "high": pa.float64(),
            "source_samples": pa.int64(),
            "target_samples": pa.int64(),
            "recorded_at": _TIME,
        }
    ),
    # What a domain is like by itself, by its reference images.
    "domains": pa.schema(
        {
            "domain": pa.string(),
            "resolution": pa.int64(),
            "figure": pa.string(),  # diversity | spacing
            "embedding": pa.string(),
            "value": pa.float64(),
            "low": pa.float64(),  # 95% interval
            "high": pa.float64(),
            "samples": pa.int64(),
            "recorded_at": _TIME,
        }
    ),
    # A machine and its software, once.
    "environments": pa.schema(
        {
            "environment": pa.string(),  # content hash of the rest
            "details": pa.string(),  # JSON: versions, platform, processor, device, git commit
            "recorded_at": _TIME,
        }
    ),
}

KEYS: dict[Table, list[str]] = {
    "trials": ["key"],
    "measurements": ["trial", "step", "metric", "embedding"],
    "distances": ["source", "target", "trial", "resolution", "kind", "embedding"],
    "domains": ["domain", "resolution", "figure", "embedding"],
    "environments": ["environment"],
}

#: Statuses after which a trial has a result of its own.
FINISHED = ("done", "stopped", "diverged")


def newest(rows: pa.Table, table: Table) -> pa.Table:
    """Return one row per key, the one recorded last, in the order of recording.

    Clocks differ and jump, so that of a trial's outcomes the last is by what happened: "done" is final, and otherwise the one
    that has come further is later; only between equals the time decides.

    Args:
        rows: of the table, with its columns and perhaps others.
        table: its name.
    """
    recorded = rows["recorded_at"].cast(pa.int64()).to_numpy()
    if (np.diff(recorded) < 0).any():
        rows = rows.take(np.argsort(recorded, kind="stable"))
    # One number per key: whole strings are looked at once per column, where the dictionary is made.
    codes = np.zeros(len(rows), np.int64)
    for name in KEYS[table]:
        column = rows[name].combine_chunks().dictionary_encode("encode")
        codes = codes * len(column.dictionary) + column.indices.to_numpy()
        codes = pd.factorize(codes)[0]  # small again, so that the next product cannot overflow
    order = np.arange(len(rows))
    if table == "trials":
        steps = rows["steps"].fill_null(0).to_numpy()
        order = np.lexsort((order, steps, rows["status"].to_numpy() == "done"))
    older = np.zeros(len(rows), bool)
    older[order] = pd.Series(codes[order]).duplicated(keep="last").to_numpy()
    return rows.filter(~older) if older.any() else rows


def by_step(measured: pd.DataFrame, metric: str, keys: Iterable[str]) -> dict[str, dict[int, float]]:
    """Return a metric's values by trial key and step, of rows of the table `measurements`; every key has a place."""
    found: dict[str, dict[int, float]] = {key: {} for key in keys}
    rows = measured[measured["metric"] == metric]
    for trial, step, value in zip(rows["trial"], rows["step"], rows["value"], strict=True):
        found.setdefault(trial, {})[int(step)] = float(value)
    return found
