"""Images stored as bytes in a column of Parquet files, as in data sets of the Hugging Face hub; named ``parquet:PATH``."""

import hashlib
import json
import os
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.common.errors import UserError
from trainers.domains.base import SPLITS, Skipped, Split
from trainers.domains.files.archive import listing_of, matching
from trainers.domains.files.collection import Arrangement, Collection, by_split, readable_items
from trainers.domains.files.split_names import REFERENCE_EVERY, SPLIT_NAMES, divide, reference_every

_OUTSIDE = "its file names no split, and others do"


class Parquet(Collection):
    """The images in Parquet files; the path may contain ``*``, or be a folder of such files, or of folders with them.

    The images are in the column ``image``, or else in the only column of bytes (or of a struct with a field ``bytes``). The
    labels are in the column ``label``, or else in the only column that the hub's metadata declares as a class label.
    ``parquet:PATH#image=img,label=fine_label`` names other columns, ``label=`` none. The split of a file begins its name, as in
    ``train-00000-of-00002.parquet``, or is the name of its folder, as in ``train/0000.parquet``.
    """

    def __init__(self, name: str, path: Path, columns: dict[str, str]) -> None:
        """List the files at an absolute path.

        Raises:
            UserError: there is no file, or a file is damaged, lacks a column, or has labels that its metadata does not declare.
        """
        self.name = name
        self.about = f"images in {path}"
        self._files, self._ignored = _listed_files(name, path)
        footers = [_footer(name, file) for file in self._files]
        schemas = {file: footer.schema.to_arrow_schema() for file, footer in zip(self._files, footers, strict=True)}
        column = _image_column(name, self._files[0], schemas[self._files[0]], columns.get("image"))
        labels = _label_column(name, schemas, columns.get("label"))
        classes = _classes(name, schemas, labels) if labels else {}
        self._classes: list[str] = []
        self._rows: list[tuple[str, int]] = []  # file name, relative to the folder of all files, and row number of each item
        groups: list[tuple[Path, int, _Column]] = []
        starts = [0]
        shared = os.path.commonpath([file.parent for file in self._files])
        for file, footer in zip(self._files, footers, strict=True):
            in_file = _image_column(name, file, schemas[file], None, column.name)
            for group in range(footer.num_row_groups):
                groups.append((file, group, in_file))
                starts.append(starts[-1] + footer.row_group(group).num_rows)
            self._rows += [(file.relative_to(shared).as_posix(), row) for row in range(footer.num_rows)]
            self._classes += classes.get(file) or [""] * footer.num_rows
        self._records = Rows(tuple(groups), tuple(starts))
        self.listing = hashlib.sha256(f"{column}\0{labels}\0{listing_of(self._files)}".encode()).hexdigest()

    def records(self) -> "Rows":
        """Return all rows."""
        return self._records

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the images' contents in order, their labels and the splits of their files.

        Version 2 marks small collections without splits, see `content_fingerprint`; version 3 collections in several folders
        without splits, which were divided without regard to the folder.
        """
        readable = [i for i, content in enumerate(hashes) if content]
        splits = self._splits(readable)
        divided = splits is None and reference_every(len(readable)) != REFERENCE_EVERY
        digest = hashlib.sha256()
        for i, split in zip(readable, splits or [None] * len(readable), strict=True):
            if splits is None or split is not None:
                digest.update(f"{_split_of(self._rows[i][0])}\0{self._classes[i]}\0{hashes[i]}\n".encode())
        folders = splits is None and any("/" in file for file, _ in self._rows)
        return f"parquet/{3 if folders else 2 if divided else 1}:{digest.hexdigest()[:32]}"

    def item(self, i: int) -> str:
        """Return the file and the number of row i."""
        file, row = self._rows[i]
        return f"{file} row {row}"

    def arrange(self, unreadable: Mapping[int, str]) -> Arrangement:
        """Return the splits named by the files, or else those of `divide`; see `Collection.arrange`."""
        names = [self.item(i) for i in range(len(self._rows))]
        used = readable_items(self.name, names, unreadable)
        named = self._splits(used)
        outside: list[int] = []
        if named is not None:
            outside = [i for i, split in zip(used, named, strict=True) if split is None]
            used = [i for i, split in zip(used, named, strict=True) if split is not None]
        classes = [self._classes[i] for i in used]
        splits = [split for split in named if split] if named else divide([names[i] for i in used], classes)
        return replace(by_split(self.name, used, splits, classes), outside=dict.fromkeys(outside, _OUTSIDE))

    def _splits(self, readable: Sequence[int]) -> list[Split | None] | None:
        """Return the splits that the files name, None for a row whose file names none; None if they do not name both."""
        named = {_split_of(file) for file in {file for file, _ in self._rows}} >= {*SPLITS}
        return [_split_of(self._rows[i][0]) for i in readable] if named else None


@dataclass(frozen=True)
class Rows:
    """The images of all rows, over the row groups of several files. Rows read in order read each group once."""

    groups: tuple[tuple[Path, int, "_Column"], ...]
    """File, number in the file, and column of each row group."""
    starts: tuple[int, ...]
    """The first row of each group, followed by the total number of rows."""

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, i: int) -> bytes:
        """Return the bytes of row i. Raises OSError if it has none, or its row group is damaged."""
        k = bisect_right(self.starts, i) - 1
        value = _group(*self.groups[k])[i - self.starts[k]].as_py()
        if not isinstance(value, bytes):
            raise OSError("the row has no bytes; images must be embedded, not named by a path")
        return value


@lru_cache(maxsize=2)
def _group(file: Path, group: int, column: "_Column") -> pa.ChunkedArray:
    table = pq.ParquetFile(file).read_row_group(group, columns=[str(column)])
    values = table.column(column.name)
    return pa.chunked_array([chunk.field("bytes") for chunk in values.chunks]) if column.nested else values


@dataclass(frozen=True)
class _Column:
    """A column of bytes, or of structs with a field ``bytes``."""

    name: str
    nested: bool

    def __str__(self) -> str:
        """Return the path of the bytes, as Parquet writes it."""
        return f"{self.name}.bytes" if self.nested else self.name


def _listed_files(name: str, path: Path) -> tuple[list[Path], tuple[Skipped, ...]]:
    """Return the files at a path, and those in sub-folders that are left out because the folder itself has files.

    Raises:
        UserError: there is no file.
    """
    if not path.is_dir():
        return matching(name, path), ()
    below = sorted(file for file in path.rglob("*.parquet") if not file.name.startswith(".") and file.is_file())
    files = [file for file in below if file.parent == path] or below
    if not files:
        raise UserError(f"domain {name!r}: there is no such file; the folder has no *.parquet")
    others = (Skipped(file.relative_to(path).as_posix(), "in a sub-folder") for file in below if file not in set(files))
    return files, tuple(others)


def _label_column(name: str, schemas: Mapping[Path, pa.Schema], chosen: str | None) -> str:
    """Return the column of labels, "" for none."""
    declared = {column for schema in schemas.values() for column in _class_labels(schema)}
    if chosen is not None:
        column = chosen
    elif any("label" in schema.names for schema in schemas.values()):
        column = "label"
    else:
        column = declared.pop() if len(declared) == 1 else ""
    for file, schema in schemas.items():
        if column and column not in schema.names:
            fault = f"{file.name} has no column {column!r}; it has {_listed(schema)}"
            raise UserError(f"domain {name!r}: {fault}; name the labels of all files, or none: parquet:PATH#label=")
    return column


def _classes(name: str, schemas: Mapping[Path, pa.Schema], column: str) -> dict[Path, list[str]]:
    """Return the class of each row by file. Each file declares the names of its own numbers, and the files may differ.

    Raises:
        UserError: a label is missing or not declared, or only some of the files have names for their labels.
    """
    integers = [file for file, schema in schemas.items() if pa.types.is_integer(schema.field(column).type)]
    numbers = [file for file in integers if not _declared(schemas[file], column)]
    named = [file for file in schemas if file not in set(numbers)]
    if numbers and named:
        raise UserError(
            f"domain {name!r}: the labels of {numbers[0].name} are numbers without names, those of {named[0].name} have names "
            f"(column {column!r}); write both with names, or name another column: parquet:PATH#label=COLUMN"
        )
    return {file: _classes_of(name, file, column, _declared(schema, column)) for file, schema in schemas.items()}


def _declared(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Return the names that a file's metadata declares for the numbers in its column of labels."""
    return _class_labels(schema).get(column, ()) if pa.types.is_integer(schema.field(column).type) else ()


def _classes_of(name: str, file: Path, column: str, names: tuple[str, ...]) -> list[str]:
    values = pq.ParquetFile(file).read(columns=[column]).column(column).to_pylist()
    if names:
        wrong = [row for row, value in enumerate(values) if value is None or not 0 <= value < len(names)]
        classes = [] if wrong else [names[value] for value in values]
    else:
        wrong = [row for row, value in enumerate(values) if value is None or not isinstance(value, int | str)]
        # Padded with zeros, so that numbers sort as numbers.
        classes = [] if wrong else [f"{value:06}" if isinstance(value, int) else value for value in values]
    if wrong:
        expected = f"one of its {len(names)} declared classes" if names else "a number or a string"
        raise UserError(
            f"domain {name!r}: {len(wrong)} labels of {file.name} are not {expected} (first in row {wrong[0]}, column "
            f"{column!r}); correct them, or name another column, or none: parquet:PATH#label="
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


def _image_column(name: str, file: Path, schema: pa.Schema, chosen: str | None, first: str | None = None) -> _Column:
    """Return a file's column of image bytes; `chosen` is the column that the user names, `first` that of the first file."""
    chosen = first or chosen
    columns = {field.name: column for field in schema if (column := _bytes_in(field))}
    if chosen is None and "image" in columns:
        return columns["image"]
    if chosen is None and len(columns) == 1:
        return next(iter(columns.values()))
    if chosen in columns:
        return columns[chosen]
    if first is not None and first not in schema.names:
        raise UserError(f"domain {name!r}: {file.name} has no column {first!r}; it has {_listed(schema)}")
    fault = f"has no column {chosen!r} of image bytes" if chosen else f"has {len(columns) or 'no'} columns of image bytes"
    raise UserError(f"domain {name!r}: {file.name} {fault}; it has {_listed(schema)}; name one: parquet:PATH#image=COLUMN")


def _bytes_in(field: Any) -> _Column | None:
    if pa.types.is_struct(field.type):
        index = field.type.get_field_index("bytes")
        return _Column(field.name, nested=True) if index >= 0 and _is_bytes(field.type.field(index).type) else None
    return _Column(field.name, nested=False) if _is_bytes(field.type) else None


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _listed(schema: pa.Schema) -> str:
    return ", ".join(schema.names) or "no columns"


def _footer(name: str, file: Path) -> Any:
    try:
        return pq.ParquetFile(file).metadata
    except (ValueError, OSError) as error:  # pyarrow's, and where the name of a column is not UTF-8
        reason = " ".join(str(error).split())
        raise UserError(f"domain {name!r}: {file.name} is not a complete Parquet file ({reason}); copy it again") from error


def _split_of(file: str) -> Split | None:
    """Return the split that a file's name begins with, or else its folder's name; None without one.

    >>> [_split_of(name) for name in ("train-00000-of-00002.parquet", "test/0000.parquet", "trains.parquet")]
    ['train', 'reference', None]
    """
    *folders, name = file.lower().removesuffix(".parquet").split("/")
    word = re.match("[a-z]*", name)
    return SPLIT_NAMES.get(word[0] if word else "") or (SPLIT_NAMES.get(folders[-1]) if folders else None)
