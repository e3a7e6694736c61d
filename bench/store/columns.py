"""Rows of Arrow tables by conditions on their columns, without pandas.

pyarrow imports pandas as soon as it converts a value from Python or NumPy (`pa.array`, `pa.scalar`, a comparison with a
constant), which takes longer than a verb on a small store should. Nothing here makes it convert one.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Indices = np.ndarray[Any, np.dtype[np.int64]]


def where(column: pa.ChunkedArray, test: Callable[[Any], bool]) -> Mask:
    """Return for which rows `test` holds, bool (N,); it is called once for each distinct value, null being None."""
    codes, values = coded(column)
    mask: Mask = np.array([bool(test(value)) for value in values], bool)[codes]
    return mask


def coded(column: pa.ChunkedArray) -> tuple[Indices, list[Any]]:
    """Return for each row the index of its value, int64 (N,), and the distinct values, null being None."""
    if not len(column):
        return np.empty(0, np.int64), []
    encoded = column.combine_chunks().dictionary_encode("encode")
    return _codes(encoded), encoded.dictionary.to_pylist()


def numbered(codes: Indices) -> Indices:
    """Return numbers from 0 without gaps, in the order of first occurrence, that are equal where `codes` are."""
    return _codes(_int64(codes).dictionary_encode())


def numbers(column: pa.ChunkedArray) -> Indices:
    """Return a column of whole numbers, int64 (N,), with 0 for null."""
    if column.null_count:
        return np.array([number or 0 for number in column.to_pylist()], np.int64)
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def times(column: pa.ChunkedArray) -> list[datetime]:
    """Return a column of times in microseconds, 1970 for null; `to_pylist` imports pandas for them."""
    return [_EPOCH + timedelta(microseconds=number) for number in numbers(column.cast(pa.int64())).tolist()]


def present(column: pa.ChunkedArray) -> Mask:
    """Return which rows are not null, bool (N,)."""
    return np.array(column.is_valid().to_pylist(), bool) if column.null_count else np.ones(len(column), bool)


def kept(rows: pa.Table, mask: Mask) -> pa.Table:
    """Return the rows for which `mask`, bool (N,), holds."""
    if mask.all():
        return rows
    bits = pa.py_buffer(np.packbits(mask, bitorder="little"))
    return rows.filter(pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits]))


def taken(rows: pa.Table, indices: Indices) -> pa.Table:
    """Return the rows with these indices, int64 (M,), in their order."""
    return rows.take(_int64(indices))


def empty(schema: pa.Schema) -> pa.Table:
    """Return a table without rows."""
    return pa.Table.from_batches([], schema)


def repeated(text: str, count: int) -> pa.Array:
    """Return a column of `count` equal texts."""
    data = text.encode()
    offsets = np.arange(count + 1, dtype=np.int64) * len(data)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data * count)]
    return pa.Array.from_buffers(pa.large_string(), count, buffers).cast(pa.string())


def _codes(encoded: pa.DictionaryArray) -> Indices:
    return np.from_dlpack(encoded.indices).astype(np.int64)


def _int64(numbers: Indices) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers, np.int64))])
