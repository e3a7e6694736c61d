"""What following a rule would have gained on the store's own targets, each predicted from the others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.intervals import mean_and_margin, with_tests
from analysis.prediction.gain_model import FEWEST_TARGETS, Table, fit, nearness
from analysis.transfer import sources

#: Rules of choice, in the order of the table. The first two use the gains of source and strategy on the other targets.
CHOOSERS = {
    "recommended": "the recommended",
    "average": "the best on average",
    "nearest": "the nearest source",
    "largest": "the largest source",
    "random": "a random source",
}

_COLUMNS = ["chooser", "about", "gain", "low", "high", "behind", "behind_low", "behind_high", "p", "outcome", "targets", "step"]
_COLUMNS += ["estimated"]


def evaluate(points: pd.DataFrame) -> pd.DataFrame:
    """Return the gain of the recommender's choices and of simpler rules', each target being predicted from the others.

    A gain is that of the chosen start on the target that was left out, which the choice has not seen. The difference of two
    rules' gains is that of their regrets, whatever the best start is. p-values of the differences from the recommender are
    corrected by Holm's method.

    Returns:
        One row per rule of `CHOOSERS` that applies to every target: its mean `gain` (log2) over `targets` with Student's 95 %
        interval `low` to `high`; `behind`, the mean difference of the recommender's gain from it, paired by target, with its
        interval `behind_low` to `behind_high` at the level of the corrected test, `p` and `outcome`, none for the recommender;
        the final `step`, and the number of gains that were `estimated`. Empty below `FEWEST_TARGETS` targets.
    """
    table = choices(points)
    if len(table) < FEWEST_TARGETS:
        return pd.DataFrame(columns=_COLUMNS)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for name in [name for name in CHOOSERS if name in table and table[name].notna().all()]:
        mean, margin = mean_and_margin(table[name])
        row = {"chooser": name, "about": CHOOSERS[name], "gain": mean, "low": mean - margin, "high": mean + margin}
        rows.append(
            {**row, "targets": len(table), "step": int(points["step"].min()), "estimated": int(points["estimated"].sum())}
        )
        behind = table["recommended"] - table[name]
        numbers = {"value": float(behind.mean()), "error": float(behind.std()) / len(behind) ** 0.5, "freedom": len(behind) - 1}
        differences += [{"chooser": name, **numbers}] if name != "recommended" else []
    tests = with_tests(pd.DataFrame(differences, columns=["chooser", "value", "error", "freedom"]))
    tests = tests.rename(columns={"value": "behind", "low": "behind_low", "high": "behind_high"})
    merged = pd.DataFrame(rows).merge(tests.drop(columns=["error", "freedom"]), on="chooser", how="left")
    return merged[_COLUMNS]


def choices(points: pd.DataFrame) -> pd.DataFrame:
    """Return the gain (log2) of each rule's choice and of the `best` start, by target (rows); ties count with their mean.

    Rules that choose only a source use the strategy with the highest mean gain over the other targets. A rule that does not
    apply to a target has NaN there.
    """
    gains: dict[str, dict[str, float]] = {}
    tables = {str(strategy): Table.of(group) for strategy, group in points.groupby("strategy", sort=False)}
    for target, tried in points.groupby("target", sort=True):
        others = points[points["target"] != target]
        tried = tried[tried["strategy"].isin(others["strategy"])].set_index(["strategy", "source"])
        if len(tried) > 1:
            gains[str(target)] = _chosen(tried, others.groupby("strategy")["gain"].mean(), tables, str(target))
    return pd.DataFrame(gains).T


def _chosen(tried: pd.DataFrame, means: "pd.Series[float]", tables: "Mapping[str, Table]", target: str) -> dict[str, float]:
    """Return the gain on one target of the choice of each rule that applies to it.

    `tried` are the target's points by strategy and source, and `means` the mean gains on the other targets. The target is left
    out of the fits to `tables`.
    """
    gain = tried["gain"].astype(float)
    informed: dict[tuple[str, str], float] = {}
    plain: dict[tuple[str, str], float] = {}
    for strategy, rows in tried.groupby(level="strategy", sort=False):
        table = tables[str(strategy)]
        of_source = dict(zip(rows.index.get_level_values("source"), rows["distance"], strict=True))
        near = nearness([of_source.get(name, np.nan) for name in table.sources])
        keys = [(str(strategy), name) for name in table.sources]
        for predictions, data in ((informed, table), (plain, table.without_distance())):
            rest = data.without(target)
            predictions |= dict(zip(keys, fit(rest).predict(near), strict=True))
    best = float(gain.max())
    gains = {
        name: best - sources.regret(pd.Series([predictions[key] for key in gain.index]), gain)
        for name, predictions in (("recommended", informed), ("average", plain))
    }
    best_strategy = str(means.reindex(gain.index.get_level_values("strategy").unique()).idxmax())
    among = tried.xs(best_strategy, level="strategy")
    highest = float(among["gain"].max())
    if among["distance"].notna().all():
        gains["nearest"] = highest - sources.regret(-among["distance"], among["gain"])
    if among["images"].notna().all() and among["images"].nunique() > 1:
        gains["largest"] = highest - sources.regret(among["images"], among["gain"])
    return {**gains, "random": float(among["gain"].mean()), "best": best}
