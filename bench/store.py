"""The store: the only truth about what has been done.

One directory or object-store prefix holding five Parquet tables (Hive-partitioned by sweep) and the files that belong to
their rows (checkpoints, sample grids, the planned trials of each sweep). Three promises:

* A writer never changes a file: each write is a new part, published whole under its final name. Readers never see a torn
  or temporary one.
* Writing the same result twice reads as one row: rows with equal keys collapse to the one recorded last.
* The schema has a version; a store of a newer one is refused with a clear error.

Needs neither torch nor Ray.
"""

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

# For those who read the store, who need to know of nothing else.
from trainers.errors import UserError as UserError
from trainers.errors import unknown_name as unknown_name

SCHEMA_VERSION = 1

Table = Literal["trials", "measurements", "distances", "domains", "environments"]

_TIME = pa.timestamp("us", tz="UTC")

SCHEMAS: dict[Table, pa.Schema] = {
    # A trial's outcome. One row per trial key.
    "trials": pa.schema(
        {
            "key": pa.string(),  # content hash of `config`
            "kind": pa.string(),  # pretrain | adapt
            "source": pa.string(),  # domain pre-trained on; null for scratch
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
            "samples": pa.string(),  # path in the store of the PNG grid of generated images
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
            "metric": pa.string(),  # fid, kid, precision, ...; fid/CLASS; fid_ema, kid_ema
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


@dataclass(frozen=True)
class Store:
    """A handle on a store; get one by :func:`open_store`. Safe to share between processes and to pickle."""

    uri: str
    root: str
    filesystem: pafs.FileSystem

    @property
    def address(self) -> str:
        """What other processes, in other working directories, open this store by."""
        return self.uri if "://" in self.uri else self.root

    def path(self, name: str) -> str:
        """Return the full path, on the store's filesystem, of a file named by its path in the store."""
        return f"{self.root}/{name}"

    # -- files ------------------------------------------------------------------------------------------------------

    def write_file(self, name: str, data: bytes) -> None:
        """Publish a file whole: a reader sees either nothing (or the former file) or all of it."""
        final = self.path(name)
        self.filesystem.create_dir(final.rpartition("/")[0], recursive=True)
        if not isinstance(self.filesystem, pafs.LocalFileSystem):
            with self.filesystem.open_output_stream(final) as stream:  # object stores publish on close
                stream.write(data)
            return
        temporary = Path(final).with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)

    def read_file(self, name: str) -> bytes:
        """Return a file's bytes. Raises FileNotFoundError."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            data: bytes = stream.read()
        return data

    def list_files(self, folder: str) -> list[str]:
        """Return the names (sorted, paths in the store) of the published files directly in a folder."""
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        names = [i.base_name for i in infos if i.type == pafs.FileType.File and not i.base_name.startswith(".")]
        return [f"{folder}/{name}" for name in sorted(names)]

    def delete_file(self, name: str) -> None:
        """Delete a file that nothing refers to any more; a missing one is no error."""
        if self.has_file(name):
            self.filesystem.delete_file(self.path(name))

    def has_file(self, name: str) -> bool:
        """Say whether a file has been published."""
        return bool(self.filesystem.get_file_info(self.path(name)).type == pafs.FileType.File)

    # -- tables -----------------------------------------------------------------------------------------------------

    def append(self, table: Table, sweep: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Publish rows as one new part. Missing columns are null, unknown ones an error; `recorded_at` is set here."""
        schema = SCHEMAS[table]
        now = datetime.now(UTC)
        filled = []
        for row in rows:
            unknown = set(row) - set(schema.names)
            assert not unknown, f"columns {sorted(unknown)} are not in table {table}"
            filled.append({**row, "recorded_at": now})
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(filled, schema=schema), sink)
        self.write_file(f"{table}/sweep={sweep}/{uuid.uuid4().hex}.parquet", sink.getvalue().to_pybytes())

    def read(self, table: Table) -> pd.DataFrame:
        """Return a table over all sweeps, one row per key (the one recorded last), with its `sweep` column."""
        schema = SCHEMAS[table].append(pa.field("sweep", pa.string()))
        base = self.path(table)
        if self.filesystem.get_file_info(base).type == pafs.FileType.NotFound:
            empty: pd.DataFrame = schema.empty_table().to_pandas()
            return empty
        dataset = ds.dataset(
            base,
            filesystem=self.filesystem,
            format="parquet",
            schema=schema,
            partitioning=ds.partitioning(pa.schema({"sweep": pa.string()}), flavor="hive"),
        )
        frame: pd.DataFrame = dataset.to_table().to_pandas()
        newest = frame.sort_values("recorded_at", kind="stable").drop_duplicates(KEYS[table], keep="last")
        return newest.reset_index(drop=True)

    # -- sweeps -----------------------------------------------------------------------------------------------------

    def write_sweep(self, name: str, planned: Mapping[str, Any]) -> None:
        """Record what a sweep plans: its spec and the rows (config columns of `trials`) of its trials."""
        self.write_file(f"sweeps/{name}.json", json.dumps(planned, indent=1, sort_keys=True).encode())

    def read_sweeps(self) -> dict[str, dict[str, Any]]:
        """Return what each sweep planned, by sweep name: ``{"spec": {...}, "trials": [{"key": ..., ...}, ...]}``."""
        files = [name for name in self.list_files("sweeps") if name.endswith(".json")]
        return {Path(name).stem: json.loads(self.read_file(name)) for name in files}


def open_store(uri: str, *, create: bool = False) -> Store:
    """Open a store at a local path or a URI (``file://``, ``s3://``, ``gs://``).

    Args:
        uri: where the store is.
        create: make it when nothing is there; otherwise a missing store is an error.

    Raises:
        UserError: the path is a file, cannot be written, holds no store, or one of a newer schema.
    """
    try:
        if "://" in uri:
            filesystem, root = pafs.FileSystem.from_uri(uri)
        else:
            filesystem, root = pafs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        store = Store(uri, root.rstrip("/"), filesystem)
        kind = filesystem.get_file_info(store.root).type
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"store {uri!r} cannot be opened: {_first_line(error)}") from error
    if kind == pafs.FileType.File:
        raise UserError(f"store {uri!r} is a file; name a directory (--store DIRECTORY)")
    try:
        if store.has_file("store.json"):
            _check_version(store)
        elif create:
            if isinstance(filesystem, pafs.LocalFileSystem) and kind == pafs.FileType.Directory:
                _refuse_foreign(uri, Path(store.root))
            store.write_file("store.json", json.dumps({"schema": SCHEMA_VERSION}).encode())
        else:
            raise UserError(f"there is no store at {uri!r}; `transfergan run` makes one, --store names another")
        if create and isinstance(filesystem, pafs.LocalFileSystem) and not os.access(store.root, os.W_OK):
            raise UserError(f"store {uri!r} is not writable; check its permissions or name another with --store")
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"store {uri!r} cannot be written: {_first_line(error)}") from error
    return store


def store_exists(uri: str) -> bool:
    """Say whether there is a store, so that a question about what is done can answer "nothing" before the first run."""
    try:
        open_store(uri)
    except UserError:
        if "://" not in uri and not Path(uri).expanduser().exists():
            return False
        raise
    return True


def _refuse_foreign(uri: str, root: Path) -> None:
    """Refuse to make a store among files that are not ours (a mistyped --store would litter them)."""
    if any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise UserError(f"store {uri!r} is a directory with other files in it; name an empty or a new one (--store)")


def _check_version(store: Store) -> None:
    try:
        version = json.loads(store.read_file("store.json"))["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"store {store.uri!r} is damaged: its store.json does not name a schema version") from error
    if version != SCHEMA_VERSION:
        raise UserError(
            f"store {store.uri!r} has schema {version}, this transfergan reads schema {SCHEMA_VERSION}; "
            "upgrade transfergan or name another store (--store)"
        )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
