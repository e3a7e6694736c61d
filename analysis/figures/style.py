"""Colours, symbols, ticks and text formats that all figures share."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.figures.drawing import Drawing
from analysis.words import multiple

#: The colours of strategies: each has a contrast of 3 with white and with the dark page, and with red-green blindness they are
#: as far from each other and from the neutral grey as five such colours can be.
PALETTE = ("#4274C7", "#DB7C00", "#2BA85E", "#954DFF", "#C51921")
NEUTRAL = "#808080"
#: The colours of what is told apart from scratch.
BETTER, WORSE = PALETTE[0], PALETTE[1]
DASHES = ("solid", "2px,3px", "10px,3px,2px,3px", "14px,3px", "4px,2px")
SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "hexagon", "cross", "bowtie"
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The colour and dash of each strategy and the symbol of each source, the same on a whole page."""

    strategies: tuple[str, ...]
    """Sorted, scratch first."""
    sources: tuple[str, ...]
    """Labels, sorted."""

    @classmethod
    def of(cls, trials: pd.DataFrame) -> "Style":
        """Return the style for all strategies and sources of `Frames.trials`."""
        strategies = sorted(trials["strategy"].dropna().unique(), key=lambda name: (name != SCRATCH, name))
        return cls(tuple(strategies), tuple(sorted(trials["source_label"].dropna().unique())))

    def color(self, strategy: str) -> str:
        """Return the colour of a strategy. When the palette repeats, `dash` differs."""
        return NEUTRAL if strategy == SCRATCH else PALETTE[self._index(strategy) % len(PALETTE)]

    def dash(self, strategy: str) -> str:
        """Return the line style of a strategy."""
        if strategy == SCRATCH:
            return "8px,4px"
        return DASHES[self._index(strategy) // len(PALETTE) % len(DASHES)]

    def symbol(self, source: str | None) -> str:
        """Return the marker of a source; an open circle for scratch, which has none."""
        return SYMBOLS[self.sources.index(source) % len(SYMBOLS)] if source in self.sources else "circle-open"

    def _index(self, strategy: str) -> int:
        return [name for name in self.strategies if name != SCRATCH].index(strategy)


def ratio(gain: float) -> str:
    """Return a gain (log2) as the ratio of scratch's FID to the transfer's.

    >>> ratio(1.0), ratio(-1.0), ratio(1500.0)
    ('2.0×', '0.50×', '2^1500×')
    """
    return multiple(2**gain) if abs(gain) < 1000 else f"2^{gain:.0f}×"


def blank(height: int) -> Drawing:
    """Return an empty figure `height` pixels high, as wide as its container."""
    axis: dict[str, Any] = {"automargin": True, "ticks": "outside", "ticklen": 4, "zeroline": False}
    return Drawing(
        {
            "template": {},
            "autosize": True,
            "height": height,
            "margin": {"l": 8, "r": 14, "t": 14, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "dragmode": False,  # a drag scrolls the page, on a phone too
            "legend": {"orientation": "h", "yanchor": "top", "y": -0.25, "x": 0, "xanchor": "left"},
            "xaxis": {**axis, "title": {"standoff": 8}},
            "yaxis": {**axis, "title": {"standoff": 8}},
        }
    )


def about(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the target, size and source of each row for a page's filters, without missing columns and values."""
    names = {"target": "target_label", "size": "size", "source": "source_label"}
    columns = {name: rows[column].tolist() for name, column in names.items() if column in rows}
    of_rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [{name: value for name, value in row.items() if value is not None and value == value} for row in of_rows]


def escape(name: str) -> str:
    """Return a name escaped for plotly's text, which interprets some HTML."""
    return html.escape(name, quote=False)


def method_name(strategy: str, source: str | None) -> str:
    """Return the escaped name of a method."""
    return escape(f"{strategy} from {source}") if source else escape(strategy)


def short(number: int) -> str:
    """Return a count as a short tick label.

    >>> short(50), short(2500), short(100_000), short(3_000_000)
    ('50', '2.5k', '100k', '3M')
    """
    if number < 1000:
        return str(number)
    return f"{number / 1e6:.3g}M" if number >= 999_500 else f"{number / 1000:.3g}k"


def spaced(values: Sequence[int], positions: Iterable[float]) -> list[int]:
    """Return the values, always with the last one, whose positions are far enough apart for their labels."""
    pairs = list(zip(values, positions, strict=True))
    least = 0.11 * (pairs[-1][1] - pairs[0][1])
    kept = [pairs[-1]]
    for pair in reversed(pairs[:-1]):
        if kept[-1][1] - pair[1] >= least:
            kept.append(pair)
    return [value for value, _ in reversed(kept)]


def rung_ticks(steps: Sequence[int]) -> dict[str, Any]:
    """Return ticks for an axis of equally spaced rungs: one at each rung, labelled where there is room."""
    shown = spaced(range(len(steps)), range(len(steps)))
    margin = 0.04 * len(steps)
    words = [short(step) if rung in shown else "" for rung, step in enumerate(steps)]
    return {"tickvals": list(range(len(steps))), "ticktext": words, "range": [-margin, len(steps) - 1 + margin]}


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return the coarsest set of round ticks that has at least three; plotly's defaults are too many or too few."""
    low, high = low / 1.12, high * 1.12
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        if len(ticks) < 3:
            ticks = [d * 10.0**decade for decade in decades for d in digits if low <= d * 10.0**decade <= high]
    return {"tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks], "range": [math.log10(low), math.log10(high)]}


def ratio_ticks(low: float, high: float) -> dict[str, Any]:
    """Return ticks for an axis of gains (log2), labelled as ratios."""
    step = max(0.25, 2.0 ** math.ceil(math.log2((high - low) / 5)))
    ticks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return {"tickvals": ticks, "ticktext": [ratio(tick) for tick in ticks]}
