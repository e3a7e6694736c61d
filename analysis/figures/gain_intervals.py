"""The gain of each start over scratch with its interval, one start beneath the other: the figure of the first screen."""

from typing import Any

import pandas as pd

from analysis.claims import Outcome
from analysis.figures.drawing import Drawing
from analysis.figures.style import BETTER, NEUTRAL, WORSE, blank, escape, ratio_ticks
from analysis.words import times

#: Pixels of a row with its label above it, and characters of a label that a phone has room for.
_ROW, _LETTERS = 46, 40


def gain_intervals(rows: pd.DataFrame) -> Drawing:
    """Draw gains with their 95 % intervals, in the order of `rows`, each under its name.

    `rows` has `name`, `gain` (log2 ratio), `low` and `high` (NaN if unknown) and `outcome`. The colour says what is told apart
    from scratch; an interval that goes on beyond the axis ends in an arrow.
    """
    figure = blank(height=_ROW * len(rows) + 76)
    limit = _limit(rows)
    shapes = []
    for place, row in enumerate(rows.to_dict("records")):
        y, apart = -place, row["outcome"] == Outcome.APART
        color = NEUTRAL if not apart else BETTER if row["gain"] > 0 else WORSE
        gain = times(row["gain"])
        words = f"{escape(row['name'])}<br>gain {gain}"
        if pd.notna(row["low"]):
            words += f", 95 % interval {times(row['low'])} to {times(row['high'])}<br>{row['outcome']}"
            _add_interval(figure, row["low"], row["high"], y, limit, color)
        point: dict[str, Any] = {"x": [max(-limit, min(limit, row["gain"]))], "y": [y], "mode": "markers"}
        marker = {
            "size": 12,
            "color": color,
            "symbol": "circle" if apart else "circle-open",
            "line": {"width": 2.5, "color": color},
        }
        figure.add("scatter", **point, marker=marker, hovertext=words, hoverinfo="text", showlegend=False)
        name = row["name"] if len(row["name"]) <= _LETTERS else row["name"][: _LETTERS - 1] + "…"
        text = f"<b>{gain}</b>  {escape(name)}"
        at = {"xref": "paper", "x": 0, "xanchor": "left", "y": y, "yshift": 19}
        figure.annotate(text=text, **at)
        # Scratch is a dashed line that leaves out the labels.
        dashed = {"color": NEUTRAL, "width": 1.5, "dash": "4px,3px"}
        shapes.append({"type": "line", "x0": 0, "x1": 0, "y0": y - 0.34, "y1": y + 0.2, "line": dashed, "layer": "below"})
    figure.layout |= {"shapes": shapes, "meta": {"labels": [{}] * len(rows)}}
    figure.layout["margin"]["b"] = 50
    figure.set_axis("y", range=[0.45 - len(rows), 0.75], showticklabels=False, showgrid=False, ticks="")
    figure.name_axis("x", "worse  ←  gain over scratch  →  better")
    ticks = ratio_ticks(-limit, limit)["tickvals"]
    factors = [f"×{2**tick:.3g}" for tick in ticks]
    figure.set_axis("x", range=[-limit, limit], showgrid=False, automargin=False, tickvals=ticks, ticktext=factors)
    return figure


def _limit(rows: pd.DataFrame) -> float:
    """Return the end of the axis, log2: it holds the gains with room, and intervals unless they are much wider."""
    gains = max(1.1, 1.15 * float(rows["gain"].abs().max()))
    ends = pd.concat([rows["low"], rows["high"]]).astype(float).abs().max()
    return gains if pd.isna(ends) else min(max(gains, 1.1 * float(ends)), max(2.0, 2.5 * gains))


def _add_interval(figure: Drawing, low: float, high: float, y: int, limit: float, color: str) -> None:
    ends = [max(low, -limit), min(high, limit)]
    symbols = ["triangle-left" if low < -limit else "line-ns-open", "triangle-right" if high > limit else "line-ns-open"]
    figure.add(
        "scatter", x=ends, y=[y, y], mode="lines+markers", hoverinfo="skip", showlegend=False,
        line={"color": color, "width": 3},
        marker={"symbol": symbols, "size": 10, "color": color, "line": {"width": 2.5, "color": color}}, cliponaxis=False,
    )  # fmt: skip
