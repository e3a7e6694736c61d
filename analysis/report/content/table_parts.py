"""Parts of tables of statistics: a table with a title, effects as factors, intervals."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from analysis.report.blocks import Block, Column, Heading, Row, Table, Text
from analysis.words import times

NONE, INTERVAL, P, OUTCOME = "–", "95 % interval", "p, corrected", "outcome"


def table(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text = "", style: str = "") -> Iterator[Block]:
    """Yield a table without the columns in which no row has a value, nothing without rows."""
    if rows:
        heads = tuple(columns)
        kept = [place for place in range(len(heads)) if any(row.cells[place] != NONE for row in rows)]
        told = [replace(row, cells=[row.cells[place] for place in kept]) for row in rows]
        yield Table(title, [heads[place] for place in kept], told, note, style=style)


def titled(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text, style: str) -> Iterator[Block]:
    """Yield a table as `table` does, under a heading; nothing without rows."""
    if rows:
        yield Heading(title)
        yield from table(title, columns, rows, note, style)


def factor(row: dict[str, Any], name: str = "gain") -> tuple[str, str]:
    """Return an effect in log2, and its 95 % interval, as factors."""
    return times(row[name]), interval(row["low"], row["high"], times)


def interval(low: float | None, high: float | None, words: Callable[[float], str]) -> str:
    """Return an interval in words, a dash if unknown."""
    return NONE if low is None or high is None else f"{words(low)} to {words(high)}"


def or_none(value: float | None, words: Callable[[float], str]) -> str:
    """Return a value in words, a dash if None."""
    return NONE if value is None else words(value)
