"""The step at which sources are compared with each other.

Under early stopping most methods end before the budget, so at a cell's final step only a few sources of a strategy are left.
Whatever compares sources (their order by distance, the mixed model, the knobs, the means over targets) then uses the **early
gains** at the first rung, where every source is measured, and says so. In 60 simulated sweeps (five sources, four targets,
halving) a distance that mattered was told apart in 65 % by early gains, and in none by the final gains of the survivors.
"""

import pandas as pd

from analysis.transfer import transferability as tf
from analysis.words import span


def compared(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `transfer_gain` by which sources are compared, with the column `early`.

    These are the final gains of the cells where no method was stopped before the final step, if that is at least half of the
    cells. Otherwise they are the early gains, at the first rung, of all cells.
    """
    first, final = gains[gains["at"] == "first"], gains[gains["at"] == "final"]
    if "status" in first:
        first = first[first["status"] != "diverged"]
    method = ["cell", "strategy", "source"]
    tried = pd.MultiIndex.from_frame(first[method])
    stopped = set(first.loc[~tried.isin(pd.MultiIndex.from_frame(final[method])), "cell"])
    whole = set(final["cell"]) - stopped
    if final["cell"].nunique() and 2 * len(whole) >= len(set(first["cell"]) | set(final["cell"])):
        return final[final["cell"].isin(whole)].assign(early=False)
    return gains[gains["at"] == "first"].assign(early=True)


def compared_points(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the means over seeds of `compared`, as `transferability.points`, with the column `early`.

    `distance` is NaN if the gains have none.
    """
    rows = compared(gains if "distance" in gains else gains.assign(distance=float("nan")))
    early = bool(rows["early"].any())
    return tf.points(rows, "first" if early else "final").assign(early=early)


def step_of(points: pd.DataFrame) -> int:
    """Return the smallest step of points."""
    return int(points["step"].min())


def gain_at(rows: pd.DataFrame) -> str:
    """Return the gain of statistics with the columns `step` and `early` in words, e.g. ``early gain at step 50``."""
    return f"{'early ' if bool(rows['early'].any()) else ''}gain at step {span(rows['step'])}"
