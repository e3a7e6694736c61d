"""Maps: a number per method or cell and per source or class, coloured by whether transfer helps there."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import about, blank, escape, method_name, ratio, short
from analysis.transfer.transferability import SCRATCH

_DIVERGING = [[0.0, "#E08214"], [0.5, "#F2F2F2"], [1.0, "#4393C3"]]  # light enough for dark text throughout


#: Pixels that a row of a map is high.
_HEAT_ROW, _CLASS_ROW = 40, 44


def heat_map(gains: pd.DataFrame, limit: float, *, cells: pd.DataFrame, sources: Sequence[str]) -> go.Figure:
    """Draw the gain of one strategy: a row per cell (target and size), a column per source; orange hurts, blue helps.

    Args:
        gains: rows with `source_label`, `cell_label`, `gain` (log2 ratio, averaged over seeds), `step`, `censored` (bool) and
            `seeds`; all of one strategy.
        limit: the gain, either way, at which the colour scale ends.
        cells: all rows from top to bottom, so that figures side by side agree: `cell_label`, `target_label`, `size`.
        sources: labels of all columns.
    """
    columns = [escape(source).replace(" ", "<br>") for source in sources]
    lines = max(column.count("<br>") for column in columns)
    figure = blank(height=76 + _HEAT_ROW * len(cells) + 15 * lines)
    at = {(row["cell_label"], row["source_label"]): row for row in gains.to_dict("records")}
    grid = [[at.get((cell, source)) for source in sources] for cell in cells["cell_label"]]
    figure.add_heatmap(
        x=list(range(len(sources))),
        y=list(range(len(cells))),
        z=[[row["gain"] if row else None for row in line] for line in grid],
        text=[[_cell_text(row) if row else "" for row in line] for line in grid],
        texttemplate="%{text}",
        textfont_color="#15181C",
        hovertext=[[_cell_hover(row) if row else "" for row in line] for line in grid],
        hoverinfo="text",
        hoverongaps=False,
        colorscale=_DIVERGING,
        zmin=-limit,
        zmax=limit,
        xgap=2,
        ygap=2,
        showscale=False,
        meta={
            "strategy": gains["strategy"].iloc[0],
            "grid": {"rows": about(cells), "columns": [{"source": source} for source in sources], "height": _HEAT_ROW},
        },
    )
    bare: dict[str, Any] = {"showgrid": False, "showline": False, "ticks": ""}
    figure.update_xaxes(tickvals=list(range(len(sources))), ticktext=columns, side="top", **bare)
    labels = ["<br>".join(escape(cell).rsplit(", ", 1)) for cell in cells["cell_label"]]
    figure.update_yaxes(tickvals=list(range(len(cells))), ticktext=labels, autorange="reversed", **bare)
    return figure


def _cell_text(row: dict[Any, Any]) -> str:
    return ratio(row["gain"]) + (f"<br>@{short(row['step'])}" if row["censored"] else "")


def _cell_hover(row: dict[Any, Any]) -> str:
    seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
    stopped = ", then stopped" if row["censored"] else ""
    times = f"FID from scratch is {ratio(row['gain'])} that of this transfer"
    return f"{escape(row['source_label'])} to {escape(row['cell_label'])}<br>{times}<br>at step {row['step']:,}{stopped}{seeds}"


def fid_by_class(rows: pd.DataFrame) -> go.Figure:
    """Draw FID by class: a row per method, a column per class, the number in the box; blue where it is lower than scratch's.

    Args:
        rows: of one cell, in the order in which to show them: `strategy`, `source_label`, `class`, `value`, `step`.
    """
    methods = list(dict.fromkeys(zip(rows["strategy"], rows["source_label"].fillna(""), strict=True)))
    names = list(dict.fromkeys(rows["class"]))
    values = {
        (strategy, source, name): float(value)
        for strategy, source, name, value in zip(
            rows["strategy"], rows["source_label"].fillna(""), rows["class"], rows["value"], strict=True
        )
    }
    grid = [[values.get((*method, name)) for name in names] for method in methods]
    scratch = [values.get((SCRATCH, "", name)) for name in names]
    gains = [
        [math.log2(base / value) if value and base else 0.0 for value, base in zip(line, scratch, strict=True)] for line in grid
    ]
    limit = max(1.0, *(abs(gain) for line in gains for gain in line))
    figure = blank(height=76 + _CLASS_ROW * len(methods))
    figure.add_heatmap(
        x=list(range(len(names))),
        y=list(range(len(methods))),
        z=gains,
        text=[["" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}" for value in line] for line in grid],
        texttemplate="%{text}",
        textfont_color="#15181C",
        hovertext=[
            [
                "" if value is None else f"{method_name(*method)}<br>class {escape(name)}: FID {value:.4g}"
                for name, value in zip(names, line, strict=True)
            ]
            for method, line in zip(methods, grid, strict=True)
        ],
        hoverinfo="text",
        colorscale=_DIVERGING,
        zmin=-limit,
        zmax=limit,
        xgap=2,
        ygap=2,
        showscale=False,
        meta={
            "grid": {
                "rows": [{"strategy": strategy, **({"source": source} if source else {})} for strategy, source in methods],
                "columns": [{} for _ in names],
                "height": _CLASS_ROW,
            }
        },
    )
    bare: dict[str, Any] = {"showgrid": False, "showline": False, "ticks": ""}
    shown = [escape(name if len(name) <= 9 else name[:8] + "…") for name in names]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=shown, side="top", **bare)
    labels = [
        escape(strategy).replace("[", "<br>[") + (f"<br>{escape(source)}" if source else "") for strategy, source in methods
    ]
    figure.update_yaxes(tickvals=list(range(len(methods))), ticktext=labels, autorange="reversed", **bare)
    return figure
