"""Replays stopping rules over cells that ran without stopping: the compute saved, and the conclusions changed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.driver.stopping import Action, Curve, judge
from bench.store import Store
from bench.store.schema import by_step
from bench.sweeps.spec import StoppingConfig
from trainers.common.errors import UserError

#: Shares of methods kept at a rung, compared by `audit`.
SHARES = (0.25, 0.33, 0.5, 0.67, 0.75)


@dataclass(frozen=True)
class Replay:
    """One cell under other stopping rules.

    Attributes:
        stopped: number of trials that would have stopped before their budget.
        saved: share of the generator steps that would not have been taken.
        winner: strategy and source with the lowest mean at the budget.
        same_winner: whether the winner would have been the same.
        source_order: Spearman's correlation of the order of the sources, by the best trial of each, with and without stopping;
            None for fewer than three sources, or if all are equal.
    """

    cell: str
    target: str
    size: int
    conditional: bool
    trials: int
    stopped: int
    saved: float
    winner: str
    same_winner: bool
    source_order: float | None


def replay(store: Store, sweep: str | None, rule: StoppingConfig) -> tuple[list[Replay], int]:
    """Return the replay of every cell that ran without stopping, and the number of cells left out.

    A cell is left out if one of its trials was stopped, failed, is blocked or has not ended, because its further values are
    unknown, or if its tuned strategies have different budgets.

    Args:
        store: the store with the trials.
        sweep: only the trials that this sweep recorded; None for all.
        rule: the settings of the rules; the metric must have been measured.

    Raises:
        UserError: there is no cell to replay.
    """
    cells, left_out = _whole_cells(store, sweep, rule.metric)
    if not cells:
        raise UserError(
            f"there is no cell to replay in store {store.uri!r}: {left_out} were stopped early or have not ended; "
            "run the sweep with --set stopping.rule=none"
        )
    return [_replay(cell, rule) for cell in cells], left_out


def summary(replays: list[Replay], rule: StoppingConfig, left_out: int) -> dict[str, Any]:
    """Return totals and means over all cells, and the replay of each cell, as plain data."""
    orders = [cell.source_order for cell in replays if cell.source_order is not None]
    return {
        "rule": rule.model_dump(mode="json"),
        "cells": len(replays),
        "left_out": left_out,
        "steps_saved": float(np.average([cell.saved for cell in replays], weights=[cell.trials for cell in replays])),
        "same_winner": sum(cell.same_winner for cell in replays),
        "source_order": float(np.mean(orders)) if orders else None,
        "by_cell": [asdict(cell) for cell in replays],
    }


def audit(store: Store, sweep: str | None) -> pd.DataFrame:
    """Return what halving would have saved and changed in the cells that ran without stopping, for several shares kept.

    Returns:
        a row per share: `keep`, `cells`, `saved` (share of the adapt steps), `same_winner` (cells), `source_order` (mean rank
        correlation, NaN if no cell has three sources). Empty if the store has no such cell.
    """
    cells, left_out = _whole_cells(store, sweep, "fid")
    rows = []
    for keep in SHARES if cells else ():
        rule = StoppingConfig(keep=keep)
        total = summary([_replay(cell, rule) for cell in cells], rule, left_out)
        rows.append((keep, total["cells"], total["steps_saved"], total["same_winner"], total["source_order"]))
    return pd.DataFrame(rows, columns=["keep", "cells", "saved", "same_winner", "source_order"])


@dataclass(frozen=True)
class _Cell:
    """A cell without stopped trials: its key, its rows of table `trials`, and values and diversity by trial and step."""

    key: str
    trials: pd.DataFrame
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]]


def _whole_cells(store: Store, sweep: str | None, metric: str) -> tuple[list[_Cell], int]:
    """Return the cells without stopped or open trials, by target, and the number of other cells."""
    trials = store.read("trials")
    trials = trials[trials["kind"] == "adapt"]
    if sweep is not None:
        trials = trials[trials["sweep"] == sweep]
    measured = store.read("measurements")
    measured = measured[measured["step"] > 0]
    values, diversity = by_step(measured, metric, ()), by_step(measured, "diversity", ())
    unfinished = _unfinished_cells(store, sweep, set(trials["key"]))
    cells, left_out = [], len(unfinished - set(trials["cell"]))
    for (_, _, _, cell), rows in trials.groupby(["target", "conditional", "size", "cell"]):
        whole = rows["status"].isin(["done", "diverged"]).all() and cell not in unfinished and rows["budget"].nunique() <= 1
        ends = zip(rows["key"], rows["status"], strict=True)
        if whole and all(key in values or status == "diverged" for key, status in ends):
            cells.append(_Cell(str(cell), rows, values, diversity))
        else:
            left_out += 1
    return cells, left_out


def _unfinished_cells(store: Store, sweep: str | None, recorded: set[str]) -> set[str]:
    """Return the keys of the cells in which a planned trial has no outcome yet."""
    plans = [plan for name, plan in store.read_sweeps().items() if sweep is None or name == sweep]
    rows = [row for plan in plans for row in plan["trials"] if row["kind"] == "adapt"]
    return {row["cell"] for row in rows if row["key"] not in recorded}


def _replay(cell: _Cell, rule: StoppingConfig) -> Replay:
    trials, values = cell.trials, cell.values
    rungs = sorted({step for key in trials["key"] for step in values.get(key, {})})
    curves = [
        Curve(
            row["key"],
            row["strategy"],
            values.get(row["key"], {}),
            diverged=row["status"] == "diverged",
            diversity=cell.diversity.get(row["key"], {}),
            method=f"{row['strategy']} {row['source']}",
        )
        for row in trials.to_dict("records")
    ]
    verdicts = judge(curves, rungs, rule, cell.key)
    taken = dict(zip(trials["key"], trials["steps"].astype(int), strict=True))
    ends = {
        key: min(taken[key], verdict.rung) if verdict.action is Action.STOP and verdict.rung else taken[key]
        for key, verdict in verdicts.items()
    }
    before, after = _methods(trials, values, taken), _methods(trials, values, ends)
    first = trials.iloc[0]
    return Replay(
        cell=cell.key,
        target=str(first["target"]),
        size=int(first["size"]),
        conditional=bool(first["conditional"]),
        trials=len(trials),
        stopped=sum(ends[key] < taken[key] for key in ends),
        saved=1 - sum(ends.values()) / sum(taken.values()) if any(taken.values()) else 0.0,
        winner=before[0],
        same_winner=before[0] == after[0],
        source_order=_order(trials, values, taken, ends),
    )


def _methods(trials: pd.DataFrame, values: dict[str, dict[int, float]], ends: dict[str, int]) -> list[str]:
    """Return strategy and source of every method, best first: by the last step of its furthest seed, then by the mean there."""
    ranked = []
    for names, group in trials.assign(source=trials["source"].fillna("")).groupby(["strategy", "source"], sort=False):
        strategy, source = (str(name) for name in names)
        reached = max(ends[key] for key in group["key"])
        last = [values.get(key, {}).get(reached, np.inf) for key in group["key"] if ends[key] == reached]
        ranked.append((-reached, float(np.mean(last)), f"{strategy} from {source}" if source else strategy))
    return [name for *_, name in sorted(ranked)]


def _order(
    trials: pd.DataFrame, values: dict[str, dict[int, float]], taken: dict[str, int], ends: dict[str, int]
) -> float | None:
    """Return the rank correlation of the sources' order with and without stopping; see `Replay.source_order`."""
    sources = list(trials["source"].dropna().unique())
    if len(sources) < 3:
        return None
    places = []
    for until in (taken, ends):
        best = {source: min(_merit(trials[trials["source"] == source], values, until)) for source in sources}
        places.append([sorted(best.values()).index(best[source]) for source in sources])
    if any(len(set(ranks)) < 2 for ranks in places):
        return None  # all sources are equal, or all trials diverged at the start
    return float(stats.spearmanr(*places).statistic)


def _merit(trials: pd.DataFrame, values: dict[str, dict[int, float]], ends: dict[str, int]) -> Iterator[tuple[int, float]]:
    """Yield for each trial its last step, negative so that the furthest sorts first, and its value there."""
    for key in trials["key"]:
        yield -ends[key], values.get(key, {}).get(ends[key], np.inf)
