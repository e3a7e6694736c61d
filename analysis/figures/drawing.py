"""A figure as plain data in plotly's terms.

A page has more than a thousand figures. Plotly's own objects check and copy every property, which takes twenty times as long as
the rest of a figure; plotly.js, which draws it, needs none of that. `as_plotly` makes them for notebooks.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    import plotly.graph_objects as go

Arguments = ParamSpec("Arguments")


class Drawing:
    """A figure: `data`, its traces, and its `layout`, as dicts that JSON can hold."""

    def __init__(self, layout: dict[str, Any]) -> None:
        """Begin an empty figure."""
        self.data: list[dict[str, Any]] = []
        self.layout = layout

    def add(self, kind: str, **trace: Any) -> None:
        """Add a trace."""
        self.data.append({"type": kind, **trace})

    def set_axis(self, name: str, **settings: Any) -> None:
        """Set an axis, "x" or "y"."""
        self.layout[f"{name}axis"] |= settings

    def name_axis(self, name: str, title: str) -> None:
        """Write a title at an axis, "x" or "y"."""
        self.layout[f"{name}axis"]["title"] |= {"text": title}

    def annotate(self, **annotation: Any) -> None:
        """Add a text without an arrow."""
        self.layout.setdefault("annotations", []).append({"showarrow": False, **annotation})

    def add_level(self, y: float, line: dict[str, Any]) -> None:
        """Add a line across the whole plot."""
        across = {"type": "line", "x0": 0, "x1": 1, "xref": "x domain", "y0": y, "y1": y, "yref": "y", "line": line}
        self.layout.setdefault("shapes", []).append(across)


def as_plotly(draw: "Callable[Arguments, Drawing]") -> "Callable[Arguments, go.Figure]":
    """Return a function of the same arguments that returns plotly's own figure."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> "go.Figure":
        import plotly.graph_objects as go  # takes half a second, which a page does not need

        drawing = draw(*args, **kwargs)
        return go.Figure(drawing.data, drawing.layout)

    return drawn
