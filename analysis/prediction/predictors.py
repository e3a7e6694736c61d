"""Comparison of the kinds of distance and of other numbers known before adaptation as predictors of the transfer gain."""

from collections.abc import Hashable
from typing import Any, get_args

import numpy as np
import pandas as pd

from analysis.claims import COLUMNS, LEVEL, outcome
from analysis.prediction import resampling
from analysis.transfer import sources
from analysis.transfer import transferability as tf
from analysis.transfer.steps import compared, step_of
from trainers.config.metrics import distances as distance_metrics
from trainers.config.predictors import PREDICTORS

_COLUMNS = ["kind", "via", "rho", "low", "high", "p", "outcome", "regret", "chance", "groups", "sources", "targets", "seeds"]
_COLUMNS += ["step", "early"]
_FEWEST = 3  # sources of a group

_Blocks = list[tuple[np.ndarray, np.ndarray]]


def compare_predictors(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Return how well each kind of distance, and each other predictor, orders the sources of a cell by their gain, best first.

    A group is one cell and strategy with at least three sources; within it Spearman's rank correlation of nearness with gain is
    computed, at the step of `steps.compared`. p-values are from permutations of the sources' labels, the same for all targets,
    as the sources are what is independent. They are corrected for all rows by comparing each correlation with the largest of
    all rows under the same permutation (Westfall & Young 1993). All gains have one embedding.

    Returns:
        One row per kind and `via` (``real`` images of the source, or samples of its ``generator``) with values: `rho`, the mean
        over groups (1: nearer always helped more; 0: no order, or all sources equally near), with its conservative 95 %
        interval `low` to `high`; `p`, corrected, and `outcome`; not testable if no order of the sources has a p below
        `claims.LEVEL`; `regret` of starting from the nearest source (log2, mean over groups) and `chance`, that of a random
        one, both against the source that other seeds choose (NaN with one seed); `groups`; `sources`, those with a distance to
        every target; `targets`; `seeds`; `step` and `early` of the gains.
    """
    gains = compared(gains)
    distances = distances[distances["embedding"].isin(gains["embedding"]) & distances["source"].isin(gains["source"])]
    rows: list[dict[str, Any]] = []
    blocks: list[tuple[_Blocks, list[str]]] = []
    signs = {**{metric.name: metric.sign for metric in distance_metrics()}, **dict.fromkeys(PREDICTORS, -1)}
    for via in get_args(tf.Via):
        for kind, sign in signs.items():
            chosen = distances[(distances["kind"] == kind) & (distances["trial"].isna() == (via == "real"))]
            if chosen.empty:
                continue
            nearness = sign * _table(chosen, gains)
            of_kind = gains[gains["source"].isin(nearness.columns)]
            ends = pd.MultiIndex.from_frame(of_kind[["target", "resolution"]])
            of_kind = of_kind[ends.isin(nearness.index)]
            of_kind = of_kind[of_kind.groupby(["cell", "strategy"])["source"].transform("nunique") >= _FEWEST]
            if len(of_kind):
                rows.append({"kind": kind, "via": via, **_numbers(of_kind, nearness)})
                blocks.append(_blocks(of_kind, nearness))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table[["rho", "low", "high", "p"]] = np.array(_tests(blocks), float).reshape(-1, 4)
    table["outcome"] = outcome(table["p"])
    return table.sort_values("rho", ascending=False, kind="stable").reset_index(drop=True)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `compare_predictors` as claims."""
    return table.assign(
        kind="predictor", cell=None, subject=table["kind"] + " via " + table["via"], versus="gain", value=table["rho"],
        simultaneous=True,  # conservative: see `compare_predictors`
    )[COLUMNS]  # fmt: skip


def _table(distances: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """Return the distances by target and resolution (rows) and source, of the sources with a distance to every such target."""
    table = distances.pivot_table(index=["target", "resolution"], columns="source", values="value")
    kept: pd.DataFrame = table[table.index.isin(pd.MultiIndex.from_frame(gains[["target", "resolution"]]))].dropna(axis=1)
    return kept


def _numbers(gains: pd.DataFrame, nearness: pd.DataFrame) -> dict[str, Any]:
    """Return what a kind's statistics are based on, and its regrets."""
    table = gains.pivot_table(index=["target", "resolution", "cell", "strategy", "seed"], columns="source", values="gain")
    near, regrets = _by_end(nearness.reindex(columns=table.columns)), []
    for (*end, _, _), group in table.groupby(level=table.index.names[:-1]):
        seeds = group.to_numpy(float)
        tried = np.isfinite(seeds).any(axis=0)
        regrets.append(sources.regrets_of_nearest(seeds[:, tried], near[tuple(end)][tried]))
    regret, chance = np.array(regrets, float).mean(axis=0)
    return {
        "regret": regret, "chance": chance, "groups": len(regrets), "sources": gains["source"].nunique(),
        "targets": gains["target"].nunique(), "step": step_of(gains), "early": bool(gains["early"].any()),
        "seeds": int(gains.groupby(["cell", "strategy", "source"]).size().min()),
    }  # fmt: skip


def _blocks(gains: pd.DataFrame, nearness: pd.DataFrame) -> tuple[_Blocks, list[str]]:
    """Return the blocks of `resampling.mean_correlations`, one per target and resolution, and the names of the sources."""
    ends = ["target", "resolution"]
    table = gains.pivot_table(index=[*ends, "cell", "strategy"], columns="source", values="gain")
    near = _by_end(nearness[table.columns])
    blocks = [(near[end], rows.to_numpy(float)) for end, rows in table.groupby(level=ends)]
    return blocks, list(table.columns)


def _by_end(nearness: pd.DataFrame) -> dict[Hashable, np.ndarray]:
    """Return the nearness of the sources, (sources,), by target and resolution."""
    return dict(zip(nearness.index, nearness.to_numpy(float), strict=True))


def _tests(blocks: list[tuple[_Blocks, list[str]]]) -> list[tuple[float, ...]]:
    """Return (rho, low, high, p) of each kind; p is NaN if no order of the sources could have one below the level."""
    names = sorted({name for _, of_kind in blocks for name in of_kind})
    keys = np.argsort(resampling.orders(len(names)), axis=1)
    permuted = []
    for of_kind, sources_of_kind in blocks:
        places = [names.index(name) for name in sources_of_kind]
        permuted.append(resampling.mean_correlations(of_kind, np.argsort(keys[:, places], axis=1)))
    largest = np.abs(permuted).max(axis=0, initial=0)
    tests: list[tuple[float, ...]] = []
    for rhos, (_, sources_of_kind) in zip(permuted, blocks, strict=True):
        strength = np.abs(rhos)
        smallest, p = ((largest >= value - 1e-9).mean() for value in (strength.max(), strength[0]))
        tested = float(p) if smallest < LEVEL else np.nan
        tests.append((float(rhos[0]), *resampling.interval(rhos, len(sources_of_kind)), tested))
    return tests
