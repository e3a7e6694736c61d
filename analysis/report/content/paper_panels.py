"""The paper's own numbers on the page: ratios of FIDs alone, labelled as theirs, beside ours or faintly behind them.

Ratios, for FIDs of other images, networks and features say nothing together. Distances are on a scale of their own too, so
these get a figure of their own. None of it is in any statistic of the page.
"""

import numpy as np
import pandas as pd

from analysis import figures
from analysis.figures import Style
from analysis.published.paper_frames import distances, source_target_curves
from analysis.published.paper_tables import DISTANCE, SIZE, SOURCE_TARGET
from analysis.report.content.panels import Panel, panel
from analysis.statistics import Analysis
from analysis.transfer import transferability as tf
from analysis.transfer.transferability import SCRATCH

_CITED = "Wang et al. (Transferring GANs, ECCV 2018)"


def gain_by_size(analysis: Analysis, style: Style) -> list[Panel]:
    """Return a panel per family: the gain of each strategy's best source at the full budget, and the paper's by its sizes."""
    full = analysis.ranked[analysis.ranked["step"] >= analysis.ranked["budget"]]
    theirs = size_gains()
    panels = []
    for family, rows in full.groupby("family", sort=False):
        scratch = rows[rows["strategy"] == SCRATCH][["size", "value"]].rename(columns={"value": "scratch"})
        best = rows[rows["strategy"] != SCRATCH].sort_values("value").drop_duplicates(["size", "strategy"])
        ours = best.merge(scratch, on="size")
        ours = ours.assign(gain=np.log2(ours["scratch"] / ours["value"]))
        if len(ours):
            caption = (
                "FID from scratch / FID of transfer at the full budget, best source with hindsight. Dotted grey: "
                f"{_CITED}, {SIZE.name}, {SIZE.provenance}: ImageNet to LSUN Bedrooms at 64 px, with "
                "Inception's features. Their ratio may be set beside ours, their FIDs may not; no statistic here uses them."
            )
            figure = figures.gain_by_size(ours, theirs, style)
            panels.append(panel(f"{family}: gain", caption, figure, target=str(rows["target_label"].iloc[0]), paper=True))
    return panels


def gain_by_distance() -> list[Panel]:
    """Return the panel of the paper's four sources and four targets."""
    points = tf.points(tf.with_distance(tf.transfer_gain(source_target_curves()), distances(), via="generator"))
    caption = (
        f"For comparison, {_CITED}: gains from {SOURCE_TARGET.name} ({SOURCE_TARGET.provenance}) by the distances of "
        f"{DISTANCE.name} ({DISTANCE.provenance}), fine-tuned at 64 px. Their distance is that of generated images in "
        "Inception's features, so it is not on the axis of the figures above, and in no statistic here."
    )
    return [panel(f"The paper's own ({figures.PAPER})", caption, figures.paper_gain_by_distance(points), paper=True)]


def size_gains() -> pd.DataFrame:
    """Return the paper's gain by number of images: `size`, and `gain` (log2 ratio)."""
    fid = SIZE.frame().pivot(index="size", columns="strategy", values="fid")
    return pd.DataFrame({"size": fid.index, "gain": list(np.log2(fid[SCRATCH] / fid["finetune"]))})
