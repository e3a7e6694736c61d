"""Parts: the Parquet files that tables are made of. A part bears the hash of its bytes as its name, so it checks itself.

Parts of older stores bear a random name; these show no more than whether they are whole Parquet files.
"""

import hashlib
import re

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.common.errors import DamagedError, first_line

#: Bytes of the hash in a part's name.
_DIGEST = 20

_NAME = re.compile(r"(part|merged)-(?P<digest>[0-9a-f]{40})\.parquet")


def pack(rows: pa.Table, *, merged: bool = False) -> tuple[str, bytes]:
    """Return a part's file name and bytes; `merged` marks one that takes the place of others."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    data = sink.getvalue().to_pybytes()
    return f"{'merged' if merged else 'part'}-{_digest(data)}.parquet", data


def is_merged(name: str) -> bool:
    """Say whether a part takes the place of others."""
    return name.startswith("merged-")


def unpack(name: str, data: bytes, schema: pa.Schema) -> pa.Table:
    """Return a part's rows as a table's schema has them; a column that the part was written without is null.

    Args:
        name: the part's file name.
        data: its bytes.
        schema: the table's.

    Raises:
        DamagedError: the bytes are not those that were written, are no Parquet, or hold other types than the schema's.
    """
    named = _NAME.fullmatch(name)
    if named and named["digest"] != _digest(data):
        raise DamagedError(f"its {len(data):,} bytes are not those that its name is the hash of")
    try:
        # No file is read here: whatever goes wrong is wrong with the bytes.
        rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"not a whole Parquet file: {first_line(error)}") from error
    there = set(rows.column_names)
    if "recorded_at" not in there:
        raise DamagedError("not this table's schema: it has no column recorded_at")
    try:
        columns = [
            rows[field.name].cast(field.type) if field.name in there else pa.nulls(len(rows), field.type) for field in schema
        ]
    except pa.ArrowException as error:
        raise DamagedError(f"not this table's schema: {first_line(error)}") from error
    return pa.table(columns, schema=schema)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[: 2 * _DIGEST]
