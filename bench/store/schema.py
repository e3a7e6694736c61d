"""The store's tables: their columns, their keys, and which of several rows with one key is kept."""

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pyarrow as pa

from bench.store import columns

SCHEMA_VERSION = 2

Table = Literal["trials", "measurements", "distances", "domains", "environments"]

_TIME = pa.timestamp("us", tz="UTC")

SCHEMAS: dict[Table, pa.Schema] = {
    # The outcome of a trial. One row per trial key.
    "trials": pa.schema(
        {
            "key": pa.string(),  # content hash of `config`
            "kind": pa.string(),  # pretrain | adapt | tune
            "source": pa.string(),  # domain, mixture, chain or import that it starts from, or that a pretrain trial makes
            "target": pa.string(),  # domain that it adapts to; null for a pretrain trial
            "size": pa.int64(),  # training images that the trial may use
            "strategy": pa.string(),  # null for a pretrain trial
            "conditional": pa.bool_(),
            "seed": pa.int64(),
            "cell": pa.string(),  # content hash shared by comparable trials; null for a pretrain trial
            "parent": pa.string(),  # key of the pretrain trial that it starts from
            "resolution": pa.int64(),  # pixels
            "config": pa.string(),  # canonical JSON of the TrialConfig; the key is a hash of the part that decides its course
            "view": pa.string(),  # how the run that recorded it measured it, as in `measurements`
            "status": pa.string(),  # done | stopped | diverged | failed | blocked
            "steps": pa.int64(),  # generator steps reached
            "budget": pa.int64(),  # generator steps planned; a trial with steps < budget is censored
            "seconds": pa.float64(),  # training and evaluation, of all attempts whose work was kept
            "evaluation_seconds": pa.float64(),  # those of `seconds` that evaluation took; null in older parts
            "images_per_second": pa.float64(),  # real images seen by the critic per second of training
            "peak_memory_mib": pa.float64(),  # of the GPU if it trains on one, else of the process
            "checkpoint": pa.string(),  # path in the store; null if there is none
            "samples": pa.string(),  # path in the store of the last grid of generated images (PNG)
            "real_samples": pa.string(),  # path in the store of the grid of reference images (PNG)
            "error": pa.string(),  # reason of a failed, diverged or blocked trial
            "rule": pa.string(),  # of a stopped trial: the settings of the stopping rule, canonical JSON
            "environment": pa.string(),  # key in table `environments`
            "recorded_at": _TIME,
        }
    ),
    # One metric of one trial at one step, measured in one way.
    "measurements": pa.schema(
        {
            "trial": pa.string(),  # trial key
            "step": pa.int64(),  # generator step
            "metric": pa.string(),  # fid, kid, precision, ...; fid/CLASS; fid_raw, kid_selection; ada_signal and others
            "embedding": pa.string(),  # identity of the embedding that features are computed in
            "view": pa.string(),  # the embedding, the generated and the real images (see `EvaluationConfig.view`)
            "version": pa.string(),  # of the metric's definition (see `EvaluationConfig.version`)
            "value": pa.float64(),
            "standard_error": pa.float64(),  # null if the metric has none
            "replicates": pa.list_(pa.float32()),  # FID and KID on other draws of the reference images; null in older parts
            "samples": pa.int64(),  # generated images that the value is computed from
            "images_seen": pa.int64(),  # real images seen by the critic up to this step
            "seconds": pa.float64(),  # since the trial began, including evaluations
            "recorded_at": _TIME,
        }
    ),
    # One distance from a source to a target: of the source's real images, or of the samples of a generator trained on it.
    "distances": pa.schema(
        {
            "source": pa.string(),
            "target": pa.string(),
            "trial": pa.string(),  # key of the pretrain trial whose samples were used; null for the source's real images
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
    # One figure of a domain's reference images, in an embedding.
    "domains": pa.schema(
        {
            "domain": pa.string(),
            "resolution": pa.int64(),
            "figure": pa.string(),  # diversity | spacing | dimensions (of the embedding) | fid_floor | kid_floor
            "embedding": pa.string(),
            "value": pa.float64(),
            "low": pa.float64(),  # 95% interval
            "high": pa.float64(),
            "samples": pa.int64(),  # reference images; of a floor, the training images in each draw
            "recorded_at": _TIME,
        }
    ),
    # One machine with its software.
    "environments": pa.schema(
        {
            "environment": pa.string(),  # content hash of `details`
            "details": pa.string(),  # JSON: versions, platform, processor, device, git commit
            "recorded_at": _TIME,
        }
    ),
}

KEYS: dict[Table, list[str]] = {
    "trials": ["key"],
    "measurements": ["trial", "step", "metric", "view", "version"],
    "distances": ["source", "target", "trial", "resolution", "kind", "embedding", "source_samples"],
    "domains": ["domain", "resolution", "figure", "embedding", "samples"],
    "environments": ["environment"],
}

#: Columns that parts of older stores lack. They are large, so `Store.read` omits them unless asked.
LARGE: dict[Table, tuple[str, ...]] = {"measurements": ("replicates",)}

#: Statuses of trials that ended with a result.
FINISHED = ("done", "stopped", "diverged")


def small(table: Table) -> pa.Schema:
    """Return the schema of a table without its large columns."""
    return pa.schema([field for field in SCHEMAS[table] if field.name not in LARGE.get(table, ())])


def newest(rows: pa.Table, table: Table) -> pa.Table:
    """Return one row per key, the one recorded last, in the order of recording.

    Clocks differ and jump, so outcomes of a trial are ordered by progress first: the one with the most steps is last, of equal
    ones that of the largest budget, then "done"; the time only decides between those that are equal in all. `rows` has the
    columns of the key, `recorded_at`, for trials `steps`, `budget` and `status`, and possibly more.
    """
    rows = _by_time(rows)
    codes = _coded_keys(rows, table)
    order = np.arange(len(rows))
    if table == "trials":
        done = columns.where(rows["status"], lambda status: status == "done")
        order = np.lexsort((order, done, columns.numbers(rows["budget"]), columns.numbers(rows["steps"])))
    return _last(rows, codes, order)


def without_copies(rows: pa.Table, table: Table) -> pa.Table:
    """Return the rows in the order of recording, without copies of others, which have the same key and `recorded_at`."""
    rows = _by_time(rows)
    times = columns.numbered(columns.numbers(rows["recorded_at"].cast(pa.int64())))
    codes = columns.numbered(_coded_keys(rows, table) * (times.max(initial=-1) + 1) + times)
    return _last(rows, codes, np.arange(len(rows)))


def _by_time(rows: pa.Table) -> pa.Table:
    """Return the rows in the order of recording; rows of the same time keep theirs."""
    recorded = columns.numbers(rows["recorded_at"].cast(pa.int64()))
    return columns.taken(rows, np.argsort(recorded, kind="stable")) if (np.diff(recorded) < 0).any() else rows


def _coded_keys(rows: pa.Table, table: Table) -> columns.Indices:
    """Return a number per key; strings are compared only once, when each column's dictionary is built."""
    codes = np.zeros(len(rows), np.int64)
    for name in KEYS[table]:
        of_column, values = columns.coded(rows[name])
        codes = columns.numbered(codes * len(values) + of_column)  # from 0, so that the next product cannot overflow
    return codes


def _last(rows: pa.Table, codes: columns.Indices, order: columns.Indices) -> pa.Table:
    """Return of the rows with equal codes, numbers from 0 without gaps, the one that comes last in an order."""
    last = np.empty(codes.max(initial=-1) + 1, np.int64)
    last[codes[order]] = order  # of several rows with one key the last assignment counts
    if len(last) == len(rows):
        return rows
    mask = np.zeros(len(rows), bool)
    mask[last] = True
    return columns.kept(rows, mask)


def by_step(measured: pa.Table, metric: str, keys: Iterable[str]) -> dict[str, dict[int, float]]:
    """Return a metric's values in rows of table `measurements` by trial key, also of `keys` without values, and step."""
    values: dict[str, dict[int, float]] = {key: {} for key in keys}
    rows = columns.kept(measured, columns.where(measured["metric"], lambda name: name == metric))
    for trial, step, value in zip(*(rows[name].to_pylist() for name in ("trial", "step", "value")), strict=True):
        values.setdefault(trial, {})[step] = math.nan if value is None else value
    return values
