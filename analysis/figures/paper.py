"""The paper's numbers in grey, next to or behind ours. They are not part of our statistics."""

import pandas as pd

from analysis.figures.direct_labels import End, label_ends
from analysis.figures.drawing import Drawing
from analysis.figures.style import NEUTRAL, Style, about, blank, escape, ratio, ratio_ticks

#: The label of the paper's numbers.
PAPER = "Wang et al. 2018"
_META = {"paper": PAPER}
_HEIGHT = 250
_SYMBOLS = ("circle-open", "square-open", "diamond-open", "triangle-up-open")


def gain_by_size(rows: pd.DataFrame, paper: pd.DataFrame, style: Style) -> Drawing:
    """Draw the gain against the number of training images: one line per strategy, in front of the paper's.

    `rows` has a row per (strategy, size): `gain` (log2 ratio), `source_label`, `target_label`. `paper` has `size` and `gain`.
    """
    figure, ends = blank(height=_HEIGHT), []
    texts = [f"{PAPER}, {size:,} images: {ratio(gain)}" for size, gain in zip(paper["size"], paper["gain"], strict=True)]
    figure.add(
        "scatter", x=paper["size"].tolist(), y=paper["gain"].tolist(), mode="lines+markers", opacity=0.55, meta=_META,
        line={"color": NEUTRAL, "width": 1.5, "dash": "2px,3px"}, marker={"symbol": "star-open", "size": 8, "color": NEUTRAL},
        hovertext=texts, hoverinfo="text", name=PAPER,
    )  # fmt: skip
    ends.append(End(PAPER, NEUTRAL, float(paper["gain"].iloc[-1]), _META))
    for strategy in style.strategies:
        line = rows[rows["strategy"] == strategy].sort_values("size")
        if len(line):
            values = zip(line["source_label"], line["size"], line["gain"], strict=True)
            figure.add(
                "scatter", x=line["size"].tolist(), y=line["gain"].tolist(), mode="lines+markers", name=escape(strategy),
                line={"color": style.color(strategy), "width": 2, "dash": style.dash(strategy)},
                marker={"size": 8, "color": style.color(strategy)}, hoverinfo="text",
                hovertext=[f"{escape(strategy)} from {escape(s)}, {n:,} images: {ratio(g)}" for s, n, g in values],
                meta={"strategy": strategy, "points": about(line)},
            )  # fmt: skip
            ends.append(End(strategy, style.color(strategy), float(line["gain"].iloc[-1]), {"strategy": strategy}))
    both = pd.concat([rows["gain"], paper["gain"]])
    low, high = min(0.0, both.min()), both.max()
    figure.name_axis("x", "training images")
    figure.set_axis("x", type="log", dtick=2, tickformat="~s")
    figure.name_axis("y", "FID from scratch / transfer")
    figure.set_axis("y", range=[low - 0.1, high + 0.35], **ratio_ticks(low, high))
    figure.add_level(0, line={"color": NEUTRAL, "width": 1.5, "dash": "8px,4px"})
    label_ends(figure, ends, _HEIGHT - 60)
    return figure


def paper_gain_by_distance(points: pd.DataFrame) -> Drawing:
    """Draw the paper's gain against distance: one line per target, from its nearest to its farthest source.

    `points` has a row per source and target: `source`, `target`, `distance`, `gain` (log2 ratio).
    """
    figure = blank(height=360)
    for symbol, (target, rows) in zip(_SYMBOLS, points.sort_values("distance").groupby("target"), strict=True):
        values = zip(rows["source"], rows["distance"], rows["gain"], strict=True)
        figure.add(
            "scatter", x=rows["distance"].tolist(), y=rows["gain"].tolist(), mode="lines+markers", name=str(target), meta=_META,
            line={"color": NEUTRAL, "width": 1.2, "dash": "2px,3px"}, marker={"symbol": symbol, "size": 9, "color": NEUTRAL},
            hovertext=[f"{source} to {target}<br>distance {d:.4g}<br>{ratio(gain)}" for source, d, gain in values],
            hoverinfo="text",
        )  # fmt: skip
        near = rows.iloc[0]
        figure.annotate(x=near["distance"], y=near["gain"], text=str(target), yshift=14)
    low, high = points["gain"].min(), points["gain"].max()
    figure.name_axis("x", "distance (FID of generated images)")
    figure.set_axis("x", nticks=6)
    figure.name_axis("y", "FID from scratch / transfer")
    figure.set_axis("y", range=[min(low, 0) - 0.1, high + 0.25], **ratio_ticks(min(low, 0.0), high + 0.2))
    figure.add_level(0, line={"color": NEUTRAL, "width": 1.5, "dash": "8px,4px"})
    figure.layout["meta"] = {"labels": [_META] * points["target"].nunique()}
    return figure
