"""FID against the number of training images."""

import math

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.figures.direct_labels import End, label_ends
from analysis.figures.drawing import Drawing
from analysis.figures.style import Style, about, blank, escape, log_ticks, short, spaced
from analysis.frames import grouped, records
from trainers.common.counts import counted

_HEIGHT = 250


def fid_by_size(
    rows: pd.DataFrame, style: Style, span: tuple[float, float] | None = None, saved: pd.DataFrame | None = None
) -> Drawing:
    """Draw FID at the full budget against the number of training images, one line per strategy.

    A data multiplier is drawn as a dotted line from a transfer to the size at which scratch has the same FID, ending in a tick,
    or in an arrow if that size is beyond scratch's measured ones.

    Args:
        rows: one row per (strategy, size): `value`, `note` (the hover text) and, if it has one source, `source_label`.
        span: minimum and maximum FID of the axis, shared by figures side by side.
        saved: one row per multiplier to draw: `strategy`, `source_label`, `size`, `value`, `bound`, `equivalent` and `words`
            (the hover text).
    """
    figure = blank(height=_HEIGHT)
    ends = []
    sizes = sorted(set(rows["size"]))
    ordered = rows.sort_values("size", kind="stable")
    points = zip(records(ordered), about(ordered), strict=True)
    lines = grouped(({**row, "about": subject} for row, subject in points), ["strategy"])
    for strategy in [*[s for s in style.strategies if s != SCRATCH], SCRATCH]:
        line = lines.get((strategy,))
        if line is None:
            continue
        scratch = strategy == SCRATCH
        notes = [
            f"{escape(strategy)}, {counted(row['size'], 'image')}: {row['value']:.4g}<br>{escape(row['note'])}" for row in line
        ]
        x, y, subjects = ([row[name] for row in line] for name in ("size", "value", "about"))
        figure.add(
            "scatter", x=x, y=y, name=escape(strategy), mode="lines+markers",
            line={"color": style.color(strategy), "width": 4 if scratch else 2, "dash": style.dash(strategy)},
            marker={"size": 8, "symbol": "circle-open" if scratch else "circle", "color": style.color(strategy)},
            hovertext=notes, hoverinfo="text", meta={"strategy": strategy, "points": subjects},
        )  # fmt: skip
        ends.append(End(strategy, style.color(strategy), y[-1], {"strategy": strategy}))
    for row in () if saved is None else saved.to_dict("records"):
        color = style.color(row["strategy"])
        end = {"": "line-ns-open", "at least": "triangle-right", "at most": "triangle-left"}[row["bound"]]
        figure.add(
            "scatter", x=[row["size"], row["equivalent"]], y=[row["value"]] * 2, mode="lines+markers",
            line={"color": color, "width": 1.5, "dash": "2px,3px"},
            marker={"symbol": ["circle", end], "size": [1, 11], "color": color, "line": {"width": 2.5, "color": color}},
            hovertext=escape(row["words"]), hoverinfo="text",
            meta={"strategy": row["strategy"], "source": row.get("source_label"), "size": row["size"]},
        )  # fmt: skip
    low, high = span or (rows["value"].min(), rows["value"].max())
    ticks = spaced(sizes, [math.log10(size) for size in sizes])
    shown = [math.log10(sizes[0]) - 0.12, math.log10(sizes[-1]) + 0.12]
    figure.name_axis("x", "training images")
    figure.set_axis("x", type="log", range=shown, tickvals=ticks, ticktext=[short(size) for size in ticks])
    if low > 0 and high / low > 3:
        figure.set_axis("y", type="log", **log_ticks(low, high))
    else:
        margin = 0.08 * (high - low or high or 1)
        figure.set_axis("y", range=[max(0.0, low - margin), high + margin])
    figure.name_axis("y", "FID")
    label_ends(figure, ends, _HEIGHT - 60)
    return figure
