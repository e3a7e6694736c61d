"""The figures: a data frame in, a plotly figure out, one function each.

Colour is the strategy and symbol is the source, everywhere and in every figure of a page (`Style`). Each figure is one small
panel that fits a phone; a page lays several out side by side. Backgrounds are transparent and no colour of text or grid is
set, so that a page can set them by theme. Every trace's `meta` names its strategy and source, so that a page can filter.

Names of domains are data from outside: plotly would render tags in them, so they pass through `_text`.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.transferability import SCRATCH

#: Okabe and Ito's palette for all kinds of colour vision, darkest-on-white first; its black is left out for dark pages.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A500")
NEUTRAL = "#808080"
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "pentagon",
    "star",
    "hexagon",
    "cross",
    "bowtie",
)
#: How a curve that ends before its budget is marked, by status.
ENDS = {"stopped": "x-thin-open", "diverged": "asterisk-open", "failed": "cross-thin-open"}
_DIVERGING = [[0.0, "#E08214"], [0.5, "#F2F2F2"], [1.0, "#4393C3"]]  # light enough for dark text throughout


@dataclass(frozen=True)
class Style:
    """The colour and dash of each strategy and the symbol of each source, fixed for a page."""

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
        """Return the colour of a strategy; the palette repeats with another `dash`."""
        return NEUTRAL if strategy == SCRATCH else PALETTE[self._index(strategy) % len(PALETTE)]

    def dash(self, strategy: str) -> str:
        """Return the line style of a strategy."""
        if strategy == SCRATCH:
            return "8px,4px"
        return ("solid", "2px,3px", "10px,3px,2px,3px")[self._index(strategy) // len(PALETTE) % 3]

    def symbol(self, source: str | None) -> str:
        """Return the marker of a source; scratch, which has none, gets an open circle."""
        return SYMBOLS[self.sources.index(source) % len(SYMBOLS)] if source in self.sources else "circle-open"

    def _index(self, strategy: str) -> int:
        return [name for name in self.strategies if name != SCRATCH].index(strategy)


def learning_curves(curves: pd.DataFrame, style: Style, metric: str = "fid") -> go.Figure:
    """Draw a metric against the generator step for the trials of one cell.

    The rungs are equally spaced, as they are chosen to be on a logarithmic axis, which has no room for step 0.
    One thick line per method (strategy and source): the mean over seeds at the steps that all of them reached; with several
    seeds a band from least to greatest, and each seed as a thin line. A trial that ended before its budget ends in a mark.

    Args:
        curves: rows of `Frames.curves` of one cell and one embedding.
        style: colours and symbols.
        metric: ``fid`` (on a logarithmic axis where it spans more than a factor of three) or ``kid``.
    """
    figure = _figure(height=380)
    rows = curves[(curves["metric"] == metric) & np.isfinite(curves["value"])]
    rungs = sorted(set(rows["step"]))
    rows = rows.assign(rung=rows["step"].map(rungs.index))
    groups = rows.assign(source_label=rows["source_label"].fillna("")).groupby(["strategy", "source_label"])
    # Scratch last, so that it lies on top of the others.
    for (strategy, source), group in sorted(groups, key=lambda item: (item[0][0] == SCRATCH, item[0])):
        _draw_method(figure, group, style, strategy, source or None)
    low, high = rows["value"].min(), rows["value"].max()
    if low > 0 and high / low > 3:
        figure.update_yaxes(type="log", **_log_ticks(low, high))
    figure.update_xaxes(title_text="generator step (rungs equally spaced)", **_rung_ticks(rungs))
    figure.update_yaxes(title_text=metric.upper().replace("_EMA", " of the EMA"))
    return figure


def _draw_method(figure: go.Figure, rows: pd.DataFrame, style: Style, strategy: str, source: str | None) -> None:
    color, scratch = style.color(strategy), strategy == SCRATCH
    name = _method_name(strategy, source)
    base: dict[str, Any] = {"legendgroup": strategy, "meta": {"strategy": strategy, "source": source}}
    values = rows.pivot(index="rung", columns="trial", values="value").sort_index()
    shared = values.dropna()
    rungs, mean, seeds = shared.index.tolist(), shared.mean(axis=1), values.shape[1]
    steps = [rows.loc[rows["rung"] == rung, "step"].iloc[0] for rung in rungs]
    if seeds > 1 and len(rungs) > 1:
        outline = [*shared.max(axis=1), *shared.min(axis=1)[::-1]]
        band = {"fill": "toself", "fillcolor": color, "opacity": 0.15, "line_width": 0, "mode": "lines"}
        figure.add_scatter(x=[*rungs, *rungs[::-1]], y=outline, hoverinfo="skip", showlegend=False, **band, **base)
        for trial in values:
            line = values[trial].dropna()
            thin = {"mode": "lines", "line": {"color": color, "width": 1}, "opacity": 0.45}
            figure.add_scatter(x=line.index.tolist(), y=line.tolist(), hoverinfo="skip", showlegend=False, **thin, **base)
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    figure.add_scatter(
        x=rungs,
        y=mean.tolist(),
        name=name,
        mode="lines+markers",
        line={"color": color, "width": 4 if scratch else 2, "dash": style.dash(strategy)},
        marker={"symbol": style.symbol(source), "size": 8 if scratch else 7, "color": color},
        hovertext=[f"{name}<br>step {s:,}: {v:.4g}{of_seeds}" for s, v in zip(steps, mean, strict=True)],
        hoverinfo="text",
        **base,
    )
    last = rows.sort_values("step").drop_duplicates("trial", keep="last")
    for status, mark in ENDS.items():
        ends = last[last["status"] == status]
        if len(ends):
            words = [f"{name}<br>{status} at step {s:,}: {v:.4g}" for s, v in zip(ends["step"], ends["value"], strict=True)]
            marker = {"symbol": mark, "size": 13, "color": color, "line": {"width": 2.5, "color": color}}
            text = {"hovertext": words, "hoverinfo": "text", "showlegend": False}
            points = {"x": ends["rung"].tolist(), "y": ends["value"].tolist(), "mode": "markers"}
            figure.add_scatter(**points, marker=marker, **text, **base)


def fid_by_size(rows: pd.DataFrame, style: Style, span: tuple[float, float] | None = None) -> go.Figure:
    """Draw FID at the full budget against the number of training images, one line per strategy.

    Args:
        rows: one row per (strategy, size) with `value` and `note` (what it is the value of).
        style: colours.
        span: least and greatest FID of the axis, so that figures side by side can share it.
    """
    figure = _figure(height=320)
    sizes = sorted(set(rows["size"]))
    for strategy in [*[s for s in style.strategies if s != SCRATCH], SCRATCH]:
        line = rows[rows["strategy"] == strategy].sort_values("size")
        if len(line) == 0:
            continue
        scratch = strategy == SCRATCH
        notes = [
            f"{_text(strategy)}, {size:,} images: {value:.4g}<br>{_text(note)}"
            for size, value, note in zip(line["size"], line["value"], line["note"], strict=True)
        ]
        figure.add_scatter(
            x=line["size"].tolist(),
            y=line["value"].tolist(),
            name=_text(strategy),
            mode="lines+markers",
            line={"color": style.color(strategy), "width": 4 if scratch else 2, "dash": style.dash(strategy)},
            marker={"size": 8, "symbol": "circle-open" if scratch else "circle", "color": style.color(strategy)},
            hovertext=notes,
            hoverinfo="text",
            meta={"strategy": strategy, "source": None},
        )
    low, high = span or (rows["value"].min(), rows["value"].max())
    figure.update_xaxes(
        title_text="training images",
        type="log",
        range=[math.log10(sizes[0]) - 0.12, math.log10(sizes[-1]) + 0.12],
        tickvals=_spread(sizes, [math.log10(size) for size in sizes]),
    )
    figure.update_xaxes(ticktext=[_short(size) for size in figure.layout.xaxis.tickvals])
    if low > 0 and high / low > 3:
        figure.update_yaxes(type="log", **_log_ticks(low, high))
    else:
        margin = 0.08 * (high - low or high or 1)
        figure.update_yaxes(range=[max(0.0, low - margin), high + margin])
    figure.update_yaxes(title_text="FID")
    return figure


def heat_map(gains: pd.DataFrame, limit: float, *, cells: Sequence[str], sources: Sequence[str]) -> go.Figure:
    """Draw the gain of one strategy: a row per cell (target and size), a column per source; orange hurts, blue helps.

    Args:
        gains: rows with `source_label`, `cell_label`, `gain` (log2 ratio, averaged over seeds), `step`, `censored` (bool) and
            `seeds`.
        limit: the gain, either way, at which the colour scale ends.
        cells: labels of all rows from top to bottom, so that figures side by side agree.
        sources: labels of all columns.
    """
    columns = [_text(source).replace(" ", "<br>") for source in sources]
    lines = max(column.count("<br>") for column in columns)
    figure = _figure(height=76 + 40 * len(cells) + 15 * lines)
    at = {(row["cell_label"], row["source_label"]): row for row in gains.to_dict("records")}
    grid = [[at.get((cell, source)) for source in sources] for cell in cells]
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
    )
    bare: dict[str, Any] = {"showgrid": False, "showline": False, "ticks": ""}
    figure.update_xaxes(tickvals=list(range(len(sources))), ticktext=columns, side="top", **bare)
    labels = ["<br>".join(_text(cell).rsplit(", ", 1)) for cell in cells]
    figure.update_yaxes(tickvals=list(range(len(cells))), ticktext=labels, autorange="reversed", **bare)
    return figure


def _cell_text(row: dict[Any, Any]) -> str:
    return ratio(row["gain"]) + (f"<br>@{_short(row['step'])}" if row["censored"] else "")


def _cell_hover(row: dict[Any, Any]) -> str:
    seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
    stopped = ", then stopped" if row["censored"] else ""
    times = f"FID from scratch is {ratio(row['gain'])} that of this transfer"
    return f"{_text(row['source_label'])} to {_text(row['cell_label'])}<br>{times}<br>at step {row['step']:,}{stopped}{seeds}"


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
    figure = _figure(height=76 + 44 * len(methods))
    figure.add_heatmap(
        x=list(range(len(names))),
        y=list(range(len(methods))),
        z=gains,
        text=[["" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}" for value in line] for line in grid],
        texttemplate="%{text}",
        textfont_color="#15181C",
        hovertext=[
            [
                "" if value is None else f"{_method_name(*method)}<br>class {_text(name)}: FID {value:.4g}"
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
    )
    bare: dict[str, Any] = {"showgrid": False, "showline": False, "ticks": ""}
    shown = [_text(name if len(name) <= 9 else name[:8] + "…") for name in names]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=shown, side="top", **bare)
    labels = [
        _text(strategy).replace("[", "<br>[") + (f"<br>{_text(source)}" if source else "") for strategy, source in methods
    ]
    figure.update_yaxes(tickvals=list(range(len(methods))), ticktext=labels, autorange="reversed", **bare)
    return figure


def gain_by_distance(points: pd.DataFrame, style: Style) -> go.Figure:
    """Draw the gain against the distance between source and target, with a least-squares line per strategy.

    Args:
        points: one row per (source, target, strategy): `distance`, `gain` (log2 ratio), `name` (what to call the point;
            written once per distance), `source_label`.
        style: colours and symbols.
    """
    figure = _figure(height=360)
    low, high = points["distance"].min(), points["distance"].max()
    pad = 0.16 * ((high - low) or high or 1.0)
    for strategy in style.strategies:
        rows = points[points["strategy"] == strategy].sort_values("distance")
        if len(rows) == 0:
            continue
        color = style.color(strategy)
        x, y = rows["distance"].to_numpy(float), rows["gain"].to_numpy(float)
        if len(rows) > 2 and len(set(x)) > 1:
            slope, intercept = np.polyfit(x, y, 1)
            ends = [float(x.min()), float(x.max())]
            figure.add_scatter(
                x=ends,
                y=[slope * end + intercept for end in ends],
                mode="lines",
                line={"color": color, "width": 1.5, "dash": style.dash(strategy)},
                opacity=0.6,
                hoverinfo="skip",
                showlegend=False,
                legendgroup=strategy,
                meta={"strategy": strategy, "source": None},
            )
        for source, group in rows.groupby("source_label"):
            words = [
                f"{_text(strategy)}, {_text(name)}<br>distance {d:.4g}<br>FID from scratch is {ratio(g)} that of transfer"
                for name, d, g in zip(group["name"], group["distance"], group["gain"], strict=True)
            ]
            figure.add_scatter(
                x=group["distance"].tolist(),
                y=group["gain"].tolist(),
                name=_text(strategy),
                mode="markers",
                marker={"color": color, "symbol": style.symbol(str(source)), "size": 11},
                hovertext=words,
                hoverinfo="text",
                legendgroup=strategy,
                showlegend=source == rows["source_label"].iloc[0],
                meta={"strategy": strategy, "source": source},
            )
    _label_points(figure, points, pad)
    figure.update_xaxes(title_text="distance (FID of real images)", range=[low - pad, high + pad], nticks=6)
    bottom, top = points["gain"].min(), points["gain"].max()
    room = 0.18 * ((top - bottom) or 1.0)
    figure.update_yaxes(title_text="FID from scratch / transfer", range=[min(bottom, 0) - room, max(top, 0) + 1.6 * room])
    figure.update_yaxes(**_ratio_ticks(min(bottom, 0.0) - room, max(top, 0.0) + room))
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1.5, "dash": "8px,4px"})
    return figure


def _label_points(figure: go.Figure, points: pd.DataFrame, pad: float) -> None:
    """Write each name above its points, or below them where a neighbour is above; leave out the rest.

    The sizes are those of a phone, in units of distance and gain: what fits there fits everywhere.
    """
    tall = 0.09 * ((points["gain"].max() - points["gain"].min()) or 1.0)
    left, right = points["distance"].min() - pad, points["distance"].max() + pad
    spans = points.groupby("name").agg(x=("distance", "first"), low=("gain", "min"), high=("gain", "max"))
    taken = {"high": -math.inf, "low": -math.inf}  # how far to the right each side is written on
    for name, span in spans.sort_values("x").iterrows():
        x, width = span["x"], 0.2 * pad * len(str(name))
        anchor = "left" if x - width / 2 < left else "right" if x + width / 2 > right else "center"
        start = x - {"left": 0.0, "center": width / 2, "right": width}[anchor]
        for side, end in taken.items():
            middle = span[side] + (tall if side == "high" else -tall)
            others = points[(points["name"] != name) & points["distance"].between(start - 0.2 * pad, start + width + 0.2 * pad)]
            if start > end and not ((others["gain"] - middle).abs() < tall).any():
                taken[side] = start + width + 0.2 * pad
                place = {"x": x, "y": span[side], "xanchor": anchor, "yshift": 17 if side == "high" else -17}
                figure.add_annotation(text=_text(str(name)), showarrow=False, **place)
                break


def ratio(gain: float) -> str:
    """Return a gain in words: how many times the transfer's FID the one from scratch is.

    >>> ratio(1.0), ratio(-1.0)
    ('2.0×', '0.50×')
    """
    times = 2**gain
    return f"{times:.1f}×" if 0.95 <= times < 99.5 else f"{times:.2f}×" if times < 1 else f"{times:.0f}×"


def _figure(height: int) -> go.Figure:
    axis: dict[str, Any] = {
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
        "title_standoff": 8,
        "zeroline": False,
    }
    return go.Figure(
        layout={
            "template": {},
            "autosize": True,
            "height": height,
            "margin": {"l": 8, "r": 14, "t": 14, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "dragmode": False,  # a drag scrolls the page, on a phone too
            "legend": {"orientation": "h", "yanchor": "top", "y": -0.25, "x": 0, "xanchor": "left"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def _text(name: str) -> str:
    """Make a name harmless in plotly's text, which knows some HTML."""
    return html.escape(name, quote=False)


def _method_name(strategy: str, source: str | None) -> str:
    return _text(f"{strategy} from {source}") if source else _text(strategy)


def _short(number: int) -> str:
    """Return a count as a short tick label.

    >>> _short(50), _short(2500), _short(100_000), _short(3_000_000)
    ('50', '2.5k', '100k', '3M')
    """
    if number < 1000:
        return str(number)
    return f"{number / 1e6:.3g}M" if number >= 999_500 else f"{number / 1000:.3g}k"


def _spread(values: Sequence[int], positions: Iterable[float]) -> list[int]:
    """Return the values that are far enough apart to be labelled, the last one always among them."""
    pairs = list(zip(values, positions, strict=True))
    least = 0.11 * (pairs[-1][1] - pairs[0][1])
    kept = [pairs[-1]]
    for pair in reversed(pairs[:-1]):
        if kept[-1][1] - pair[1] >= least:
            kept.append(pair)
    return [value for value, _ in reversed(kept)]


def _rung_ticks(steps: Sequence[int]) -> dict[str, Any]:
    shown = _spread(range(len(steps)), range(len(steps)))
    margin = 0.04 * len(steps)
    return {"tickvals": shown, "ticktext": [_short(steps[k]) for k in shown], "range": [-margin, len(steps) - 1 + margin]}


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return at least three round ticks, as few as that allows; plotly's own are too many or too few."""
    low, high = low / 1.12, high * 1.12
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    shown: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        if len(shown) < 3:
            shown = [d * 10.0**decade for decade in decades for d in digits if low <= d * 10.0**decade <= high]
    return {"tickvals": shown, "ticktext": [f"{t:g}" for t in shown], "range": [math.log10(low), math.log10(high)]}


def _ratio_ticks(low: float, high: float) -> dict[str, Any]:
    """Return ticks for an axis of gains (log2), labelled with ratios."""
    step = max(0.25, 2.0 ** math.ceil(math.log2((high - low) / 5)))
    ticks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return {"tickvals": ticks, "ticktext": [ratio(tick) for tick in ticks]}
