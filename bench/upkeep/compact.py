"""Compaction: the many small parts of each table and sweep become one.

The merged part is published first, then the parts that it was made of are deleted. So a compaction that is killed, or two at
once, leave rows twice but never none, and rows with equal keys read as one; readers that find a part deleted read the merged
one instead (see `Store.read_parts`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pyarrow as pa

from bench.store import Store, parts
from bench.store.schema import SCHEMAS, Table, newest

#: Temporary files older than this belong to no writer that still lives.
ABANDONED = timedelta(hours=1)


@dataclass(frozen=True)
class Compaction:
    """What became of one table of one sweep: so many parts became one of so many rows."""

    table: Table
    sweep: str
    parts: int
    rows: int


def compact(store: Store) -> list[Compaction]:
    """Merge the parts of each table and sweep, and delete the temporary files that killed writers have left.

    Safe to kill at any moment, and beside writers, readers and other compactions. Of rows with equal keys the one recorded
    last is kept. Damaged parts are set aside.

    Returns:
        what was merged; a table that is one part already is left as it is.
    """
    done = []
    for table in SCHEMAS:
        found = store.read_parts(table)
        for folder, names in groupby(sorted(found), key=lambda name: name.rpartition("/")[0]):
            merging = list(names)
            if len(merging) > 1:
                rows = newest(pa.concat_tables(found[name] for name in merging), table)
                _replace(store, folder, merging, rows)
                done.append(Compaction(table, folder.partition("sweep=")[2], len(merging), len(rows)))
    for name, file in store.files(below=True, hidden=True).items():
        if file.mtime < datetime.now(UTC) - ABANDONED:
            store.delete_file(name)
    return done


def _replace(store: Store, folder: str, merging: list[str], rows: pa.Table) -> None:
    name, data = parts.pack(rows, merged=True)
    merged = f"{folder}/{name}"
    store.write_file(merged, data)
    for former in merging:
        if former != merged:
            store.delete_file(former)
