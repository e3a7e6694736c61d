"""Heat maps of gain by source and target, and of FID by class, coloured by whether transfer helps."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.figures.drawing import Drawing
from analysis.figures.style import about, blank, escape, method_name, ratio

_DIVERGING = [[0.0, "#E08214"], [0.5, "#F2F2F2"], [1.0, "#4393C3"]]  # light enough for dark text

#: Heights of rows in pixels.
_GAIN_ROW, _CLASS_ROW = 40, 44


def heat_map(gains: pd.DataFrame, limit: float, *, cells: pd.DataFrame, sources: Sequence[str]) -> Drawing:
    """Draw the gain of one strategy: a row per cell (target and size), a column per source; orange is worse, blue better.

    Args:
        gains: rows of one strategy with `source_label`, `cell_label`, `gain` (log2 ratio, averaged over seeds), `step`
            and `seeds`.
        limit: the absolute gain at which the colour scale ends.
        cells: all rows from top to bottom, shared by figures side by side: `cell_label`, `target_label`, `size`.
    """
    columns = [escape(source).replace(" ", "<br>") for source in sources]
    lines = max(column.count("<br>") for column in columns)
    figure = blank(height=76 + _GAIN_ROW * len(cells) + 15 * lines)
    at = {(row["cell_label"], row["source_label"]): row for row in gains.to_dict("records")}
    grid = [[at.get((cell, source)) for source in sources] for cell in cells["cell_label"]]
    filters = {"rows": about(cells), "columns": [{"source": source} for source in sources], "height": _GAIN_ROW}
    _add_map(
        figure,
        [[row["gain"] if row else None for row in line] for line in grid],
        limit,
        text=[[ratio(row["gain"]) if row else "" for row in line] for line in grid],
        hovertext=[[_cell_hover(row) if row else "" for row in line] for line in grid],
        hoverongaps=False,
        meta={"strategy": gains["strategy"].iloc[0], "grid": filters},
    )
    _label_axes(figure, columns, ["<br>".join(escape(cell).rsplit(", ", 1)) for cell in cells["cell_label"]])
    return figure


def _add_map(figure: Drawing, gains: list[list[float | None]], limit: float, **options: Any) -> None:
    """Add a heat map of gains, coloured up to `limit` either way."""
    figure.add(
        "heatmap", x=list(range(len(gains[0]))), y=list(range(len(gains))), z=gains, texttemplate="%{text}",
        textfont={"color": "#15181C"},
        hoverinfo="text", colorscale=_DIVERGING, zmin=-limit, zmax=limit, xgap=2, ygap=2, showscale=False, **options,
    )  # fmt: skip


def _label_axes(figure: Drawing, columns: list[str], rows: list[str]) -> None:
    bare: dict[str, Any] = {"showgrid": False, "showline": False, "ticks": ""}
    figure.set_axis("x", tickvals=list(range(len(columns))), ticktext=columns, side="top", **bare)
    figure.set_axis("y", tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", **bare)


def _cell_hover(row: dict[Any, Any]) -> str:
    seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
    gain = f"FID from scratch / transfer: {ratio(row['gain'])}"
    return f"{escape(row['source_label'])} to {escape(row['cell_label'])}<br>{gain}<br>at step {row['step']:,}{seeds}"


def _gain(value: float | None, scratch: float | None) -> float:
    """Return log2 of the ratio of scratch's value to a value; 0 if they have none, as those of a trial that diverged."""
    if value is None or scratch is None or not (0 < value < math.inf and 0 < scratch < math.inf):
        return 0.0
    return math.log2(scratch / value)


def fid_by_class(rows: pd.DataFrame) -> Drawing:
    """Draw FID by class as numbers: a row per method, a column per class; blue where it is lower than scratch's.

    `rows` of one cell, in display order, have `strategy`, `source_label`, `class` and `value`.
    """
    rows = rows.assign(source_label=rows["source_label"].fillna(""))
    methods = list(dict.fromkeys(zip(rows["strategy"], rows["source_label"], strict=True)))
    names = list(dict.fromkeys(rows["class"]))
    keys = zip(rows["strategy"], rows["source_label"], rows["class"], strict=True)
    values = dict(zip(keys, rows["value"].astype(float), strict=True))
    grid = [[values.get((*method, name)) for name in names] for method in methods]
    scratch = [values.get((SCRATCH, "", name)) for name in names]
    gains: list[list[float | None]] = [[_gain(value, base) for value, base in zip(line, scratch, strict=True)] for line in grid]
    filters = {
        "rows": [{"strategy": strategy, **({"source": source} if source else {})} for strategy, source in methods],
        "columns": [{} for _ in names],
        "height": _CLASS_ROW,
    }
    figure = blank(height=76 + _CLASS_ROW * len(methods))
    _add_map(
        figure,
        gains,
        max(1.0, *(abs(gain or 0.0) for line in gains for gain in line)),
        text=[["" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}" for value in line] for line in grid],
        hovertext=[
            [
                "" if value is None else f"{method_name(*method)}<br>class {escape(name)}: FID {value:.4g}"
                for name, value in zip(names, line, strict=True)
            ]
            for method, line in zip(methods, grid, strict=True)
        ],
        meta={"grid": filters},
    )
    columns = [escape(name if len(name) <= 9 else name[:8] + "…") for name in names]
    labels = [
        escape(strategy).replace("[", "<br>[") + (f"<br>{escape(source)}" if source else "") for strategy, source in methods
    ]
    _label_axes(figure, columns, labels)
    return figure
