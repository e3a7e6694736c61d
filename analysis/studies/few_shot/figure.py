"""The figure of the study: the gain of each method over scratch."""

import plotly.graph_objects as go

from analysis.frames import records
from analysis.studies.few_shot.ranking import gains
from analysis.studies.few_shot.results import Results

_APART, _OPEN = "#0072B2", "#777777"


def draw(results: Results) -> go.Figure:
    """Draw FID from scratch over FID of each method at the last step, with its interval, best first."""
    rows = [row for row in records(gains(results)) if row["ratio"] is not None]
    figure = go.Figure()
    for colour, name, apart in ((_APART, "told apart from scratch", True), (_OPEN, "not told apart", False)):
        chosen = [row for row in rows if (row["outcome"] == "told apart") == apart]
        gain, low, high = ([2 ** -row[key] for row in chosen] for key in ("ratio", "high", "low"))
        error = {
            "type": "data", "symmetric": False, "array": [h - g for g, h in zip(gain, high, strict=True)],
            "arrayminus": [g - lower for g, lower in zip(gain, low, strict=True)], "thickness": 1.5,
        }  # fmt: skip
        figure.add_scatter(
            x=gain, y=[row["method"] for row in chosen], error_x=error, mode="markers", name=name,
            marker={"color": colour, "size": 9, "symbol": "circle" if apart else "circle-open"},
        )  # fmt: skip
    figure.add_vline(x=1, line={"color": "#555", "dash": "dot", "width": 1})
    order = [row["method"] for row in rows]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1])
    figure.update_xaxes(type="log", title_text="FID scratch / FID of the method", tickvals=[0.125, 0.25, 0.5, 1, 2])
    figure.update_layout(template="simple_white", width=900, height=520, font_size=12, legend={"orientation": "h", "y": 1.08})
    return figure
