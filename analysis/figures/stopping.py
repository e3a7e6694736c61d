"""Steps saved by early stopping against the cells whose winner it leaves unchanged."""

import pandas as pd

from analysis.figures.drawing import Drawing
from analysis.figures.style import NEUTRAL, blank
from trainers.common.counts import counted


def stopping_audit(rows: pd.DataFrame) -> Drawing:
    """Draw the share of cells with an unchanged winner against the share of steps saved, labelled with the share kept.

    `rows` has a row per share kept at a rung: `keep`, `cells`, `same_winner` (number of cells) and `saved` (0 to 1).
    """
    figure = blank(height=300)
    rows = rows.sort_values("saved")
    same = 100 * rows["same_winner"] / rows["cells"]
    values = zip(rows["keep"], rows["saved"], rows["same_winner"], rows["cells"], strict=True)
    texts = [f"keep {k:g}: {s:.0%} of the steps saved, the same winner in {w} of {counted(n, 'cell')}" for k, s, w, n in values]
    figure.add(
        "scatter", x=(100 * rows["saved"]).tolist(), y=same.tolist(), mode="lines+markers+text",
        text=[f"{k:g}" for k in rows["keep"]],
        textposition=["top center" if place % 2 else "bottom center" for place in range(len(rows))],
        line={"color": NEUTRAL, "width": 2}, marker={"color": NEUTRAL, "size": 9}, cliponaxis=False,
        hovertext=texts, hoverinfo="text",
    )  # fmt: skip
    figure.name_axis("x", "steps saved, %")
    figure.set_axis("x", range=[0, 100])
    figure.name_axis("y", "cells with the same winner, %")
    figure.set_axis("y", range=[-12, 115], tickvals=[0, 25, 50, 75, 100])
    return figure
