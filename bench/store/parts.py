"""Parts: the Parquet files of the tables. A part's name contains the hash of its bytes, so damage is detected.

Parts of older stores have random names; for these only an incomplete or invalid Parquet file is detected.

A merged part may name others whose rows it has all of, which may be deleted at any time (see `bench.upkeep.small_parts`).
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.common.errors import DamagedError, first_line

#: Bytes of the hash in a part's name.
_DIGEST = 20

#: The entry of a part's metadata with the names of the parts that it replaces, one per line.
_REPLACED = b"transfergan.replaces"

_NAME = re.compile(r"(part|merged)-(?P<digest>[0-9a-f]{40})\.parquet")


def in_folder(folder: str) -> list[str]:
    """Return the names of the parts in a local folder; several times faster than `glob`, for drivers list them often."""
    try:
        return [name for name in os.listdir(folder) if name.endswith(".parquet") and name[0] != "."]  # noqa: PTH208 - see above
    except FileNotFoundError:
        return []


def pack(rows: pa.Table, *, merged: bool = False, replaced: Iterable[str] = ()) -> tuple[str, bytes]:
    """Return a part's file name and bytes; `merged` marks a part that replaces others, which `replaced` names."""
    sink = pa.BufferOutputStream()
    names = "\n".join(replaced).encode()
    pq.write_table(rows.replace_schema_metadata({_REPLACED: names} if names else None), sink)
    data = sink.getvalue().to_pybytes()
    return f"{'merged' if merged else 'part'}-{_digest(data)}.parquet", data


def is_merged(name: str) -> bool:
    """Return whether a part, given by its file name, replaces others."""
    return name.startswith("merged-")


def is_hashed(name: str) -> bool:
    """Return whether a part's file name contains the hash of its bytes, so that no other rows come to have its name."""
    return _NAME.fullmatch(name) is not None


def replaced(data: bytes) -> set[str]:
    """Return the file names of the parts, in the same folder, that an undamaged part replaces."""
    names = (pq.read_schema(pa.BufferReader(data)).metadata or {}).get(_REPLACED, b"").decode(errors="replace")
    return set(filter(is_hashed, names.splitlines()))


def unpack(name: str, data: bytes, schema: pa.Schema) -> pa.Table:
    """Return a part's rows in a table's schema, or one with fewer columns; columns that the part lacks are null.

    Raises:
        DamagedError: the bytes have changed since they were written, are not Parquet, or have types that do not fit the schema.
    """
    match = _NAME.fullmatch(name)
    if match and match["digest"] != _digest(data):
        raise DamagedError(f"the hash of its {len(data):,} bytes is not the one in its name")
    try:
        # The bytes are in memory, so every error here is due to their contents.
        file = pq.ParquetFile(pa.BufferReader(data))
        twice = [column for column, count in Counter(file.schema_arrow.names).items() if count > 1]
        if twice:
            raise DamagedError(f"does not have this table's schema: column {twice[0]} occurs twice")
        rows = file.read(schema.names, use_threads=False)
        rows.validate(full=True)  # texts that are not UTF-8 would fail where they are read
    except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError if the name of a column is not UTF-8
        raise DamagedError(f"not a complete Parquet file: {first_line(error)}") from error
    names = set(rows.column_names)
    if "recorded_at" not in names:
        raise DamagedError("does not have this table's schema: it has no column recorded_at")
    try:
        columns = [
            rows[field.name].cast(field.type) if field.name in names else pa.nulls(len(rows), field.type) for field in schema
        ]
    except pa.ArrowException as error:
        raise DamagedError(f"does not have this table's schema: {first_line(error)}") from error
    whole = pa.table(columns, schema=schema)
    if "recorded_at" in schema.names and whole["recorded_at"].null_count:  # of another program; such rows count as the oldest
        position = schema.get_field_index("recorded_at")
        dated = whole["recorded_at"].fill_null(pa.scalar(0, schema.field(position).type))
        whole = whole.set_column(position, schema.field(position), dated)
    return whole


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[: 2 * _DIGEST]
