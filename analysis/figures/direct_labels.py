"""Names of lines beside their right ends, in place of a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.figures.drawing import Drawing
from analysis.figures.style import escape

#: Pixels between two names and of a letter, and the most letters of a name.
_GAP, _LETTER, _LETTERS = 14, 6.3, 16


@dataclass(frozen=True)
class End:
    """The right end of a line."""

    name: str
    color: str
    y: float
    """In units of the axis."""
    meta: dict[str, Any] = field(default_factory=dict)
    """By what the page filters it; see `analysis.figures`."""


def label_ends(figure: Drawing, ends: Sequence[End], height: float) -> None:
    """Write the names of lines to the right of a plot about `height` pixels high whose y axis has a range.

    A name stands at the end of its line, or as near to it as the other names leave room, behind a dot of the line's colour.
    """
    low, high = figure.layout["yaxis"]["range"]
    log = figure.layout["yaxis"].get("type") == "log"
    placed = [(((math.log10(end.y) if log else end.y) - low) / (high - low), end) for end in ends]
    placed.sort(key=lambda pair: pair[0])
    places = spread([place for place, _ in placed], _GAP / height)
    names = [_short(end.name) for _, end in placed]
    for place, name, (_, end) in zip(places, names, placed, strict=True):
        figure.annotate(
            text=f'<span style="color:{end.color}">●</span> {escape(name)}', xref="paper", yref="paper", x=1, y=place,
            xanchor="left", yanchor="middle", xshift=2, font={"size": 11.5},
        )  # fmt: skip
    labels = [*figure.layout.get("meta", {}).get("labels", ()), *(end.meta for _, end in placed)]
    margin = 18 + math.ceil(_LETTER * max(map(len, names), default=0))
    figure.layout["meta"] = {"labels": labels}
    figure.layout["margin"]["r"] = max(figure.layout["margin"]["r"], margin)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return ascending places from 0 to 1 moved as little as needed to be `gap` apart; beyond the ends if there are too many.

    >>> spread([0.5, 0.5, 1.0], 0.25)
    [0.5, 0.75, 1.0]
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else max(place, 0.0))
    limit = 1.0
    for index in reversed(range(len(moved))):
        moved[index] = limit = min(moved[index], limit)
        limit -= gap
    return moved


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
