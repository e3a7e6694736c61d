"""Comparison of the kinds of distance, all known before adaptation, as predictors of the transfer gain."""

from typing import Any, get_args

import numpy as np
import pandas as pd

from analysis.prediction import resampling
from analysis.transfer import sources
from analysis.transfer import transferability as tf
from analysis.transfer.significance import holm
from trainers.config.metrics import distances as distance_metrics

_COLUMNS = ["kind", "via", "rho", "low", "high", "interval_low", "interval_high", "over", "pooled", "pooled_low", "pooled_high"]
_COLUMNS += ["p", "p_holm", "hits", "regret", "chance", "groups", "least", "most", "targets"]


def compare_predictors(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Return how well each kind of distance orders the sources of a cell by their gain, best first.

    A group is one cell and strategy with at least three sources, at the cell's common step; within it Spearman's rank
    correlation of nearness with gain is computed. Groups of one target share their sources and are not independent. Intervals
    are therefore from a bootstrap over whole targets, or with one target over seeds (`over`; they then hold for that target
    only), and p-values from permuting each target's sources. All gains have one embedding.

    Returns:
        One row per kind and `via` (``real`` images of the source, or samples of its ``generator``) with values: `rho`, the mean
        over groups (1: nearer always helped more; 0: no order, or all sources equally near), with its 95 % interval
        `interval_low` to `interval_high` (NaN for one target and one seed, or if all groups agree); `low` and `high`, the
        minimum and maximum over groups; `pooled`, the correlation over the points of all targets, with its interval; `p` under
        the null hypothesis of no association, and `p_holm`, corrected for the number of rows; `hits`, the number of groups
        whose nearest source was the best; `regret` of starting from the nearest source (log2, mean over groups) and `chance`,
        that of a random one; `groups`; `least` and `most` sources of a group; `targets`.
    """
    gains = gains[gains["at"] == "final"].drop(columns="distance", errors="ignore")
    available = set(zip(distances["kind"], distances["trial"].isna(), strict=True))
    rows = []
    for via in get_args(tf.Via):
        for metric in distance_metrics():
            kind = metric.name
            if (kind, via == "real") not in available:
                continue
            seeds = tf.with_distance(gains, distances, kind, via)
            points = tf.points(seeds)
            if len(points):
                points = points[points.groupby(["cell", "strategy"])["source"].transform("size") >= 3]
            if len(points):
                points = points.assign(nearness=metric.sign * points["distance"].astype(float))
                rows.append({"kind": kind, "via": via, **_statistics(points, seeds)})
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_holm"] = holm(table["p"].astype(float))
    return table.sort_values(["rho", "hits"], ascending=False, kind="stable").reset_index(drop=True)


def _statistics(points: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Any]:
    """Return the statistics of one kind of distance, from mean gains (`points`) and the gains of all seeds."""
    groups = [group for _, group in points.groupby(["cell", "strategy"], sort=False)]
    rhos = np.array([tf.spearman(group["nearness"], group["gain"]) or 0.0 for group in groups])
    sizes = [len(group) for group in groups]
    targets_of_groups = [group["target"].iloc[0] for group in groups]
    rho, pooled = float(rhos.mean()), tf.spearman(points["nearness"], points["gain"])
    over, clusters, draws, pooled_draws = _bootstrap(points, seeds, rhos, targets_of_groups)
    within = resampling.interval(rho, draws, clusters)
    across = resampling.interval(pooled, pooled_draws, clusters) if pooled is not None else (np.nan, np.nan)
    return {
        "rho": rho, "low": rhos.min(), "high": rhos.max(), "interval_low": within[0], "interval_high": within[1], "over": over,
        "pooled": np.nan if pooled is None else pooled, "pooled_low": across[0], "pooled_high": across[1],
        "p": resampling.permutation_p(_blocks(points)), "hits": sum(map(_hit, groups)),
        "regret": float(np.mean([sources.regret(group["nearness"], group["gain"]) for group in groups])),
        "chance": float(np.mean([sources.regret_of_chance(group["gain"]) for group in groups])),
        "groups": len(groups), "least": min(sizes), "most": max(sizes), "targets": len(set(targets_of_groups)),
    }  # fmt: skip


def _bootstrap(
    points: pd.DataFrame, seeds: pd.DataFrame, rhos: np.ndarray, targets_of_groups: list[str]
) -> tuple[str, int, np.ndarray, np.ndarray]:
    """Return the unit that is resampled, the number of units, and draws of the mean and of the pooled correlation."""
    nearness = points["nearness"].to_numpy(float)
    targets = sorted(set(targets_of_groups))
    if len(targets) > 1:
        counts = resampling.cluster_counts(len(targets))
        weights = counts[:, [targets.index(target) for target in targets_of_groups]]
        of_points = counts[:, [targets.index(target) for target in points["target"]]]
        pooled = resampling.weighted_spearman(nearness, points["gain"].to_numpy(float), of_points)
        return "targets", len(targets), (weights * rhos).sum(axis=1) / weights.sum(axis=1), pooled
    by = ["cell", "strategy", "source"]
    table = seeds.pivot_table(index=by, columns="seed", values="gain").reindex(pd.MultiIndex.from_frame(points[by]))
    table = table.dropna(axis=1)  # a seed that only some sources have would shift these against the others
    if table.shape[1] < 2:
        return "", table.shape[1], np.empty(0), np.empty(0)
    counts = resampling.cluster_counts(table.shape[1], resampling.DRAWS // 4)
    drawn = counts @ table.to_numpy().T / table.shape[1]  # (draws, points)
    means = np.zeros(len(counts))
    numbers = points.groupby(["cell", "strategy"], sort=False).ngroup().to_numpy()
    for number in range(len(rhos)):
        group = numbers == number
        means += resampling.row_spearman(drawn[:, group], nearness[None, group])[:, 0] / len(rhos)
    return "seeds", table.shape[1], means, resampling.row_spearman(drawn, nearness[None])[:, 0]


def _blocks(points: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the blocks of `permutation_p`, one per target and resolution (distances depend on the resolution)."""
    blocks = []
    for _, rows in points.groupby(["target", "resolution"], sort=False):
        source, group = pd.factorize(rows["source"])[0], rows.groupby(["cell", "strategy"]).ngroup().to_numpy()
        gains, nearness = np.full((group.max() + 1, source.max() + 1), np.nan), np.zeros(source.max() + 1)
        gains[group, source] = rows["gain"]
        nearness[source] = rows["nearness"]
        blocks.append((nearness, gains))
    return blocks


def _hit(group: pd.DataFrame) -> bool:
    """Return whether the nearest source, without ties, was also the best."""
    nearest = group["nearness"] == group["nearness"].max()
    return bool(nearest.sum() == 1 and group["nearness"].idxmax() == group["gain"].astype(float).idxmax())
