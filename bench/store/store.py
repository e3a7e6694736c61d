"""The store: the only record of what a benchmark has done.

One directory or object-store prefix with five Parquet tables (Hive-partitioned by sweep) and the files that their rows name
(checkpoints, sample grids, the planned trials of each sweep). It guarantees:

* A writer never changes a file: each write publishes a new part, whole, under its final name. Readers never see a partial or
  temporary file.
* A result that is written twice reads as one row: of rows with equal keys the one recorded last is kept.
* The schema has a version; a store with another version is refused with a clear error.
* A name that leads out of the store, by its text or by a link, is refused: a store may come from elsewhere.
* A damaged file is moved to the folder ``damaged`` with a one-line warning. It then counts as missing, and `transfergan run`
  computes its contents again.

Needs neither torch nor Ray.
"""

import errno
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from bench.store import columns, content, parts
from bench.store.filesystems import Held, T, is_outside, links_out, list_files, patiently, read, write
from bench.store.schema import SCHEMAS, Table, newest, small
from trainers.common.errors import DamagedError, UserError, first_line
from trainers.common.files import is_temporary

if TYPE_CHECKING:
    import pandas as pd

#: Files read concurrently; on an object store each read is a round trip.
READERS = 16

#: The folder of the former plans.
FORMER = "sweeps/former"

_log = logging.getLogger("transfergan")


class StoreUnwritableError(OSError):
    """The store accepts no data at present: its disk is full, or its server refuses. The data is not at fault."""


class OutsideError(FileNotFoundError):
    """A name in a store leads out of it: it is absolute, has ``..`` or NUL, or passes through a link to elsewhere."""


#: Errors of a disk that is full, over its quota, at its maximal file size or read-only.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@dataclass(frozen=True)
class Store:
    """A handle on a store, made by :func:`bench.store.open_store`. Can be shared between processes and pickled.

    Attributes:
        uri: as it was named.
        root: its path on the filesystem.
        filesystem: local or of an object store.
        patience: seconds for which requests are repeated while the server does not answer; see `filesystems.patiently`.
    """

    uri: str
    root: str
    filesystem: pafs.FileSystem
    patience: float = 0.0

    @property
    def address(self) -> str:
        """The URI or absolute path by which processes in other working directories open this store."""
        return self.uri if "://" in self.uri else self.root

    def path(self, name: str) -> str:
        """Return the path on the store's filesystem of a file, given its path in the store. Raises OutsideError."""
        if is_outside(self.filesystem, self.root, name):
            raise OutsideError(f"{name!r} in store {self.uri!r} leads out of the store and is not used; copy the file into it")
        return f"{self.root}/{name}"

    # -- files ------------------------------------------------------------------------------------------------------

    def write_file(self, name: str, data: bytes, held: Held | None = None) -> None:
        """Publish a file whole: a reader sees either the previous state or the complete file. Raises StoreUnwritableError.

        `held` raises an error if the caller may publish no more (see `filesystems.write`); it is called at each attempt.
        """
        path = self.path(name)
        try:
            self._ask(lambda: write(self.filesystem, path, data, self.uri, held))
        except OSError as error:
            if isinstance(self.filesystem, pafs.LocalFileSystem) and error.errno not in _NO_ROOM:
                raise
            why = error.strerror or first_line(error)
            message = f"store {self.uri!r} accepts no more data: {why}; run the same command again once it does"
            raise StoreUnwritableError(message) from error

    def read_file(self, name: str, size: int | None = None) -> bytes:
        """Return a file's bytes, or the first `size` of them. Raises FileNotFoundError."""
        try:
            return self._ask(lambda: read(self.filesystem, self.path(name), size))
        except OutsideError as error:
            _warn_once(str(error))
            raise
        except OSError as error:
            # For an object that is deleted between opening and reading, pyarrow raises another error than FileNotFoundError.
            if not isinstance(error, FileNotFoundError) and not self.has_file(name):
                raise FileNotFoundError(name) from error
            raise

    def list_files(self, folder: str) -> list[str]:
        """Return the published files directly in a folder (sorted paths in the store)."""
        return list(self.files(folder))

    def files(self, folder: str = "", *, below: bool = False, temporary: bool = False) -> dict[str, pafs.FileInfo]:
        """Return the size and modification time of each file in a folder (by default the store), by sorted path in the store.

        With `below`, the folders below it are included. With `temporary`, files that writers have not published are returned
        instead. Other hidden files, and those outside the store that links lead to, are not part of the store.
        """
        infos = self._ask(lambda: list_files(self.filesystem, self.root, folder, below=below))
        wanted = [info for info in infos if (is_temporary(info.base_name) if temporary else not info.base_name.startswith("."))]
        return {info.path[len(self.root) + 1 :]: info for info in sorted(wanted, key=lambda info: info.path)}

    def links_out(self) -> list[str]:
        """Return the links in the store that lead out of it or to nothing (sorted paths in the store); they are not used."""
        return links_out(self.filesystem, self.root)

    def delete_file(self, name: str) -> None:
        """Delete a file that nothing refers to; a missing file is no error."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self.filesystem.delete_file(self.path(name)))

    def set_aside(self, name: str, why: str) -> None:
        """Move a file to the folder `damaged` under a unique name, and log one line with the reason."""
        aside = f"damaged/{name}.{uuid.uuid4().hex[:8]}"
        try:
            self.filesystem.create_dir(self.path(aside).rpartition("/")[0], recursive=True)
            self._ask(lambda: self.filesystem.move(self.path(name), self.path(aside)))
        except FileNotFoundError:  # another process has moved it
            return
        except OSError as error:  # a reader without write permission goes on without the file
            _log.warning("%s is ignored, %s; it cannot be moved to damaged/: %s", name, why, first_line(error))
            return
        _log.warning("%s is moved to %s: %s", name, aside, why)

    def has_file(self, name: str) -> bool:
        """Return whether a file has been published; none has a name that leads out of the store."""
        if is_outside(self.filesystem, self.root, name):
            return False
        return bool(self._ask(lambda: self.filesystem.get_file_info(f"{self.root}/{name}")).type == pafs.FileType.File)

    def _ask(self, request: Callable[[], T]) -> T:
        return patiently(request, self.uri, self.patience)

    # -- tables -----------------------------------------------------------------------------------------------------

    def append(self, table: Table, sweep: str, rows: Iterable[Mapping[str, Any]], held: Held | None = None) -> None:
        """Publish rows as one new part. Missing columns become null, unknown ones are an error; `recorded_at` is set here.

        `held` is that of `write_file`. The rows have the time before it is called, so those of a later holder are newer.
        """
        schema = SCHEMAS[table]
        now = datetime.now(UTC)
        dated = [{**row, "recorded_at": now} for row in rows]
        unknown = {name for row in dated for name in row} - set(schema.names)
        assert not unknown, f"columns {sorted(unknown)} are not in table {table}"
        self.append_part(table, sweep, pa.Table.from_pylist(dated, schema=schema), held)

    def append_part(self, table: Table, sweep: str, rows: pa.Table, held: Held | None = None) -> None:
        """Publish rows that have the table's schema as one new part, with the `recorded_at` that they have."""
        name, data = parts.pack(rows)
        self.write_file(f"{table}/sweep={sweep}/{name}", data, held)

    def read(self, table: Table, *, large: bool = False) -> "pd.DataFrame":
        """Return a table over all sweeps, one row per key (the one recorded last), with its `sweep` column.

        Without `large` the columns in `schema.LARGE` are left out. Imports pandas, which takes longer than to read a small
        store; `rows` does not.
        """
        rows = self.read_rows(table, schema=SCHEMAS[table]) if large else self.rows(table)
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    def rows(self, table: Table) -> pa.Table:
        """Return the same as `read` in Arrow's form."""
        return self.read_rows(table, schema=small(table))

    def read_rows(
        self, table: Table, on_damage: Callable[[str, str], None] | None = None, schema: pa.Schema | None = None
    ) -> pa.Table:
        """Return the same as `read` in Arrow's form, with the columns of `schema` or all; for `on_damage` see `read_parts`."""
        read = schema or SCHEMAS[table]
        schema = read.append(pa.field("sweep", pa.string()))
        with_sweep = [
            rows.append_column(schema.field("sweep"), columns.repeated(name.split("/")[1].removeprefix("sweep="), len(rows)))
            for name, rows in sorted(self.read_parts(table, on_damage, read).items(), key=_began)
        ]
        rows = pa.concat_tables([columns.empty(schema), *with_sweep])
        kept = columns.kept(rows, content.usable(rows, table))
        if lacking := len(rows) - len(kept):
            _warn_once(f"table {table} of store {self.uri!r}: {content.left_out(lacking, table)}, and are not used")
        return newest(kept, table)

    def list_parts(self, table: Table) -> list[str]:
        """Return the parts of a table, of all sweeps (sorted paths in the store)."""
        return sorted(self.present_parts(table))

    def present_parts(self, table: Table) -> set[str]:
        """Return the same as `list_parts` as a set: a driver asks for it at each start of a trial."""
        if isinstance(self.filesystem, pafs.LocalFileSystem):
            # By name alone: pyarrow also asks for each file's size, and omits files that are deleted meanwhile.
            folders = [f"{table}/{path.name}" for path in Path(self.root).glob(f"{table}/*") if path.is_dir()]
            return {f"{folder}/{name}" for folder in folders for name in parts.in_folder(self.path(folder))}
        return {name for name in self.files(table, below=True) if name.endswith(".parquet")}

    def read_parts(
        self, table: Table, on_damage: Callable[[str, str], None] | None = None, schema: pa.Schema | None = None
    ) -> dict[str, pa.Table]:
        """Return the rows of a table's parts by name: every row once or, during a compaction, several times.

        Parts that others replace (see `parts.replaced`) are left out. `on_damage` is called with the name of each damaged part
        and the reason; by default such parts are set aside. `schema` has the columns to read, by default all of the table.
        """
        rows: dict[str, pa.Table] = {}
        damaged: dict[str, str] = {}
        replaced: set[str] = set()

        def read_part(name: str) -> None:
            folder, _, file = name.rpartition("/")
            with suppress(FileNotFoundError):  # deleted since it was listed
                try:
                    data = self.read_file(name)
                    rows[name] = parts.unpack(file, data, schema or SCHEMAS[table])
                    if parts.is_merged(file):
                        replaced.update(f"{folder}/{former}" for former in parts.replaced(data))
                except DamagedError as error:
                    damaged[name] = str(error)

        with ThreadPoolExecutor(READERS) as pool:
            listed, again = self.list_parts(table), True
            while again:
                for merged in (True, False):  # these first: the parts that they replace need not be read
                    named = [name for name in listed if parts.is_merged(Path(name).name) is merged]
                    known = rows.keys() | damaged.keys() | replaced
                    list(pool.map(read_part, [name for name in named if name not in known]))
                # A compaction may have published a merged part and deleted others while the parts were listed or read. Their
                # rows may then be unread. If no part has gone and no merged one has come since, all rows have been read.
                before, listed = set(listed), self.list_parts(table)
                come, gone = set(listed) - before, before - set(listed)
                again = bool(gone) or any(parts.is_merged(Path(name).name) for name in come)
        for name, why in damaged.items():
            (on_damage or self.set_aside)(name, why)
        return rows

    # -- sweeps -----------------------------------------------------------------------------------------------------

    def write_sweep(self, name: str, planned: Mapping[str, Any]) -> None:
        """Record a sweep's plan: its spec, and for each trial the columns of `trials` that its configuration decides.

        A plan that it replaces is kept among the former ones (see `bench.store.plans`), unless it is damaged or the new plan
        contains all that it says. The copy is written first, so that a kill loses neither.
        """
        data = json.dumps(planned, indent=1, sort_keys=True).encode()
        with suppress(FileNotFoundError, ValueError):
            former = self.read_file(plan_path(name))
            new = json.loads(data)
            if any(key not in new or new[key] != value for key, value in content.parse_plan(former).items()):
                self.keep_plan(name, former)
        self.write_file(plan_path(name), data)

    def keep_plan(self, name: str, data: bytes) -> bool:
        """Add a plan, given as its file's bytes, to the former ones of a sweep; return False if it was among them already."""
        digest = hashlib.sha256(data).hexdigest()[:12]
        if any(file.endswith(f"-{digest}.json") for file in self.list_files(f"{FORMER}/{name}")):
            return False
        self.write_file(f"{FORMER}/{name}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{digest}.json", data)
        return True

    def read_sweeps(self) -> dict[str, dict[str, Any]]:
        """Return the newest plan of each sweep by name: ``{"spec": {...}, "trials": [{"key": ..., ...}, ...]}``.

        Damaged plans are left out, with one line each; `transfergan run` with the sweep file writes the plan again.
        """
        latest: dict[str, dict[str, Any]] = {}
        for name in self.list_files("sweeps"):
            try:
                if name.endswith(".json"):
                    latest[Path(name).stem] = self.read_sweep(name)
            except UserError as error:
                _warn_once(f"{error}; without it, the sweep's trials that have not run are not shown")
        return latest

    def read_sweep(self, file: str) -> dict[str, Any]:
        """Return the plan in a sweep's file. Raises UserError if the file is damaged."""
        try:
            return content.parse_plan(self.read_file(file))
        except ValueError as error:
            current = file == plan_path(Path(file).stem)
            remedy = (
                "`transfergan run` with its sweep file rewrites it" if current else "a newer plan has replaced it; delete it"
            )
            why = content.why_not_plan(error)
            raise UserError(f"{file} in store {self.uri!r} is damaged ({why}); {remedy}") from error


def plan_path(name: str) -> str:
    """Return the path in the store of a sweep's newest plan."""
    return f"sweeps/{name}.json"


def _began(part: tuple[str, pa.Table]) -> tuple[int, str]:
    """Return when the first row of a part was recorded, and its name: merged parts in this order need not be sorted by time."""
    name, rows = part
    return next(iter(rows["recorded_at"].slice(0, 1).cast(pa.int64()).to_pylist()), 0), name


@cache
def _warn_once(line: str) -> None:
    """Log a warning the first time only: a page of the report may name one file many times."""
    _log.warning(line)
