"""The paper's numbers on the page, labelled as such, next to ours: only ratios of FIDs.

FIDs of other images, networks and features are not comparable with ours; their ratios are. The paper's distances are not
comparable either, so they have a separate figure. No statistic of the report uses these numbers.
"""

from functools import cache

import numpy as np
import pandas as pd

from analysis import figures
from analysis.comparison.cells import SCRATCH
from analysis.figures import Style
from analysis.published.paper_frames import distances, source_target_curves
from analysis.published.paper_tables import DISTANCE, SIZE, SOURCE_TARGET
from analysis.report.blocks import Panel
from analysis.statistics import Analysis
from analysis.transfer import transferability as tf

_CITED = "Wang et al. (Transferring GANs, ECCV 2018)"


def gain_by_size(analysis: Analysis, style: Style) -> list[Panel]:
    """Return a figure per family: the gain of each strategy's best source at the full budget, and the paper's by its sizes."""
    full = analysis.ranked[analysis.ranked["step"] >= analysis.ranked["budget"]]
    theirs = size_gains()
    panels = []
    for family, rows in full.groupby("family", sort=False):
        scratch = rows[rows["strategy"] == SCRATCH][["size", "value"]].rename(columns={"value": "scratch"})
        best = rows[rows["source"].notna()].sort_values("value")  # scratch with options has no source either
        best = best.drop_duplicates(["size", "strategy"])
        ours = best.merge(scratch, on="size")
        ours = ours.assign(gain=np.log2(ours["scratch"] / ours["value"]))
        if ours["size"].nunique() > 1:
            caption = (
                "FID from scratch / FID of transfer at the full budget, best source with hindsight. Dotted grey: "
                f"{_CITED}, {SIZE.name}, {SIZE.provenance}: ImageNet to LSUN Bedrooms at 64 px, with "
                "Inception's features. Their ratio is comparable with ours, their FIDs are not; no statistic here uses them."
            )
            figure, subject = figures.gain_by_size(ours, theirs, style), {"target_label": str(rows["target_label"].iloc[0])}
            panels.append(Panel.of(f"{family}: gain", caption, figure, subject=subject, paper=True))
    return panels


def gain_by_distance() -> list[Panel]:
    """Return the figure of the paper's four sources and four targets."""
    caption = (
        f"For comparison, {_CITED}: gains from {SOURCE_TARGET.name} ({SOURCE_TARGET.provenance}) by the distances of "
        f"{DISTANCE.name} ({DISTANCE.provenance}), fine-tuned at 64 px. Their distance is that of generated images in "
        "Inception's features, so it is not comparable with the axis of the other figures; no statistic here uses it."
    )
    title, figure = f"The paper's own ({figures.PAPER})", figures.paper_gain_by_distance(_points())
    return [Panel.of(title, caption, figure, min_width=340, paper=True)]


@cache
def _points() -> pd.DataFrame:
    """Return the gain by distance of each pair of the paper's sources and targets."""
    return tf.points(tf.with_distance(tf.transfer_gain(source_target_curves()), distances(), via="generator"))


def size_gains() -> pd.DataFrame:
    """Return the paper's gain by number of images: `size`, and `gain` (log2 ratio)."""
    fid = SIZE.frame().pivot(index="size", columns="strategy", values="fid")
    return pd.DataFrame({"size": fid.index, "gain": list(np.log2(fid[SCRATCH] / fid["finetune"]))})
