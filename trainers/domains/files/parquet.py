"""Images as bytes in a column of Parquet files: how the Hugging Face hub keeps its data sets."""

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
from trainers.domains.files.collection import Arrangement, Collection, by_split, enough
from trainers.domains.files.split_names import SPLIT_NAMES, divide


class Parquet(Collection):
    """The images in Parquet files, named ``parquet:PATH``; the path may hold ``*``, or be a folder of such files.

    The column of images is ``image``, or the only one of bytes (or of a struct with bytes); labels are in ``label``, or in the
    only column that the hub's metadata calls a class label. ``parquet:PATH#image=img,label=fine_label`` names others. A file's
    split is the first part of its name, as in ``train-00000-of-00002.parquet``.
    """

    licence = "the owner's"

    def __init__(self, name: str, path: Path, columns: dict[str, str]) -> None:
        """List the files at an absolute path.

        Raises:
            UserError: there is none, one is damaged, lacks a column, or has labels that are not in its metadata.
        """
        self.name = name
        self.about = f"images in {path}"
        self._files = matching(name, path / "*.parquet" if path.is_dir() else path)
        footers = [_footer(name, file) for file in self._files]
        self._column = _image_column(name, footers[0].schema.to_arrow_schema(), columns.get("image"))
        kinds = _Kinds.of(name, footers[0].schema.to_arrow_schema(), columns.get("label"))
        self._kinds: list[str] = []
        self._rows: list[tuple[str, int]] = []  # of each item, its file's name and its place in there
        groups: list[tuple[Path, int]] = []
        starts = [0]
        for file, footer in zip(self._files, footers, strict=True):
            schema = footer.schema.to_arrow_schema()
            for column in (self._column.partition(".")[0], *([kinds.column] if kinds.column else ())):
                if column not in schema.names:
                    raise UserError(f"domain {name!r}: {file.name} has no column {column!r}; it has {_listed(schema)}")
            for group in range(footer.num_row_groups):
                groups.append((file, group))
                starts.append(starts[-1] + footer.row_group(group).num_rows)
            self._rows += [(file.name, row) for row in range(footer.num_rows)]
            self._kinds += kinds.read(name, file) if kinds.column else [""] * footer.num_rows
        self._records = Rows(tuple(groups), tuple(starts), self._column)
        self.listing = hashlib.sha256(f"{self._column}\0{kinds.column}\0{listing_of(self._files)}".encode()).hexdigest()

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # found when asked for
        """Rows whose image could not be read."""
        return tuple(self._named(i) for i in self._index.unreadable)

    def records(self) -> "Rows":
        """Return all rows."""
        return self._records

    def identify(self, hashes: Sequence[str]) -> str:
        """Return the fingerprint of the images' contents, in order, with their labels and files' splits."""
        digest = hashlib.sha256()
        for (file, _), kind, content in zip(self._rows, self._kinds, hashes, strict=True):
            if content:
                digest.update(f"{_split_of(file)}\0{kind}\0{content}\n".encode())
        return f"parquet/1:{digest.hexdigest()[:32]}"

    def arrange(self, unreadable: Iterable[int]) -> Arrangement:
        """Return the splits that the files' names say, or one in five of each class; see `Collection.arrange`."""
        names = [self._named(i) for i in range(len(self._rows))]
        readable = enough(self.name, names, unreadable)
        kinds = [self._kinds[i] for i in readable]
        own = [_split_of(self._rows[i][0]) for i in readable]
        splits: list[Split] = [each for each in own if each is not None]
        if len(splits) < len(own) or len(set(splits)) < 2:
            splits = divide([names[i] for i in readable], kinds)
        return by_split(self.name, readable, splits, kinds)

    def _named(self, i: int) -> str:
        file, row = self._rows[i]
        return f"{file} row {row}"


@dataclass(frozen=True)
class Rows:
    """The rows of a column, over row groups of several files; read in order, each group is read once.

    Attributes:
        groups: file and number in it.
        starts: the first row of each group, and the number of rows.
        column: of the images' bytes.
    """

    groups: tuple[tuple[Path, int], ...]
    starts: tuple[int, ...]
    column: str

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.starts[-1]

    def read(self, i: int) -> bytes:
        """Return a row's bytes. Raises OSError if it has none, or its group is damaged."""
        k = bisect_right(self.starts, i) - 1
        value = _group(*self.groups[k], self.column)[i - self.starts[k]].as_py()
        if not isinstance(value, bytes):
            raise OSError("the row has no bytes")
        return value


@lru_cache(maxsize=2)
def _group(file: Path, group: int, column: str) -> pa.ChunkedArray:
    found = pq.ParquetFile(file).read_row_group(group, columns=[column]).column(0)
    for part in column.split(".")[1:]:
        found = pa.chunked_array([chunk.field(part) for chunk in found.chunks])
    return found


@dataclass(frozen=True)
class _Kinds:
    """The column of labels, "" for none, and the names of its numbers where the metadata has them."""

    column: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str, schema: pa.Schema, asked: str | None) -> "_Kinds":
        named = _class_labels(schema)
        if asked is not None and asked not in schema.names:
            raise UserError(f"domain {name!r} has no column {asked!r}; it has {_listed(schema)}")
        column = asked or ("label" if "label" in schema.names else next(iter(named)) if len(named) == 1 else "")
        return cls(column, named.get(column, ()))

    def read(self, name: str, file: Path) -> list[str]:
        """Return the class of each of a file's rows."""
        values = pq.ParquetFile(file).read(columns=[self.column]).column(0).to_pylist()
        if self.names:
            wrong = [row for row, value in enumerate(values) if value is None or not 0 <= value < len(self.names)]
            found = [] if wrong else [self.names[value] for value in values]
        else:
            wrong = [row for row, value in enumerate(values) if value is None or not isinstance(value, int | str)]
            # Numbers in their own order, whatever the width.
            found = [] if wrong else [f"{value:06}" if isinstance(value, int) else value for value in values]
        if wrong:
            known = f"one of the {len(self.names)} classes that it names" if self.names else "a number or a string"
            raise UserError(
                f"domain {name!r}: {len(wrong)} labels of {file.name} are not {known} (first in row {wrong[0]}, column "
                f"{self.column!r}); put them right, or name another column: parquet:PATH#label=COLUMN"
            )
        return found


def _class_labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the columns that the hub's metadata calls class labels, with the names of the classes."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: tuple(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _image_column(name: str, schema: pa.Schema, asked: str | None) -> str:
    """Return the column of the images' bytes, a path with a dot where they are in a struct."""
    able = {field.name: path for field in schema if (path := _bytes_in(field))}
    if asked is None and "image" in able:
        return able["image"]
    if asked is None and len(able) == 1:
        return next(iter(able.values()))
    if asked in able:
        return able[asked]
    fault = f"has no column {asked!r} of image bytes" if asked else f"has {len(able) or 'no'} columns of image bytes"
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
        raise UserError(f"domain {name!r}: {file.name} is not a whole Parquet file ({reason}); place it anew") from error


def _split_of(file: str) -> Split | None:
    """Return the split that a file's name begins with, as in train-00000-of-00002.parquet."""
    return SPLIT_NAMES.get(file.removesuffix(".parquet").partition("-")[0].lower())
