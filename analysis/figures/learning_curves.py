"""Learning curves: a metric against the generator step."""

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.figures.direct_labels import End, label_ends
from analysis.figures.drawing import Drawing
from analysis.figures.style import NEUTRAL, Style, blank, log_ticks, method_name, rung_ticks

_HEIGHT = 210

#: How many times as low as the curves real images may be to be drawn.
_FAR = 3

#: A measurement of a trial: the columns of `_POINT`, with "" for no source.
Point = tuple[str, str, str, int, float, str]
_POINT = ("strategy", "source_label", "trial", "step", "value", "status")

#: Marks of curves that end before their budget, by status.
ENDS = {"stopped": "x-thin-open", "diverged": "asterisk-open", "failed": "cross-thin-open", "unfinished": "triangle-right-open"}


def learning_curves(curves: pd.DataFrame, style: Style, metric: str = "fid", floor: float | None = None) -> Drawing:
    """Draw a metric against the generator step for trials of one cell.

    Rungs are equally spaced on the step axis: they are spaced geometrically, and a logarithmic axis has no step 0. Each method
    (strategy and source) is a thick line with the name of its strategy at its end, the mean over seeds at the steps that all of
    them reached. With several seeds a band spans their minimum and maximum, and each seed is a thin line. A mark ends the curve
    of a trial that ended before its budget. Positive values that span more than a factor of three get a logarithmic axis. A
    dotted line marks `floor`, the value of real images, unless it is so far below the curves that it would press them together.
    All curves have one embedding.
    """
    points = points_of(curves[curves["metric"] == metric])
    return of_points(points, Axes.of(points), style, floor)


def points_of(curves: pd.DataFrame) -> list[Point]:
    """Return the measurements of curves that are finite."""
    finite = curves[np.isfinite(curves["value"])].assign(source_label=lambda rows: rows["source_label"].fillna(""))
    return list(zip(*(finite[name].tolist() for name in _POINT), strict=True))


class Axes(NamedTuple):
    """What axes span."""

    rungs: list[int]
    low: float
    high: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Axes":
        """Return the axes of measurements, of which there is one at least."""
        _, _, _, steps, values, _ = zip(*points, strict=True)
        return cls(sorted(set(steps)), min(values), max(values))


def of_points(points: Sequence[Point], axes: Axes, style: Style, floor: float | None) -> Drawing:
    """Draw measurements as `learning_curves` does, with the axes that all figures side by side have.

    These are lists, as a page has a thousand of these figures, and frames of a few rows would take most of the time.
    """
    figure = blank(height=_HEIGHT)
    rungs, low, high = axes
    methods: dict[tuple[bool, str, str], list[Point]] = defaultdict(list)
    for point in points:
        methods[point[0] == SCRATCH, point[0], point[1]].append(point)
    ends, traces = [], []
    for (_, strategy, label), of_one in sorted(methods.items(), key=itemgetter(0)):  # scratch last, on top of the others
        source = label or None
        of_method, last = _method(of_one, rungs, style, strategy, source)
        traces += of_method
        ends.append(End(strategy, style.color(strategy), last, {"strategy": strategy, "source": source}))
    figure.data = traces
    if floor is not None and 0 < low / _FAR < floor:
        low = min(low, floor)
        figure.add_level(floor, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
        ends.append(End("real images", NEUTRAL, floor))
    if low > 0 and high / low > 3:
        figure.set_axis("y", type="log", **log_ticks(low, high))
    else:
        margin = 0.08 * (high - low or abs(high) or 1)
        figure.set_axis("y", range=[low - margin, high + margin], nticks=5)
    figure.set_axis("x", **rung_ticks(rungs))
    label_ends(figure, ends, _HEIGHT - 40)
    return figure


def _method(
    points: list[Point], all_steps: list[int], style: Style, strategy: str, source: str | None
) -> tuple[list[dict[str, Any]], float]:
    """Return the traces of a method, and the last value of its mean, or of one of its seeds if they share no rung."""
    color, scratch = style.color(strategy), strategy == SCRATCH
    name = method_name(strategy, source)
    base = {"type": "scatter", "legendgroup": strategy, "meta": {"strategy": strategy, "source": source}}
    index = {step: rung for rung, step in enumerate(all_steps)}
    every = sorted({index[step] for _, _, _, step, _, _ in points})
    trials = sorted({trial for _, _, trial, _, _, _ in points})
    place, column = {rung: i for i, rung in enumerate(every)}, {trial: i for i, trial in enumerate(trials)}
    values = np.full((len(every), len(trials)), np.nan)  # arrays, as a page has thousands of methods
    last: dict[str, tuple[int, int, float, str]] = {}
    for _, _, trial, step, value, status in points:
        rung = index[step]
        values[place[rung], column[trial]] = value
        if trial not in last or step >= last[trial][0]:
            last[trial] = step, rung, value, status
    reached = ~np.isnan(values).any(axis=1)
    rungs, seeds = [rung for rung, all_there in zip(every, reached, strict=True) if all_there], len(trials)
    shared = values[reached]
    mean = shared.mean(axis=1).tolist()
    traces: list[dict[str, Any]] = []
    steps = [all_steps[rung] for rung in rungs]
    if seeds > 1 and len(rungs) != 1:  # without a rung that all seeds have, they have no mean
        outline = [*shared.max(axis=1).tolist(), *shared.min(axis=1)[::-1].tolist()]
        band = {"fill": "toself", "fillcolor": color, "opacity": 0.15, "line": {"width": 0}, "mode": "lines"}
        unlisted = {"hoverinfo": "skip", "showlegend": False, **base}
        traces.append({"x": [*rungs, *rungs[::-1]], "y": outline, **band, **unlisted})
        # One trace with gaps for all seeds keeps a page with many trials small and fast.
        gap = [*every, None]
        lines = [value for trial in values.T.tolist() for value in (*(None if v != v else v for v in trial), None)]
        thin = {"mode": "lines", "line": {"color": color, "width": 1}, "opacity": 0.45}
        traces.append({"x": gap * seeds, "y": lines, **thin, **unlisted})
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    texts = [f"{name}<br>step {s:,}: {v:.4g}{of_seeds}" for s, v in zip(steps, mean, strict=True)]
    line = {"color": color, "width": 3.5 if scratch else 2, "dash": style.dash(strategy)}
    marker: dict[str, Any] = {"symbol": "circle-open" if scratch else "circle", "size": 6, "color": color}
    shown: dict[str, Any] = {"name": name, "mode": "lines+markers", "line": line, "marker": marker}
    traces.append({"x": rungs, "y": mean, **shown, "hovertext": texts, "hoverinfo": "text", **base})
    for status, mark in ENDS.items():
        ends = [end for _, end in sorted(last.items()) if end[3] == status]
        if ends:
            texts = [f"{name}<br>{status} at step {step:,}: {value:.4g}" for step, _, value, _ in ends]
            marker = {"symbol": mark, "size": 10, "color": color, "line": {"width": 2, "color": color}}
            shown = {"x": [end[1] for end in ends], "y": [end[2] for end in ends], "mode": "markers", "marker": marker}
            traces.append({**shown, "hovertext": texts, "hoverinfo": "text", "showlegend": False, **base})
    return traces, mean[-1] if mean else max(last.values())[2]
