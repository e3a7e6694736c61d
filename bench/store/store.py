"""The store: the only truth about what has been done.

One directory or object-store prefix holding five Parquet tables (Hive-partitioned by sweep) and the files that belong to
their rows (checkpoints, sample grids, the planned trials of each sweep). Three promises:

* A writer never changes a file: each write is a new part, published whole under its final name. Readers never see a torn
  or temporary one.
* Writing the same result twice reads as one row: rows with equal keys collapse to the one recorded last.
* The schema has a version; a store of a newer one is refused with a clear error.

And one precaution: a file that is found damaged is moved to the folder ``damaged`` and told of in one line; then it counts as
missing, and `transfergan run` computes again what was in it.

Needs neither torch nor Ray.
"""

import errno
import json
import logging
import os
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs

from bench.store import parts
from bench.store.filesystems import connect, read, write
from bench.store.schema import SCHEMA_VERSION, SCHEMAS, Table, newest
from trainers.common.errors import DamagedError, UserError, first_line

#: Files that are read at a time; on an object store each takes a round trip.
READERS = 16

_log = logging.getLogger("transfergan")


class StoreUnwritableError(OSError):
    """The store takes nothing more for now: its disk is full, or its server refuses. No fault of what was to be written."""


#: What a disk says that is full, beyond its quota, at its longest file or read-only.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


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
        """Publish a file whole: a reader sees either nothing (or the former file) or all of it.

        Raises:
            StoreUnwritableError: the disk is full, or the server refuses.
        """
        try:
            write(self.filesystem, self.path(name), data)
        except OSError as error:
            if isinstance(self.filesystem, pafs.LocalFileSystem) and error.errno not in _NO_ROOM:
                raise
            why = error.strerror or first_line(error)
            raise StoreUnwritableError(f"store {self.uri!r} takes no more: {why}; run the same command once it does") from error

    def read_file(self, name: str, size: int | None = None) -> bytes:
        """Return a file's bytes, or the first `size` of them. Raises FileNotFoundError."""
        try:
            return read(self.filesystem, self.path(name), size)
        except OSError as error:
            # An object that is deleted after it was opened is another error to pyarrow than one that was not there.
            if not isinstance(error, FileNotFoundError) and not self.has_file(name):
                raise FileNotFoundError(name) from error
            raise

    def list_files(self, folder: str) -> list[str]:
        """Return the names (sorted, paths in the store) of the published files directly in a folder."""
        return list(self.files(folder))

    def files(self, folder: str = "", *, below: bool = False, hidden: bool = False) -> dict[str, pafs.FileInfo]:
        """Return the size and the time of each file in a folder, by name (sorted, paths in the store).

        Args:
            folder: path in the store; the store itself by default.
            below: also look into the folders below it.
            hidden: take the temporary files and not the published ones.
        """
        selector = pafs.FileSelector(self.path(folder).rstrip("/"), allow_not_found=True, recursive=below)
        for attempt in range(10):
            try:
                infos = self.filesystem.get_file_info(selector)
                break
            except FileNotFoundError:  # a folder that is made between Arrow's looking into it and its asking why it cannot
                if attempt == 9:
                    raise
        found = {i.path[len(self.root) + 1 :]: i for i in infos if i.is_file and i.base_name.startswith(".") == hidden}
        return dict(sorted(found.items()))

    def delete_file(self, name: str) -> None:
        """Delete a file that nothing refers to any more; a missing one is no error."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def set_aside(self, name: str, why: str) -> None:
        """Move a file to the folder `damaged`, under a name that nothing there has, and tell of it in one line."""
        aside = f"damaged/{name}.{uuid.uuid4().hex[:8]}"
        try:
            self.filesystem.create_dir(self.path(aside).rpartition("/")[0], recursive=True)
            self.filesystem.move(self.path(name), self.path(aside))
        except FileNotFoundError:  # another process was faster
            return
        except OSError as error:  # a reader who may not write can still go on without the file
            _log.warning("%s is left out, %s; it cannot be set aside: %s", name, why, first_line(error))
            return
        _log.warning("%s is set aside as %s: %s", name, aside, why)

    def has_file(self, name: str) -> bool:
        """Say whether a file has been published."""
        return bool(self.filesystem.get_file_info(self.path(name)).type == pafs.FileType.File)

    # -- tables -----------------------------------------------------------------------------------------------------

    def append(self, table: Table, sweep: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Publish rows as one new part. Missing columns are null, unknown ones an error; `recorded_at` is set here."""
        schema = SCHEMAS[table]
        now = datetime.now(UTC)
        filled = [{**row, "recorded_at": now} for row in rows]
        unknown = {name for row in filled for name in row} - set(schema.names)
        assert not unknown, f"columns {sorted(unknown)} are not in table {table}"
        name, data = parts.pack(pa.Table.from_pylist(filled, schema=schema))
        self.write_file(f"{table}/sweep={sweep}/{name}", data)

    def read(self, table: Table) -> pd.DataFrame:
        """Return a table over all sweeps, one row per key (the one recorded last), with its `sweep` column."""
        schema = SCHEMAS[table].append(pa.field("sweep", pa.string()))
        found = [
            rows.append_column(schema.field("sweep"), pa.repeat(name.split("/")[1].removeprefix("sweep="), len(rows)))
            for name, rows in sorted(self.read_parts(table).items())
        ]
        frame: pd.DataFrame = newest(pa.concat_tables([schema.empty_table(), *found]), table).to_pandas()
        return frame

    def list_parts(self, table: Table) -> list[str]:
        """Return the names (sorted, paths in the store) of a table's parts, of all sweeps."""
        if isinstance(self.filesystem, pafs.LocalFileSystem):
            # By names alone: pyarrow asks for each file's size too, and leaves out those that are deleted in between.
            return sorted(str(path.relative_to(self.root)) for path in Path(self.root).glob(f"{table}/*/[!.]*.parquet"))
        return [name for name in self.files(table, below=True) if name.endswith(".parquet")]

    def read_parts(self, table: Table) -> dict[str, pa.Table]:
        """Return the rows of a table's parts by name: every row once or, beside a compaction, several times.

        Damaged parts are set aside.
        """
        found: dict[str, pa.Table] = {}
        with ThreadPoolExecutor(READERS) as pool:
            listed, again = self.list_parts(table), True
            while again:
                new = [name for name in listed if name not in found]
                read = list(pool.map(lambda name: self._read_part(table, name), new))
                found |= {name: rows for name, rows in zip(new, read, strict=True) if rows is not None}
                # A compaction may have published a merged part and deleted others while the names were listed or read, and
                # what it merged be unread. Nothing is where no part has gone since, and no merged one has come.
                before, listed = set(listed), self.list_parts(table)
                come, gone = set(listed) - before, before - set(listed)
                again = bool(gone) or any(parts.is_merged(Path(name).name) for name in come)
        return found

    def _read_part(self, table: Table, name: str) -> pa.Table | None:
        """Return a part's rows; None where it has been deleted, or is damaged and so set aside."""
        try:
            return parts.unpack(Path(name).name, self.read_file(name), SCHEMAS[table])
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self.set_aside(name, str(error))
            return None

    # -- sweeps -----------------------------------------------------------------------------------------------------

    def write_sweep(self, name: str, planned: Mapping[str, Any]) -> None:
        """Record what a sweep plans: its spec and the rows (config columns of `trials`) of its trials."""
        self.write_file(f"sweeps/{name}.json", json.dumps(planned, indent=1, sort_keys=True).encode())

    def read_sweeps(self) -> dict[str, dict[str, Any]]:
        """Return what each sweep planned, by sweep name: ``{"spec": {...}, "trials": [{"key": ..., ...}, ...]}``."""
        files = [name for name in self.list_files("sweeps") if name.endswith(".json")]
        return {Path(name).stem: self.read_sweep(name) for name in files}

    def read_sweep(self, file: str) -> dict[str, Any]:
        """Return what one sweep planned, by its file. Raises UserError where the file is damaged."""
        try:
            planned: dict[str, Any] = json.loads(self.read_file(file))
            whole = isinstance(planned["spec"], dict) and all(isinstance(row["key"], str) for row in planned["trials"])
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{file} in store {self.uri!r} is damaged; `transfergan run` with its sweep file writes it anew")
        return planned


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
            filesystem, root = connect(uri)
        else:
            filesystem, root = pafs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        store = Store(uri, root.rstrip("/"), filesystem)
        kind = filesystem.get_file_info(store.root).type
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"store {uri!r} cannot be opened: {first_line(error)}") from error
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
        raise UserError(f"store {uri!r} cannot be written: {first_line(error)}") from error
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
