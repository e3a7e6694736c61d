"""Compaction: merges the parts of each table and sweep into one.

The merged part is published before the parts that it replaces are deleted. A killed compaction, or two concurrent ones, may
therefore leave rows twice but never lose one, and rows with equal keys read as one. Readers that find a part deleted read the
merged one instead (see `Store.read_parts`).
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from bench.store import Store, parts
from bench.store.schema import SCHEMAS, Table, newest
from bench.upkeep.small_parts import SmallParts

_log = logging.getLogger("transfergan")

#: A temporary file older than this belongs to no running writer.
ABANDONED = timedelta(hours=1)


@dataclass(frozen=True)
class Compaction:
    """The compaction of one table of one sweep: `parts` parts were merged into one of `rows` rows."""

    table: Table
    sweep: str
    parts: int
    rows: int


def compact(store: Store) -> list[Compaction]:
    """Merge the parts of each table and sweep, and delete the temporary files of killed writers.

    May be killed at any time, and may run during writes, reads and other compactions. Of rows with equal keys the one recorded
    last is kept. Damaged parts are set aside; parts with columns of a newer version are left as they are. Returns one entry per
    table and sweep that had more than one part.
    """
    compactions = []
    for table in SCHEMAS:
        for sweep in {name.split("/")[1].removeprefix("sweep=") for name in store.list_parts(table)}:
            SmallParts(store, table, sweep).delete_replaced(None)
        rows_by_part = store.read_parts(table)
        for folder, names in groupby(sorted(rows_by_part), key=lambda name: name.rpartition("/")[0]):
            merging = [name for name in names if not _has_other_columns(store, name, table)]
            if len(merging) > 1:
                rows = newest(pa.concat_tables(rows_by_part[name] for name in merging), table)
                _replace(store, folder, merging, rows)
                compactions.append(Compaction(table, folder.partition("sweep=")[2], len(merging), len(rows)))
    for name, file in store.files(below=True, temporary=True).items():
        if file.mtime < datetime.now(UTC) - ABANDONED:
            store.delete_file(name)
    return compactions


def _has_other_columns(store: Store, name: str, table: Table) -> bool:
    """Return whether a part has columns that this version does not know, and would lose; a line says so."""
    try:
        columns = pq.read_schema(pa.BufferReader(store.read_file(name))).names
    except FileNotFoundError:  # another compaction has merged it
        return False
    if unknown := [column for column in columns if column not in SCHEMAS[table].names]:
        _log.warning("%s is left as it is: this version does not know its columns %s", name, ", ".join(unknown))
    return bool(unknown)


def _replace(store: Store, folder: str, merging: list[str], rows: pa.Table) -> None:
    name, data = parts.pack(rows, merged=True)
    merged = f"{folder}/{name}"
    store.write_file(merged, data)
    for former in merging:
        if former != merged:
            store.delete_file(former)
