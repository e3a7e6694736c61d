"""Parts of tables of statistics: a table with a title, effects as factors, intervals."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from analysis.report.blocks import Block, Column, Heading, Row, Table, Text
from analysis.words import times

NONE, INTERVAL, P, OUTCOME = "–", "95 % interval", "p, corrected", "outcome"


def table(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text = "", style: str = "") -> Iterator[Block]:
    """Yield a table, nothing without rows."""
    if rows:
        yield Table(title, tuple(columns), rows, note, style=style)


def titled(title: str, columns: Iterable[Column], rows: Sequence[Row], note: Text, style: str) -> Iterator[Block]:
    """Yield a table under a heading, nothing without rows."""
    if rows:
        yield Heading(title)
        yield Table(title, tuple(columns), rows, note, style=style)


def factor(row: dict[str, Any], name: str = "gain") -> tuple[str, str]:
    """Return an effect in log2, and its 95 % interval, as factors."""
    return times(row[name]), interval(row["low"], row["high"], times)


def interval(low: float | None, high: float | None, words: Callable[[float], str]) -> str:
    """Return an interval in words, a dash if unknown."""
    return NONE if low is None or high is None else f"{words(low)} to {words(high)}"


def or_none(value: float | None, words: Callable[[float], str]) -> str:
    """Return a value in words, a dash if None."""
    return NONE if value is None else words(value)
