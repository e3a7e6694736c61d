"""Which kind of distance, known before the adaptation, foretells transfer best: pure functions of the tidy frames."""

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


def predictors(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Return how well each kind of distance orders the sources of a cell by their gain, best first.

    A group is one cell and strategy, at the cell's common step, with three sources or more; within it Spearman's rank
    correlation is taken between nearness and gain. Groups of one target share their sources and are not independent: so
    intervals are by bootstrap over targets, whole, or over seeds where there is one target (`over`; they then hold for that
    target alone), and p-values by permuting each target's sources.

    Args:
        gains: `transferability.transfer_gain` in one embedding.
        distances: `Frames.distances`.

    Returns:
        One row per kind and `via` (``real`` images of the source, or its ``generator``'s) that has a value: `rho`, the mean
        over the groups (1: nearer always helped more; 0: no order; where all sources are as near, 0), with its 95 % interval
        `interval_low` to `interval_high` (NaN for one target and one seed, or where all agree); `low` and `high`, the least
        and the greatest of a group; `pooled`, the correlation over all points of all targets, and its interval; `p`, that as
        strong an order were chance, and `p_holm`, corrected for the number of rows; `hits`, groups whose nearest source was
        also the best; `regret`, what to start from the nearest source costs (log2, mean over the groups), and `chance`, what
        to start from one at random does; `groups`; `least` and `most` sources of a group; `targets`.
    """
    gains = gains[gains["at"] == "common"].drop(columns="distance", errors="ignore")
    measured = set(zip(distances["kind"], distances["trial"].isna(), strict=True))
    rows = []
    for via in get_args(tf.Via):
        for metric in distance_metrics():
            kind = metric.name
            if (kind, via == "real") not in measured:
                continue
            seeds = tf.with_distance(gains, distances, kind, via)
            points = tf.points(seeds)
            if len(points):
                points = points[points.groupby(["cell", "strategy"])["source"].transform("size") >= 3]
            if len(points):
                points = points.assign(nearness=metric.sign * points["distance"].astype(float))
                rows.append({"kind": kind, "via": via, **_of_kind(points, seeds)})
    found = pd.DataFrame(rows, columns=_COLUMNS)
    found["p_holm"] = holm(found["p"].astype(float))
    return found.sort_values(["rho", "hits"], ascending=False, kind="stable").reset_index(drop=True)


def _of_kind(points: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Any]:
    groups = [group for _, group in points.groupby(["cell", "strategy"], sort=False)]
    rhos = np.array([tf.spearman(group["nearness"], group["gain"]) or 0.0 for group in groups])
    sizes = [len(group) for group in groups]
    owners = [group["target"].iloc[0] for group in groups]
    rho, pooled = float(rhos.mean()), tf.spearman(points["nearness"], points["gain"])
    over, clusters, draws, pooled_draws = _bootstrap(points, seeds, rhos, owners)
    within = resampling.interval(rho, draws, clusters)
    across = resampling.interval(pooled, pooled_draws, clusters) if pooled is not None else (np.nan, np.nan)
    return {
        "rho": rho, "low": rhos.min(), "high": rhos.max(), "interval_low": within[0], "interval_high": within[1], "over": over,
        "pooled": np.nan if pooled is None else pooled, "pooled_low": across[0], "pooled_high": across[1],
        "p": resampling.permutation_p(_blocks(points)), "hits": sum(map(_hit, groups)),
        "regret": float(np.mean([sources.regret(group["nearness"], group["gain"]) for group in groups])),
        "chance": float(np.mean([sources.regret_of_chance(group["gain"]) for group in groups])),
        "groups": len(groups), "least": min(sizes), "most": max(sizes), "targets": len(set(owners)),
    }  # fmt: skip


def _bootstrap(
    points: pd.DataFrame, seeds: pd.DataFrame, rhos: np.ndarray, owners: list[str]
) -> tuple[str, int, np.ndarray, np.ndarray]:
    """Return over what it goes, how many of these there are, and draws of the mean and of the pooled correlation."""
    nearness = points["nearness"].to_numpy(float)
    targets = sorted(set(owners))
    if len(targets) > 1:
        counts = resampling.cluster_counts(len(targets))
        weights = counts[:, [targets.index(owner) for owner in owners]]
        of_points = counts[:, [targets.index(target) for target in points["target"]]]
        pooled = resampling.weighted_spearman(nearness, points["gain"].to_numpy(float), of_points)
        return "targets", len(targets), (weights * rhos).sum(axis=1) / weights.sum(axis=1), pooled
    by = ["cell", "strategy", "source"]
    table = seeds.pivot_table(index=by, columns="seed", values="gain").reindex(pd.MultiIndex.from_frame(points[by]))
    table = table.dropna(axis=1)  # a seed that some lack would shift those that have it against the others
    if table.shape[1] < 2:
        return "", table.shape[1], np.empty(0), np.empty(0)
    counts = resampling.cluster_counts(table.shape[1], resampling.DRAWS // 4)
    drawn = counts @ table.to_numpy().T / table.shape[1]  # (draws, points)
    means = np.zeros(len(counts))
    numbers = points.groupby(["cell", "strategy"], sort=False).ngroup().to_numpy()
    for number in range(len(rhos)):
        own = numbers == number
        means += resampling.row_spearman(drawn[:, own], nearness[None, own])[:, 0] / len(rhos)
    return "seeds", table.shape[1], means, resampling.row_spearman(drawn, nearness[None])[:, 0]


def _blocks(points: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, per target (and resolution, as distances depend on it), the nearness of its sources and its groups' gains."""
    blocks = []
    for _, own in points.groupby(["target", "resolution"], sort=False):
        source, group = pd.factorize(own["source"])[0], own.groupby(["cell", "strategy"]).ngroup().to_numpy()
        gains, nearness = np.full((group.max() + 1, source.max() + 1), np.nan), np.zeros(source.max() + 1)
        gains[group, source] = own["gain"]
        nearness[source] = own["nearness"]
        blocks.append((nearness, gains))
    return blocks


def _hit(group: pd.DataFrame) -> bool:
    """Say whether the nearest source, alone, was also the best."""
    nearest = group["nearness"] == group["nearness"].max()
    return bool(nearest.sum() == 1 and group["nearness"].idxmax() == group["gain"].astype(float).idxmax())
