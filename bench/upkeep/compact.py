"""Compaction: merges the parts of each table and sweep into one.

The merged part is published before the parts that it replaces are deleted. A killed compaction, or two concurrent ones, may
therefore leave rows twice but never lose one, and rows with equal keys read as one. Readers that find a part deleted read the
merged one instead (see `Store.read_parts`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pyarrow as pa

from bench.store import Store, parts
from bench.store.schema import SCHEMAS, Table, newest

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
    last is kept. Damaged parts are set aside. Returns one entry per table and sweep that had more than one part.
    """
    compactions = []
    for table in SCHEMAS:
        rows_by_part = store.read_parts(table)
        for folder, names in groupby(sorted(rows_by_part), key=lambda name: name.rpartition("/")[0]):
            merging = list(names)
            if len(merging) > 1:
                rows = newest(pa.concat_tables(rows_by_part[name] for name in merging), table)
                _replace(store, folder, merging, rows)
                compactions.append(Compaction(table, folder.partition("sweep=")[2], len(merging), len(rows)))
    for name, file in store.files(below=True, temporary=True).items():
        if file.mtime < datetime.now(UTC) - ABANDONED:
            store.delete_file(name)
    return compactions


def _replace(store: Store, folder: str, merging: list[str], rows: pa.Table) -> None:
    name, data = parts.pack(rows, merged=True)
    merged = f"{folder}/{name}"
    store.write_file(merged, data)
    for former in merging:
        if former != merged:
            store.delete_file(former)
