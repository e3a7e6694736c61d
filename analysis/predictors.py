"""Which kind of distance, known before the adaptation, foretells transfer best: pure functions of the tidy frames."""

from typing import get_args

import numpy as np
import pandas as pd

from analysis import transferability as tf

#: Kinds of distance in the store, and which way is nearer: -1 where less is, 1 where more is.
NEARER = {"fid": -1, "kid": -1, "precision": 1, "recall": 1, "density": 1, "coverage": 1}

_COLUMNS = ["kind", "via", "rho", "low", "high", "hits", "groups", "least", "most"]


def predictors(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Return how well each kind of distance orders the sources of a cell by their gain, best first.

    A group is one cell and strategy, at the cell's common step, with three sources or more; within it Spearman's rank
    correlation is taken between nearness and gain. Groups of one target share their sources and are not independent.

    Args:
        gains: `transferability.transfer_gain` in one embedding.
        distances: `Frames.distances`.

    Returns:
        One row per kind and `via` (``real`` images of the source, or its ``generator``'s) that has a value: `rho`, the mean
        over the groups (1: nearer always helped more; 0: no order; where all sources are as near, 0); `low` and `high`, the
        least and the greatest of a group; `hits`, groups whose nearest source was also the best; `groups`; `least` and
        `most` sources of a group.
    """
    gains = gains.drop(columns="distance", errors="ignore")
    rows = []
    for via in get_args(tf.Via):
        for kind, sign in NEARER.items():
            points = tf.points(tf.with_distance(gains, distances, kind, via))
            groups = [group for _, group in points.groupby(["cell", "strategy"], sort=False) if len(group) >= 3]
            if not groups:
                continue
            found = [_of_group(sign * group["distance"], group["gain"]) for group in groups]
            rhos, sizes = [rho for rho, _ in found], [len(group) for group in groups]
            spread = {"rho": float(np.mean(rhos)), "low": min(rhos), "high": max(rhos)}
            hits = sum(hit for _, hit in found)
            rows.append(
                {
                    "kind": kind,
                    "via": via,
                    **spread,
                    "hits": hits,
                    "groups": len(groups),
                    "least": min(sizes),
                    "most": max(sizes),
                }
            )
    found_rows = pd.DataFrame(rows, columns=_COLUMNS)
    return found_rows.sort_values(["rho", "hits"], ascending=False, kind="stable").reset_index(drop=True)


def _of_group(nearness: "pd.Series[float]", gain: "pd.Series[float]") -> tuple[float, bool]:
    """Return the rank correlation, and whether the nearest source alone was also the best."""
    rho = tf.spearman(nearness, gain)
    nearest = nearness.astype(float) == nearness.max()
    return 0.0 if rho is None else rho, bool(nearest.sum() == 1 and nearest.idxmax() == gain.astype(float).idxmax())
