"""What a stopping rule would have saved on a sweep that ran to its end, and which conclusions it would have changed."""

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

#: Shares of methods kept at a rung that are set beside each other.
SHARES = (0.25, 0.33, 0.5, 0.67, 0.75)


@dataclass(frozen=True)
class Replay:
    """One cell under another rule.

    Attributes:
        cell: its key.
        target, size, conditional: what its trials share.
        trials: how many it has.
        stopped: how many the rule would have stopped before their budget.
        saved: share of the generator steps that would not have been taken.
        winner: strategy and source with the least mean at the budget.
        same_winner: whether the rule names the same.
        source_order: Spearman's correlation of the sources' order, by each one's best, with and without the rule; None for
            fewer than three sources.
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
    """Return every cell that ran without stopping under a rule, and how many cells are left out.

    Left out are cells of which a trial was stopped, failed, blocked or has not ended: what it would have become is not known;
    and cells of tuned strategies that have not one budget.

    Args:
        store: where the trials are.
        sweep: only the trials that this sweep recorded; None for all.
        rule: the rule; its metric must have been measured.

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
    """Return what all cells say together, and each cell."""
    orders = [each.source_order for each in replays if each.source_order is not None]
    return {
        "rule": rule.model_dump(mode="json"),
        "cells": len(replays),
        "left_out": left_out,
        "steps_saved": float(np.average([each.saved for each in replays], weights=[each.trials for each in replays])),
        "same_winner": sum(each.same_winner for each in replays),
        "source_order": float(np.mean(orders)) if orders else None,
        "by_cell": [asdict(each) for each in replays],
    }


def audit(store: Store, sweep: str | None) -> pd.DataFrame:
    """Return what halving would have saved and changed in the cells that ran without it, for several shares kept.

    Returns:
        a row per share: `keep`, `cells`, `saved` (share of the adapt steps), `same_winner` (cells), `source_order` (mean rank
        correlation, NaN where no cell has three sources); no row where the store has no such cell.
    """
    cells, left_out = _whole_cells(store, sweep, "fid")
    rows = []
    for keep in SHARES if cells else ():
        rule = StoppingConfig(keep=keep)
        said = summary([_replay(cell, rule) for cell in cells], rule, left_out)
        rows.append((keep, said["cells"], said["steps_saved"], said["same_winner"], said["source_order"]))
    return pd.DataFrame(rows, columns=["keep", "cells", "saved", "same_winner", "source_order"])


@dataclass(frozen=True)
class _Cell:
    """A cell of which every trial went as far as it could: its key, rows of table `trials`, and values by trial and step."""

    key: str
    trials: pd.DataFrame
    values: dict[str, dict[int, float]]
    diversity: dict[str, dict[int, float]]


def _whole_cells(store: Store, sweep: str | None, metric: str) -> tuple[list[_Cell], int]:
    """Return them by target, and how many other cells there are."""
    trials = store.read("trials")
    trials = trials[trials["kind"] == "adapt"]
    if sweep is not None:
        trials = trials[trials["sweep"] == sweep]
    measured = store.read("measurements")
    measured = measured[measured["step"] > 0]
    values, diversity = by_step(measured, metric, ()), by_step(measured, "diversity", ())
    unfinished = _unfinished_cells(store, sweep, set(trials["key"]))
    found, left_out = [], len(unfinished - set(trials["cell"]))
    for (_, _, _, cell), own in trials.groupby(["target", "conditional", "size", "cell"]):
        whole = own["status"].isin(["done", "diverged"]).all() and cell not in unfinished and own["budget"].nunique() <= 1
        if whole and all(key in values or status == "diverged" for key, status in zip(own["key"], own["status"], strict=True)):
            found.append(_Cell(str(cell), own, values, diversity))
        else:
            left_out += 1
    return found, left_out


def _unfinished_cells(store: Store, sweep: str | None, recorded: set[str]) -> set[str]:
    """Return the cells of which a planned trial has no outcome yet."""
    plans = [plan for name, plan in store.read_sweeps().items() if sweep is None or name == sweep]
    rows = [row for plan in plans for row in plan["trials"] if row["kind"] == "adapt"]
    return {row["cell"] for row in rows if row["key"] not in recorded}


def _replay(cell: _Cell, rule: StoppingConfig) -> Replay:
    own, values = cell.trials, cell.values
    rungs = sorted({step for key in own["key"] for step in values.get(key, {})})
    curves = [
        Curve(
            row["key"],
            row["strategy"],
            values.get(row["key"], {}),
            diverged=row["status"] == "diverged",
            diversity=cell.diversity.get(row["key"], {}),
            method=f"{row['strategy']} {row['source']}",
        )
        for row in own.to_dict("records")
    ]
    verdicts = judge(curves, rungs, rule, cell.key)
    taken = dict(zip(own["key"], own["steps"].astype(int), strict=True))
    ends = {
        key: min(taken[key], verdict.rung) if verdict.action is Action.STOP and verdict.rung else taken[key]
        for key, verdict in verdicts.items()
    }
    before, after = _methods(own, values, taken), _methods(own, values, ends)
    first = own.iloc[0]
    return Replay(
        cell=cell.key,
        target=str(first["target"]),
        size=int(first["size"]),
        conditional=bool(first["conditional"]),
        trials=len(own),
        stopped=sum(ends[key] < taken[key] for key in ends),
        saved=1 - sum(ends.values()) / sum(taken.values()) if any(taken.values()) else 0.0,
        winner=before[0],
        same_winner=before[0] == after[0],
        source_order=_order(own, values, taken, ends),
    )


def _methods(own: pd.DataFrame, values: dict[str, dict[int, float]], ends: dict[str, int]) -> list[str]:
    """Return strategy and source of every method, best first: by how far its best seed came, then by the mean there."""
    ranked = []
    for names, group in own.assign(source=own["source"].fillna("")).groupby(["strategy", "source"], sort=False):
        strategy, source = (str(name) for name in names)
        reached = max(ends[key] for key in group["key"])
        there = [values.get(key, {}).get(reached, np.inf) for key in group["key"] if ends[key] == reached]
        ranked.append((-reached, float(np.mean(there)), f"{strategy} from {source}" if source else strategy))
    return [name for *_, name in sorted(ranked)]


def _order(own: pd.DataFrame, values: dict[str, dict[int, float]], taken: dict[str, int], ends: dict[str, int]) -> float | None:
    sources = list(own["source"].dropna().unique())
    if len(sources) < 3:
        return None
    places = []
    for until in (taken, ends):
        best = {source: min(_keys(own[own["source"] == source], values, until)) for source in sources}
        places.append([sorted(best.values()).index(best[source]) for source in sources])
    if any(len(set(each)) < 2 for each in places):
        return None  # all sources are as good, or all trials diverged at once
    return float(stats.spearmanr(*places).statistic)


def _keys(rows: pd.DataFrame, values: dict[str, dict[int, float]], ends: dict[str, int]) -> Iterator[tuple[int, float]]:
    """Yield for each trial how far it came (less is farther) and its value there."""
    for key in rows["key"]:
        yield -ends[key], values.get(key, {}).get(ends[key], np.inf)
