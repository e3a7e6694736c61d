"""Learning curves: a metric against the generator step."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.comparison.cells import SCRATCH
from analysis.figures.style import NEUTRAL, Style, blank, log_ticks, method_name, rung_ticks
from trainers.config.metrics import label

#: Marks of curves that end before their budget, by status.
ENDS = {"stopped": "x-thin-open", "diverged": "asterisk-open", "failed": "cross-thin-open", "unfinished": "triangle-right-open"}


def learning_curves(curves: pd.DataFrame, style: Style, metric: str = "fid", floor: float | None = None) -> go.Figure:
    """Draw a metric against the generator step for the trials of one cell.

    Rungs are equally spaced on the step axis: they are spaced geometrically, and a logarithmic axis has no step 0. Each method
    (strategy and source) is a thick line, the mean over seeds at the steps that all of them reached. With several seeds a band
    spans their minimum and maximum, and each seed is a thin line. A mark ends the curve of a trial that ended before its
    budget. Positive values that span more than a factor of three get a logarithmic axis. A dotted line marks `floor`, the value
    of real images, if it is known and positive. All curves have one embedding.
    """
    figure = blank(height=380)
    rows = curves[(curves["metric"] == metric) & np.isfinite(curves["value"])]
    rungs = sorted(set(rows["step"]))
    rows = rows.assign(rung=rows["step"].map(rungs.index))
    groups = rows.assign(source_label=rows["source_label"].fillna("")).groupby(["strategy", "source_label"])
    # Scratch is drawn last, on top of the others.
    for (strategy, source), group in sorted(groups, key=lambda item: (item[0][0] == SCRATCH, item[0])):
        _draw_method(figure, group, rungs, style, strategy, source or None)
    low, high = rows["value"].min(), rows["value"].max()
    if floor is not None and floor > 0:
        low = min(low, floor)
        text = {"annotation_text": "real images", "annotation_position": "bottom left", "annotation_font_color": NEUTRAL}
        figure.add_hline(y=floor, line={"color": NEUTRAL, "dash": "dot", "width": 1.5}, **text)
    if low > 0 and high / low > 3:
        figure.update_yaxes(type="log", **log_ticks(low, high))
    figure.update_xaxes(title_text="generator step (rungs equally spaced)", **rung_ticks(rungs))
    figure.update_yaxes(title_text=label(metric))
    return figure


def _draw_method(
    figure: go.Figure, rows: pd.DataFrame, all_steps: list[int], style: Style, strategy: str, source: str | None
) -> None:
    color, scratch = style.color(strategy), strategy == SCRATCH
    name = method_name(strategy, source)
    base: dict[str, Any] = {"legendgroup": strategy, "meta": {"strategy": strategy, "source": source}}
    values = rows.pivot(index="rung", columns="trial", values="value").sort_index()
    shared = values.dropna()
    rungs, mean, seeds = shared.index.tolist(), shared.mean(axis=1), values.shape[1]
    steps = [all_steps[rung] for rung in rungs]
    if seeds > 1 and len(rungs) > 1:
        outline = [*shared.max(axis=1), *shared.min(axis=1)[::-1]]
        band = {"fill": "toself", "fillcolor": color, "opacity": 0.15, "line_width": 0, "mode": "lines"}
        figure.add_scatter(x=[*rungs, *rungs[::-1]], y=outline, hoverinfo="skip", showlegend=False, **band, **base)
        # One trace with gaps for all seeds keeps a page with many trials small and fast.
        gap = [*values.index, None]
        lines = [value for trial in values for value in (*(None if v != v else v for v in values[trial]), None)]
        thin = {"mode": "lines", "line": {"color": color, "width": 1}, "opacity": 0.45}
        figure.add_scatter(x=gap * seeds, y=lines, hoverinfo="skip", showlegend=False, **thin, **base)
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    figure.add_scatter(
        x=rungs, y=mean.tolist(), name=name, mode="lines+markers",
        line={"color": color, "width": 4 if scratch else 2, "dash": style.dash(strategy)},
        marker={"symbol": style.symbol(source), "size": 8 if scratch else 7, "color": color},
        hovertext=[f"{name}<br>step {s:,}: {v:.4g}{of_seeds}" for s, v in zip(steps, mean, strict=True)], hoverinfo="text",
        **base,
    )  # fmt: skip
    if not rows["status"].isin(list(ENDS)).any():
        return
    last = rows.sort_values("step").drop_duplicates("trial", keep="last")
    for status, mark in ENDS.items():
        ends = last[last["status"] == status]
        if len(ends):
            texts = [f"{name}<br>{status} at step {s:,}: {v:.4g}" for s, v in zip(ends["step"], ends["value"], strict=True)]
            marker = {"symbol": mark, "size": 13, "color": color, "line": {"width": 2.5, "color": color}}
            text = {"hovertext": texts, "hoverinfo": "text", "showlegend": False}
            points = {"x": ends["rung"].tolist(), "y": ends["value"].tolist(), "mode": "markers"}
            figure.add_scatter(**points, marker=marker, **text, **base)
