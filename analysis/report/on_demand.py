"""What the page's script draws when it is looked at: figures, and the rows of tables of many cells, which are folded.

They are lines of JSON in one packed script element (templates/figures.js and templates/tables.js); the page has their places.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from analysis.report.blocks import Bar, Panel, Row, Subject, Table, Text
from analysis.report.packed import packed

#: Rows of folded tables of one kind that the page has as HTML, which is read without scripts.
WRITTEN = 60


class OnDemand:
    """The figures and rows of a page in the order of their places."""

    def __init__(self, attributes: Callable[[Subject], dict[str, Any]]) -> None:
        """`attributes` returns those by which the page filters a row, from its subject."""
        self._attributes = attributes
        self._lines: list[str] = []
        self._rows: Counter[str] = Counter()

    def figure(self, panel: Panel) -> int:
        """Add a figure; return its place."""
        return self._add(panel.figure)

    def rows(self, table: Table) -> int | None:
        """Add the rows of a folded table and return their place; None for those of the first tables, to be written as HTML."""
        self._rows[table.style] += len(table.rows)
        if self._rows[table.style] <= WRITTEN or any(column.holds == "bars" for column in table.columns):
            return None
        return self._add(json.dumps([self._row(row) for row in table.rows], separators=(",", ":")))

    @property
    def markup(self) -> Markup:
        """The script element with all of them; nothing without any."""
        element = Markup('<script type="text/plain" id="on-demand">{}</script>')
        return element.format(packed("\n".join(self._lines))) if self._lines else Markup()

    def _add(self, line: str) -> int:
        self._lines.append(line)
        return len(self._lines) - 1

    def _row(self, row: Row) -> tuple[dict[str, Any], list[Any]]:
        attributes = {name: value for name, value in self._attributes(row.subject).items() if value is not None}
        return attributes, [_parts(cell) for cell in row.cells if not isinstance(cell, Bar)]


def _parts(text: Text) -> Any:
    """Return text for the script: a string, a list of parts, or a part with its style and link."""
    if isinstance(text, str):
        return text
    if isinstance(text, tuple):
        return [_parts(part) for part in text]
    return {"text": text.text, "style": text.style, "href": text.href}
