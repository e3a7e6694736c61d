"""Small parts: merges those of a sweep while it runs, so that its tables are read fast before they are compacted.

Every rung is a part of its own, and to open a part takes longer than to read its rows. A merged part has all rows of those that
it replaces, and names them. These live on for `GRACE`, because programs that have listed them may be about to read them. Then
whoever looks next deletes them. So each row is in a part at every moment, whoever is killed. Transfergan reads no replaced
part; another program sees their rows twice meanwhile, with equal `recorded_at`.

Drivers of one sweep may merge the same parts at the same time. Copies of a row are dropped when these are merged in turn. Rows
that only have equal keys are not, unlike in a compaction, because `transfergan store check` compares them.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bench.store import Store, parts
from bench.store.schema import SCHEMAS, Table, without_copies
from trainers.common.errors import DamagedError

#: Parts are merged from this number on: those of writers, and merged ones.
MANY, MANY_MERGED = 64, 16

#: Parts that are merged at once, so that it takes little memory.
MOST = 1000

#: Bytes from which on a merged part is merged no more, so that each row is only written a few times.
LARGE = 4 * 2**20

#: How long parts live on after the publication of the one that replaces them, by the clocks of the store and of this machine.
GRACE = timedelta(seconds=30)

#: Seconds between two looks.
PAUSE = 5.0


@contextmanager
def merging(store: Store, sweep: str) -> Iterator[None]:
    """Merge the small parts of a sweep in the background during the block."""
    ended = threading.Event()
    tables = [SmallParts(store, table, sweep) for table in SCHEMAS]

    def look() -> None:
        while not ended.wait(PAUSE):
            for table in tables:
                with suppress(OSError):  # a store that takes no writes, or does not answer: a write of results reports it
                    table.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class SmallParts:
    """The small parts of a table of a sweep."""

    def __init__(self, store: Store, table: Table, sweep: str) -> None:
        self._store, self._table, self._folder = store, table, f"{table}/sweep={sweep}"
        self._replaced: dict[str, set[str]] = {}  # by merged part, which parts it replaces that are still there

    def look(self) -> None:
        """Merge the small parts if they are many, and delete those that have been replaced for long enough."""
        listed = self.delete_replaced(GRACE)
        replaced = set[str]().union(*self._replaced.values())
        small = [name for name, info in listed.items() if info.size < LARGE and name not in replaced]
        self._merge([name for name in small if not parts.is_merged(name)], MANY)
        # A merged part does not name what the parts that it replaces have replaced: that must be gone before.
        self._merge([name for name in small if self._replaced.get(name) == set()], MANY_MERGED)

    def delete_replaced(self, grace: timedelta | None) -> Mapping[str, pafs.FileInfo]:
        """Delete the parts that others have replaced for longer than `grace`, all if it is None; return those that are left."""
        files = self._store.files(self._folder)
        listed = {Path(name).name: info for name, info in files.items() if parts.is_hashed(Path(name).name)}
        self._replaced = {name: formers & listed.keys() for name, formers in self._replaced.items() if name in listed}
        for name in filter(parts.is_merged, listed):
            if name not in self._replaced and (read := self._read(name)) is not None:
                self._replaced[name] = parts.replaced(read[0]) & listed.keys()
        deleted = set()
        for name, formers in self._replaced.items():
            if grace is None or datetime.now(UTC) - listed[name].mtime > grace:
                for former in formers:
                    self._store.delete_file(f"{self._folder}/{former}")
                deleted |= formers
        self._replaced = {name: formers - deleted for name, formers in self._replaced.items() if name not in deleted}
        return {name: info for name, info in listed.items() if name not in deleted}

    def _merge(self, names: list[str], many: int) -> None:
        """Publish a part with all rows of the named parts, unless they are fewer than `many`."""
        merging = {}
        for name in names[:MOST] if len(names) >= many else ():
            if (read := self._read(name)) is not None:
                data, rows = read
                columns = pq.read_schema(pa.BufferReader(data)).names
                if set(columns) <= set(SCHEMAS[self._table].names):  # else it has columns of a newer version
                    merging[name] = rows
        # If one has gone meanwhile, another driver has merged it, or it was rewritten without a trial that is removed.
        if len(merging) > 1 and self._store.files(self._folder).keys() >= {f"{self._folder}/{name}" for name in merging}:
            rows = without_copies(pa.concat_tables(merging.values()), self._table)
            name, data = parts.pack(rows, merged=True, replaced=merging)
            self._store.write_file(f"{self._folder}/{name}", data)

    def _read(self, name: str) -> tuple[bytes, pa.Table] | None:
        """Return the bytes of a part and its rows; None if it has gone or is damaged, which a reader will say."""
        with suppress(FileNotFoundError, DamagedError):
            data = self._store.read_file(f"{self._folder}/{name}")
            return data, parts.unpack(name, data, SCHEMAS[self._table])
        return None
