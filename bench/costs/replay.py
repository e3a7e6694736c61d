"""Replays stopping rules over cells that ran without stopping: the compute saved, and the conclusions changed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.driver.choice import average
from bench.driver.results import after_start
from bench.driver.stopping import FEWEST_SEEDS, Action, Curve, judge
from bench.store import Store, columns
from bench.store.plans import given_names
from bench.store.schema import by_step
from bench.sweeps.spec import StoppingConfig
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.sources import renamed

if TYPE_CHECKING:
    import pandas as pd

#: Shares of methods kept at a rung, compared by `audit`.
SHARES = (0.25, 0.33, 0.5, 0.67, 0.75)


@dataclass(frozen=True)
class Replay:
    """One cell under other stopping rules.

    Attributes:
        stopped: number of trials that would have stopped before their budget.
        saved: share of the generator steps that would not have been taken.
        winner: strategy and source with the lowest mean of its seeds at the budget; see `average`.
        same_winner: whether the winner would have been the same, among the methods of which two seeds (all of fewer) would have
            reached the budget.
        source_order: Spearman's correlation of the order of the sources, by the best method of each, with and without stopping;
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
            f"there is no cell to replay in store {store.uri!r}: {counted(left_out, 'cell')} with trials that "
            "were stopped early, have not ended or went further than others; "
            "run the sweep with --set stopping.rule=none"
        )
    given = given_names(store)
    return [_replay(cell, rule, given) for cell in cells], left_out


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


def audit(store: Store, sweep: str | None) -> "pd.DataFrame":
    """Return what halving would have saved and changed in the cells that ran without stopping, for several shares kept.

    Returns:
        a row per share: `keep`, `cells`, `saved` (share of the adapt steps), `same_winner` (cells), `source_order` (mean rank
        correlation, NaN if no cell has three sources). Empty if the store has no such cell.
    """
    cells, left_out = _whole_cells(store, sweep, "fid")
    rows = []
    for keep in SHARES if cells else ():
        rule = StoppingConfig(keep=keep)
        total = summary([_replay(cell, rule, {}) for cell in cells], rule, left_out)
        rows.append((keep, total["cells"], total["steps_saved"], total["same_winner"], total["source_order"]))
    import pandas as pd

    return pd.DataFrame(rows, columns=["keep", "cells", "saved", "same_winner", "source_order"])


@dataclass(frozen=True)
class _Cell:
    """A cell without stopped trials: its key, its rows of table `trials`, and values and diversity by trial and step."""

    key: str
    trials: "pd.DataFrame"
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]]


def _whole_cells(store: Store, sweep: str | None, metric: str) -> tuple[list[_Cell], int]:
    """Return the cells without stopped or open trials, by target, and the number of other cells."""
    trials = store.read("trials")
    trials = trials[trials["kind"] == "adapt"]
    if sweep is not None:
        trials = trials[trials["sweep"] == sweep]
    measured = after_start(store.rows("measurements"))
    of_view, views = columns.coded(measured["view"])
    in_views = {view: columns.kept(measured, of_view == number) for number, view in enumerate(views)}
    by_view = {view: (by_step(rows, metric, ()), by_step(rows, "diversity", ())) for view, rows in in_views.items()} or {
        "": ({}, {})
    }
    unfinished = _unfinished_cells(store, sweep, set(trials["key"]))
    cells, left_out = [], len(unfinished - set(trials["cell"]))
    for (_, _, _, cell), rows in trials.groupby(["target", "conditional", "size", "cell"]):
        values, diversity = by_view[_common_view(rows["key"], by_view)]
        whole = rows["status"].isin(["done", "diverged"]).all() and cell not in unfinished and rows["budget"].nunique() <= 1
        ends = zip(rows["key"], rows["status"], strict=True)
        if whole and all(key in values or status == "diverged" for key, status in ends):
            cells.append(_Cell(str(cell), rows, values, diversity))
        else:
            left_out += 1
    return cells, left_out


#: The values of a metric, and the diversity, by trial and step.
_Values = tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]


def _common_view(keys: Iterable[str], by_view: Mapping[str, _Values]) -> str:
    """Return the view in which most of some trials are measured: values of different views are never compared."""
    return max(sorted(by_view), key=lambda view: sum(key in by_view[view][0] for key in keys))


def _unfinished_cells(store: Store, sweep: str | None, recorded: set[str]) -> set[str]:
    """Return the keys of the cells in which a planned trial has no outcome yet."""
    plans = [plan for name, plan in store.read_sweeps().items() if sweep is None or name == sweep]
    rows = [row for plan in plans for row in plan["trials"] if row["kind"] == "adapt"]
    return {row["cell"] for row in rows if row["key"] not in recorded}


def _replay(cell: _Cell, rule: StoppingConfig, given: Mapping[str, str]) -> Replay:
    """Return the replay of a cell; `given` are names to show for domains."""
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
    stops = {key: verdict.rung for key, verdict in verdicts.items() if verdict.action is Action.STOP and verdict.rung}
    ends = {key: min(steps, stops.get(key, steps)) for key, steps in taken.items()}
    before, after = _standings(cell, rule.metric, {}), _standings(cell, rule.metric, stops)
    (strategy, source), now_first = min(before, key=before.__getitem__), min(after, key=after.__getitem__)
    first = trials.iloc[0]
    return Replay(
        cell=cell.key,
        target=renamed(str(first["target"]), given),
        size=int(first["size"]),
        conditional=bool(first["conditional"]),
        trials=len(trials),
        stopped=sum(ends[key] < taken[key] for key in ends),
        saved=1 - sum(ends.values()) / sum(taken.values()) if any(taken.values()) else 0.0,
        winner=f"{strategy} from {renamed(source, given)}" if source else strategy,
        same_winner=now_first == (strategy, source),
        source_order=_order(before, after),
    )


#: How methods end, by strategy and source ("" for none): minus the step of the comparison, and the mean there; less is better.
Standings = dict[tuple[str, str], tuple[int, float]]


def _standings(cell: _Cell, metric: str, stops: Mapping[str, int]) -> Standings:
    """Return how the methods of a cell end if trials stop at the given steps, by key.

    A method is compared at the furthest step that two of its seeds reach, or all if it has fewer, so a method that reaches the
    budget is better than one that does not. A diverged seed counts there as the worst.
    """
    trials = cell.trials.assign(source=cell.trials["source"].fillna(""))
    budget = int(trials["steps"].max())
    standings: Standings = {}
    for names, group in trials.groupby(["strategy", "source"], sort=False):
        seeds: list[tuple[int, Mapping[int, float]]] = []
        for row in group.to_dict("records"):
            lost = row["status"] == "diverged" and row["key"] not in stops
            last = budget if lost else min(int(row["steps"]), stops.get(row["key"], budget))
            seeds.append((last, {} if lost else cell.values.get(row["key"], {})))
        step = sorted((last for last, _ in seeds), reverse=True)[min(FEWEST_SEEDS, len(seeds)) - 1]
        strategy, source = (str(name) for name in names)
        standings[strategy, source] = (-step, average((v.get(step, math.inf) for last, v in seeds if last >= step), metric))
    return standings


def _order(before: Standings, after: Standings) -> float | None:
    """Return the rank correlation of the sources' order with and without stopping; see `Replay.source_order`."""
    sources = dict.fromkeys(source for _, source in before if source)
    if len(sources) < 3:
        return None
    places = []
    for standings in (before, after):
        best = {source: min(standing for (_, other), standing in standings.items() if other == source) for source in sources}
        places.append([sorted(best.values()).index(best[source]) for source in sources])
    if any(len(set(ranks)) < 2 for ranks in places):
        return None  # all sources are equal, or all trials diverged at the start
    from scipy import stats  # slow to import

    return float(stats.spearmanr(*places).statistic)
