"""Transfer gain against the distance between source and target."""

import numpy as np
import pandas as pd

from analysis.figures.direct_labels import End, label_ends
from analysis.figures.drawing import Drawing
from analysis.figures.style import NEUTRAL, Style, about, blank, escape, ratio, ratio_ticks

_HEIGHT = 300


def gain_by_distance(points: pd.DataFrame, style: Style) -> Drawing:
    """Draw the gain against the distance between source and target, with a least-squares line per strategy.

    `points` has a row per (source, target, strategy): `distance`, `gain` (log2 ratio), `name` (the label, drawn once per
    distance), `source_label`, `target_label`, `size`.
    """
    figure, ends = blank(height=_HEIGHT), []
    low, high = points["distance"].min(), points["distance"].max()
    pad = 0.16 * ((high - low) or high or 1.0)
    strategies, distances = points["strategy"].to_numpy(object), points["distance"].to_numpy(float)
    gains, names, labels, subjects = points["gain"].to_numpy(float), [*points["name"]], [*points["source_label"]], about(points)
    for strategy in style.strategies:
        rows = np.flatnonzero(strategies == strategy)
        if len(rows) == 0:
            continue
        rows = rows[distances[rows].argsort()]
        color, x, y = style.color(strategy), distances[rows], gains[rows]
        if len(rows) > 2 and len(set(x)) > 1:
            slope, intercept = np.polyfit(x, y, 1)
            across = [float(x.min()), float(x.max())]
            figure.add(
                "scatter", x=across, y=[slope * end + intercept for end in across], mode="lines", opacity=0.6, hoverinfo="skip",
                line={"color": color, "width": 1.5, "dash": style.dash(strategy)}, showlegend=False, legendgroup=strategy,
                meta={"strategy": strategy, "whole": [subjects[row] for row in rows]},
            )  # fmt: skip
        ends.append(End(strategy, color, float(y[-1]), {"strategy": strategy}))
        for source in sorted({labels[row] for row in rows}):
            of_source = [row for row in rows if labels[row] == source]
            texts = [
                f"{escape(strategy)}, {escape(names[row])}<br>distance {distances[row]:.4g}<br>"
                f"FID from scratch / transfer: {ratio(gains[row])}"
                for row in of_source
            ]
            figure.add(
                "scatter", x=distances[of_source].tolist(), y=gains[of_source].tolist(), name=escape(strategy), mode="markers",
                marker={"color": color, "symbol": style.symbol(source), "size": 11}, hovertext=texts, hoverinfo="text",
                legendgroup=strategy, showlegend=source == labels[rows[0]],
                meta={"strategy": strategy, "source": source, "points": [subjects[row] for row in of_source]},
            )  # fmt: skip
    _label_points(figure, points, pad, len(ends))
    figure.name_axis("x", "distance (FID of real images)")
    figure.set_axis("x", range=[low - pad, high + pad], nticks=6)
    bottom, top = _gains_shown(points)
    room = 0.18 * (top - bottom)
    figure.name_axis("y", "FID from scratch / transfer")
    figure.set_axis("y", range=[bottom - room, top + 1.6 * room], **ratio_ticks(bottom - room, top + room))
    figure.add_level(0, line={"color": NEUTRAL, "width": 1.5, "dash": "8px,4px"})
    if len(ends) > 1:
        label_ends(figure, ends, _HEIGHT - 60)
    return figure


def _gains_shown(points: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the gains and of scratch, 0; 1 apart if all are 0."""
    bottom, top = min(float(points["gain"].min()), 0.0), max(float(points["gain"].max()), 0.0)
    return (bottom, top) if top > bottom else (bottom, bottom + 1.0)


def _label_points(figure: Drawing, points: pd.DataFrame, pad: float, lines: int) -> None:
    """Write each name above its points, or below them if the place above is occupied; omit it if both are.

    Several lines are named to the right, which leaves less room.

    Text sizes, in units of distance and gain, are for a phone, the narrowest screen.
    """
    bottom, top = _gains_shown(points)
    tall = 0.11 * (top - bottom)
    left, right = points["distance"].min() - pad, points["distance"].max() + pad
    filters = dict(zip(points["name"], about(points.drop(columns="size", errors="ignore")), strict=True))
    names, distances, gains = (points[column].to_numpy() for column in ("name", "distance", "gain"))
    annotations, labels = [], []
    taken: list[tuple[float, float]] = []  # right end and height of each label
    every = sorted(set(names))
    firsts = [distances[names == name][0] for name in every]
    for index in np.argsort(firsts):
        name, x = every[index], float(firsts[index])
        of_name = gains[names == name]
        span = {"high": float(of_name.max()), "low": float(of_name.min())}
        width = (0.22 if lines < 2 else 0.25) * pad * len(str(name))
        anchor = "left" if x - width / 2 < left else "right" if x + width / 2 > right else "center"
        start = x - {"left": 0.0, "center": width / 2, "right": width}[anchor]
        if start < left or start + width > right:
            continue
        for side in ("high", "low"):
            middle = span[side] + (tall if side == "high" else -tall)
            others = (names != name) & (distances >= start - 0.2 * pad) & (distances <= start + width + 0.2 * pad)
            free = all(start > end or abs(middle - height) > tall for end, height in taken)
            if free and not (np.abs(gains[others] - middle) < tall).any():
                taken.append((start + width + 0.2 * pad, middle))
                place = {"x": x, "y": span[side], "xanchor": anchor, "yshift": 17 if side == "high" else -17}
                annotations.append({"text": escape(str(name)), "showarrow": False, **place})
                labels.append(filters[name])
                break
    figure.layout |= {"annotations": annotations, "meta": {"labels": labels}}
