"""The gain of every source and strategy at the final step, estimated for those that were stopped before it.

The survivors of early stopping were chosen by their gains, so their mean final gain overstates what the method gains on another
target. What they were chosen by is measured for all: the early gain. A stopped method's final gain is therefore estimated by a
regression of final on early gains over the methods that have both, with one slope, and a constant for each strategy.
"""

import numpy as np
import pandas as pd

from analysis.transfer import transferability as tf

_METHOD = ["cell", "strategy", "source"]


def final_points(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the final gains of `transfer_gain` as `transferability.points`, with those of stopped methods estimated.

    The column `estimated` says which are. Methods that lost a seed have no row.
    """
    final = tf.points(gains, "final").assign(estimated=False)
    early = tf.points(gains, "first")
    if len(final) == 0 or "status" not in gains:
        return final
    ended = gains[gains["status"].isin(["done", "diverged"])]
    known, dropped = (pd.MultiIndex.from_frame(rows[_METHOD]) for rows in (final, ended))
    keys = pd.MultiIndex.from_frame(early[_METHOD])
    stopped = early[~keys.isin(known) & ~keys.isin(dropped)]
    both = final.merge(early[[*_METHOD, "gain"]], on=_METHOD, suffixes=("", "_early"))
    if len(stopped) == 0 or len(both) == 0:
        return final
    slope, constants, overall = _regression(both)
    estimated = stopped["strategy"].map(constants).fillna(overall).astype(float) + slope * stopped["gain"].astype(float)
    step = stopped["cell"].map(final.groupby("cell")["step"].max()).fillna(final["step"].max()).astype(int)
    return pd.concat([final, stopped.assign(gain=estimated, step=step, estimated=True)], ignore_index=True)


def _regression(both: pd.DataFrame) -> tuple[float, "pd.Series[float]", float]:
    """Return the slope of final on early gains, the constant of each strategy, and that over all strategies.

    The slope is one of within strategies, between 0 (the early gain says nothing) and 1.
    """
    values = both[["gain_early", "gain"]].astype(float)
    means = values.groupby(both["strategy"]).mean()
    centred = values - values.groupby(both["strategy"]).transform("mean")
    square = float((centred["gain_early"] ** 2).sum())
    slope = float((centred["gain_early"] * centred["gain"]).sum()) / square if square > 1e-12 else 1.0
    slope = float(np.clip(slope, 0, 1))
    constants = means["gain"] - slope * means["gain_early"]
    return slope, constants, float((values["gain"] - slope * values["gain_early"]).mean())
