"""What a section of the report is made of: text, lists, tables, figures and images, as plain data.

The HTML page (`templates/blocks.html.j2`) and the Markdown (`markdown.py`) each render every block; content builds them once.
A `subject` holds what a block, row or column is about: `cell_label`, or `target_label`, `size`, `strategy` and `source_label`,
in any selection. The page filters by it. All text is plain and is escaped when it is rendered.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, Literal

import pandas as pd
from markupsafe import Markup

from analysis.figures import Style
from analysis.figures.drawing import Drawing
from analysis.frames import Frames
from analysis.statistics import Analysis

Subject = Mapping[str, Any]


def in_script(data: Any) -> Markup:
    """Return data as JSON in which no string can end the script element that contains it."""
    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made safe just above


@dataclass(frozen=True)
class Span:
    """Text that is set apart: emphasised, code, a trial's status, or a link (within the page, or to a `file` that it saves)."""

    text: str
    style: Literal["", "b", "i", "code", "zero", "status", "error", "screen"] = "code"
    """`zero` is a count of 0; `screen` is left out on paper and in Markdown."""
    href: str = ""
    file: str = ""


Text = str | Span | tuple[str | Span, ...]

_STYLES: dict[str, Literal["b", "i", "code"]] = {"*": "b", "_": "i", "`": "code"}


def marked(literal: str) -> Text:
    """Return a literal as text: `*bold*`, `_italic_` and code between backticks; not for text from outside.

    >>> marked("*FID* is low")
    (Span(text='FID', style='b', href='', file=''), ' is low')
    """
    parts = re.split(r"([*_`])(.+?)\1", literal)
    spans = (
        (plain, Span(words, _STYLES[mark])) for plain, mark, words in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    )
    return tuple(part for pair in spans for part in pair if part) + ((parts[-1],) if parts[-1] else ())


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: a plain one, a notice, a small one, or the headline of an answer."""

    text: Text
    style: Literal["", "notice", "small", "headline"] = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section, whose own heading has level 2."""

    text: str
    level: Literal[3, 4] = 4


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Terms:
    """A list of terms with their descriptions."""

    pairs: Sequence[tuple[str, Text]]


@dataclass(frozen=True)
class Bar:
    """A bar whose parts are as long as their counts, by status; the page alone draws it."""

    counts: Mapping[str, int]


@dataclass(frozen=True)
class Column:
    """The heading of a table's column, and what the column holds."""

    head: str
    holds: Literal["text", "numbers", "bars"] = "text"
    subject: Subject = field(default_factory=dict)


def numbers(*heads: str) -> tuple[Column, ...]:
    """Return columns of numbers."""
    return tuple(Column(head, "numbers") for head in heads)


@dataclass(frozen=True)
class Row:
    """A table's row: a cell for each column."""

    cells: Sequence[Text | Bar]
    subject: Subject = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table, and beneath it how its numbers were computed."""

    title: str
    """Named to screen readers; a `Heading` shows it."""
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: Text = ""
    sortable: bool = False
    style: str = ""
    total: int = 0
    """The number of rows that the page's script draws in place of these, which are the first, if it does."""


@dataclass(frozen=True)
class Panel:
    """A figure, as plotly's JSON, with its title and caption; Markdown leaves figures out."""

    title: str
    caption: str
    figure: str
    min_width: int = 0
    """Pixels; a narrower screen scrolls the figure sideways."""
    subject: Subject = field(default_factory=dict)
    paper: bool = False
    """Whether the paper's numbers are in it."""

    @classmethod
    def of(cls, title: str, caption: str, figure: Drawing, **fields: Any) -> "Panel":
        """Return a figure as a panel, with `min_width`, `subject` and `paper` as given."""
        layout = {**figure.layout, "showlegend": False}  # the page has one key for all figures
        data = _brief({"data": figure.data, "layout": layout})
        return cls(title, caption, json.dumps(data, separators=(",", ":")), **fields)


def _brief(data: Any) -> Any:
    """Return data for JSON, with six digits of each number: more of a position are invisible, and a third of the bytes."""
    match data:
        case float():
            return float(f"{data:.6g}") if isfinite(data) else None
        case dict():
            return {name: value if type(value) is str else _brief(value) for name, value in data.items()}
        case list() | tuple():
            return [value if type(value) in (str, int) else _brief(value) for value in data]
    return data


@dataclass(frozen=True)
class Figures:
    """Figures side by side, above them the entries of the page's key that are in them."""

    panels: Sequence[Panel]
    key: Sequence[Literal["source", "paper"]] = ()
    marks: Sequence[tuple[str, str]] = ()
    """Other marks in the figures: an SVG path, and its meaning."""
    small: bool = False
    """Whether many are side by side: small multiples."""


@dataclass(frozen=True)
class Image:
    """A grid of images: its caption (in bold, then plain), its path in the store, and its data URI."""

    name: str
    words: str
    path: str | None
    subject: Subject = field(default_factory=dict)
    uri: str = ""


@dataclass(frozen=True)
class Images:
    """Images side by side; Markdown leaves them out."""

    title: str
    images: Sequence[Image]
    pair: bool = False
    """Whether two are compared, and larger."""


@dataclass(frozen=True)
class TrialView:
    """The place where `trial.js` lays out the trial that is chosen, and the data that it reads; Markdown leaves it out."""

    details: str
    """See `packed`."""


@dataclass(frozen=True)
class Fold:
    """Blocks that the page shows when their summary is pressed."""

    summary: str
    blocks: Sequence["Block"]
    level: int = 0
    """Level of the heading that the summary becomes in Markdown; 0 for none."""
    open: bool = False
    """Whether it is folded on a phone alone."""


@dataclass(frozen=True)
class Group:
    """Blocks that belong together, in a box of the page that `style` names."""

    style: Literal["first", "overall", "question", "answers", "answer", "caveats", "table", "wall", "cell"]
    blocks: Sequence["Block"]
    subject: Subject = field(default_factory=dict)


#: With more cells than this, those after the first are folded.
UNFOLDED = 4


def by_cell(
    style: Literal["table", "wall", "cell"], cells: Sequence[tuple[str, Sequence["Block"], Subject]]
) -> Iterator["Block"]:
    """Yield the blocks of each cell, given with its title and its subject; of many cells, only the first is not folded."""
    for place, (title, blocks, subject) in enumerate(cells):
        folded = place > 0 and len(cells) > UNFOLDED
        yield Group(style, [Fold(title, blocks, level=4)] if folded else [Heading(title), *blocks], subject)


Block = Paragraph | Heading | Bullets | Terms | Table | Figures | Images | TrialView | Fold | Group


@dataclass(frozen=True)
class Report:
    """What the sections are made from."""

    frames: Frames
    analyses: Sequence[Analysis]
    """The statistics in each embedding that something was measured in."""
    replayed: pd.DataFrame | None = None
    """What stopping would have saved in cells where no trial was stopped, see `panels.stopping`; None if not replayed."""
    trials: Sequence[dict[str, Any]] = ()
    """The trials that the page lists, see `trials.trial_rows`; Markdown lists none."""
    samples: Mapping[str, Sequence[Block]] = field(default_factory=dict)
    """The sample grids by embedding, see `sample_grids`; Markdown has none."""
    copies: Mapping[str, Sequence[Block]] = field(default_factory=dict)
    """Samples and the training images nearest to them, likewise."""
    written: str = ""
    """Version and time of writing."""

    @cached_property
    def style(self) -> Style:
        """Return the colours and symbols of all figures."""
        return Style.of(self.frames.trials)
