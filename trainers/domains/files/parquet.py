"""Images stored as bytes in a column of Parquet files, as in data sets of the Hugging Face hub; named ``parquet:PATH``."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.common.errors import UserError
from trainers.domains.base import Split
from trainers.domains.files.archive import listing_of, matching
from trainers.domains.files.collection import Arrangement, Collection, by_split, readable_items
from trainers.domains.files.split_names import REFERENCE_EVERY, SPLIT_NAMES, divide, reference_every


class Parquet(Collection):
    """The images in Parquet files; the path may contain ``*``, or be a folder of such files.

    The images are in the column ``image``, or else in the only column of bytes (or of a struct with a field ``bytes``). The
    labels are in the column ``label``, or else in the only column that the hub's metadata declares as a class label.
    ``parquet:PATH#image=img,label=fine_label`` names other columns. The split of a file is the first part of its name, as in
    ``train-00000-of-00002.parquet``.
    """

    def __init__(self, name: str, path: Path, columns: dict[str, str]) -> None:
        """List the files at an absolute path.

        Raises:
            UserError: there is no file, or a file is damaged, lacks a column, or has labels that its metadata does not declare.
        """
        self.name = name
        self.about = f"images in {path}"
        self._files = matching(name, path / "*.parquet" if path.is_dir() else path)
        footers = [_footer(name, file) for file in self._files]
        self._column = _image_column(name, footers[0].schema.to_arrow_schema(), columns.get("image"))
        labels = _Labels.of(name, footers[0].schema.to_arrow_schema(), columns.get("label"))
        self._classes: list[str] = []
        self._rows: list[tuple[str, int]] = []  # file name and row number of each item
        groups: list[tuple[Path, int]] = []
        starts = [0]
        for file, footer in zip(self._files, footers, strict=True):
            schema = footer.schema.to_arrow_schema()
            for column in (self._column.partition(".")[0], *([labels.column] if labels.column else ())):
                if column not in schema.names:
                    raise UserError(f"domain {name!r}: {file.name} has no column {column!r}; it has {_listed(schema)}")
            for group in range(footer.num_row_groups):
                groups.append((file, group))
                starts.append(starts[-1] + footer.row_group(group).num_rows)
            self._rows += [(file.name, row) for row in range(footer.num_rows)]
            self._classes += labels.read(name, file) if labels.column else [""] * footer.num_rows
        self._records = Rows(tuple(groups), tuple(starts), self._column)
        self.listing = hashlib.sha256(f"{self._column}\0{labels.column}\0{listing_of(self._files)}".encode()).hexdigest()

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # computed on demand
        """Names of the rows whose image could not be read."""
        return tuple(self._row_name(i) for i in self._index.unreadable)

    def records(self) -> "Rows":
        """Return all rows."""
        return self._records

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the images' contents in order, their labels and the splits of their files.

        Version 2 marks small collections without splits, see `content_fingerprint`.
        """
        readable = [i for i, content in enumerate(hashes) if content]
        divided = self._splits(readable) is None and reference_every(len(readable)) != REFERENCE_EVERY
        digest = hashlib.sha256()
        for (file, _), label, content in zip(self._rows, self._classes, hashes, strict=True):
            if content:
                digest.update(f"{_split_of(file)}\0{label}\0{content}\n".encode())
        return f"parquet/{2 if divided else 1}:{digest.hexdigest()[:32]}"

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits named by the files, or else those of `divide`; see `Collection.arrange`."""
        names = [self._row_name(i) for i in range(len(self._rows))]
        readable = readable_items(self.name, names, unreadable)
        classes = [self._classes[i] for i in readable]
        splits = self._splits(readable) or divide([names[i] for i in readable], classes)
        return by_split(self.name, readable, splits, classes)

    def _splits(self, readable: Sequence[int]) -> list[Split] | None:
        """Return the splits that the files name, or None if a file names none or all name the same."""
        splits = [split for i in readable if (split := _split_of(self._rows[i][0])) is not None]
        return splits if len(splits) == len(readable) and len(set(splits)) > 1 else None

    def _row_name(self, i: int) -> str:
        file, row = self._rows[i]
        return f"{file} row {row}"


@dataclass(frozen=True)
class Rows:
    """The rows of a column over the row groups of several files. Rows read in order read each group once."""

    groups: tuple[tuple[Path, int], ...]
    """File, and number in the file, of each row group."""
    starts: tuple[int, ...]
    """The first row of each group, followed by the total number of rows."""
    column: str

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, i: int) -> bytes:
        """Return the bytes of row i. Raises OSError if it has none, or its row group is damaged."""
        k = bisect_right(self.starts, i) - 1
        value = _group(*self.groups[k], self.column)[i - self.starts[k]].as_py()
        if not isinstance(value, bytes):
            raise OSError("the row has no bytes")
        return value


@lru_cache(maxsize=2)
def _group(file: Path, group: int, column: str) -> pa.ChunkedArray:
    values = pq.ParquetFile(file).read_row_group(group, columns=[column]).column(0)
    for part in column.split(".")[1:]:
        values = pa.chunked_array([chunk.field(part) for chunk in values.chunks])
    return values


@dataclass(frozen=True)
class _Labels:
    """The column of labels ("" for none), and the class names of its numbers if the metadata declares them."""

    column: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str, schema: pa.Schema, chosen: str | None) -> "_Labels":
        declared = _class_labels(schema)
        if chosen is not None and chosen not in schema.names:
            raise UserError(f"domain {name!r} has no column {chosen!r}; it has {_listed(schema)}")
        column = chosen or ("label" if "label" in schema.names else next(iter(declared)) if len(declared) == 1 else "")
        return cls(column, declared.get(column, ()))

    def read(self, name: str, file: Path) -> list[str]:
        """Return the class of each row of a file."""
        values = pq.ParquetFile(file).read(columns=[self.column]).column(0).to_pylist()
        if self.names:
            wrong = [row for row, value in enumerate(values) if value is None or not 0 <= value < len(self.names)]
            classes = [] if wrong else [self.names[value] for value in values]
        else:
            wrong = [row for row, value in enumerate(values) if value is None or not isinstance(value, int | str)]
            # Padded with zeros, so that numbers sort as numbers.
            classes = [] if wrong else [f"{value:06}" if isinstance(value, int) else value for value in values]
        if wrong:
            expected = f"one of its {len(self.names)} declared classes" if self.names else "a number or a string"
            raise UserError(
                f"domain {name!r}: {len(wrong)} labels of {file.name} are not {expected} (first in row {wrong[0]}, column "
                f"{self.column!r}); correct them, or name another column: parquet:PATH#label=COLUMN"
            )
        return classes


def _class_labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names of each column that the hub's metadata declares as a class label."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: tuple(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _image_column(name: str, schema: pa.Schema, chosen: str | None) -> str:
    """Return the column of the images' bytes; for bytes in a struct a path such as ``image.bytes``."""
    paths = {field.name: path for field in schema if (path := _bytes_in(field))}
    if chosen is None and "image" in paths:
        return paths["image"]
    if chosen is None and len(paths) == 1:
        return next(iter(paths.values()))
    if chosen in paths:
        return paths[chosen]
    fault = f"has no column {chosen!r} of image bytes" if chosen else f"has {len(paths) or 'no'} columns of image bytes"
    raise UserError(f"domain {name!r} {fault}; it has {_listed(schema)}; name one: parquet:PATH#image=COLUMN")


def _bytes_in(field: Any) -> str:
    if pa.types.is_struct(field.type):
        index = field.type.get_field_index("bytes")
        return f"{field.name}.bytes" if index >= 0 and _is_bytes(field.type.field(index).type) else ""
    return field.name if _is_bytes(field.type) else ""


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _listed(schema: pa.Schema) -> str:
    return ", ".join(schema.names) or "no columns"


def _footer(name: str, file: Path) -> Any:
    try:
        return pq.ParquetFile(file).metadata
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"domain {name!r}: {file.name} is not a complete Parquet file ({reason}); copy it again") from error


def _split_of(file: str) -> Split | None:
    """Return the split at the beginning of a file's name, as in train-00000-of-00002.parquet; None without one."""
    return SPLIT_NAMES.get(file.removesuffix(".parquet").partition("-")[0].lower())
