"""Opening a store, and creating a missing one."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from bench.store.content import parse_json
from bench.store.filesystems import PATIENCE, connect, patiently
from bench.store.schema import SCHEMA_VERSION
from bench.store.store import Store
from trainers.common.errors import UserError, first_line


def open_store(uri: str, *, create: bool = False, known: bool = False) -> Store:
    """Open a store at a local path or a URI (``file://``, ``s3://``, ``gs://``); create a missing one if `create`.

    A server that does not answer is an error, for its address may be wrong; if the address is `known` to be right, as to the
    processes of a run, it is waited for. Later requests wait for it in any case.

    Raises:
        UserError: the path is a file, cannot be written, or contains no store or one with another schema version.
    """
    try:
        if "://" in uri:
            filesystem, root = patiently(lambda: connect(uri), uri, PATIENCE if known else 0.0)
        else:
            filesystem, root = pafs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        patient = 0.0 if isinstance(filesystem, pafs.LocalFileSystem) else PATIENCE
        store = Store(uri, root.rstrip("/"), filesystem, patient if known else 0.0)
        kind = patiently(lambda: filesystem.get_file_info(store.root).type, uri, store.patience)
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
    return replace(store, patience=patient)


def store_exists(uri: str) -> bool:
    """Return True for a store, False for a missing local path. Raises UserError as `open_store` for anything else."""
    try:
        open_store(uri)
    except UserError:
        if "://" not in uri and not Path(uri).expanduser().exists():
            return False
        raise
    return True


def _refuse_foreign(uri: str, root: Path) -> None:
    """Refuse to create a store in a directory with other files, such as one named by a mistyped --store."""
    if any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise UserError(f"store {uri!r} is a directory with other files in it; name an empty or a new one (--store)")


def _check_version(store: Store) -> None:
    try:
        version = parse_json(store.read_file("store.json"))["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"store {store.uri!r} is damaged: its store.json does not name a schema version") from error
    if version != SCHEMA_VERSION:
        older = isinstance(version, int) and version < SCHEMA_VERSION
        remedy = "an older one made it, whose results are not read; name" if older else "upgrade transfergan or name"
        raise UserError(
            f"store {store.uri!r} has schema {version}, this transfergan reads schema {SCHEMA_VERSION}; "
            f"{remedy} another store (--store)"
        )
