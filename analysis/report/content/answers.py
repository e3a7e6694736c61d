"""The answer of each cell in plain sentences: which source and strategy won, by how much, and what it saves.

Every sentence is made from the same statistics as the figures, states the step of every number, compares matched steps only,
and says how many seeds stand behind it.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transfer import classes
from analysis.transfer import transferability as tf
from analysis.transfer.transferability import SCRATCH
from analysis.words import Row, as_high, counted, method, number, saved, saved_interval


@dataclass(frozen=True)
class Answer:
    """What one cell says."""

    cell_label: str
    headline: str
    details: tuple[str, ...]


def answers(analysis: Analysis, trials: pd.DataFrame) -> list[Answer]:
    """Return the answer of each cell that has a result, in the order of `ranking`."""
    found = []
    curves = dict(iter(analysis.curves[analysis.curves["metric"] == "fid"].groupby("cell")))
    for cell, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        transfers = [row for row in methods if row["strategy"] != SCRATCH]
        details = [
            *_first_rung(analysis, cell, transfers[0] if transfers else None),
            *_saved(analysis, cell, transfers[0] if transfers else None),
            *_nearest(analysis, cell, transfers),
            *_beaten(analysis, cell),
            *_kid(analysis, cell, methods[0]),
            *_classes(analysis, cell),
            *_incomplete(trials[trials["cell"] == cell]),
        ]
        found.append(Answer(methods[0]["cell_label"], _headline(curves[cell], methods), tuple(details)))
    return found


def _headline(curves: pd.DataFrame, ranked: list[Row]) -> str:
    transfers = [row for row in ranked if row["strategy"] != SCRATCH]
    scratch = next((row for row in ranked if row["strategy"] == SCRATCH), None)
    if scratch is None or not transfers:
        row = ranked[0]
        missing = "no transfer has" if scratch else "training from scratch does not have"
        return (
            f"{_with(row)}, {method(row)} reaches FID {number(row['value'])} at step {row['step']:,}; {missing} a result yet."
        )
    best = transfers[0]
    step = min(best["step"], scratch["step"])
    ours, theirs = _value_at(curves, best, step), _value_at(curves, scratch, step)
    if ours is None or theirs is None:
        return f"{_with(best)}, {method(best)} and training from scratch share no rung at which to compare them."
    means = f", means over {best['seeds']} seeds" if best["seeds"] > 1 else ""
    ratio = f"({as_high(max(ours, theirs), min(ours, theirs))}{means})"
    reaches = f"reaches FID {number(min(ours, theirs))} at step {step:,}"
    if ours < theirs:
        text = f"{method(best)} {reaches}; from scratch {number(theirs)} {ratio}."
    else:
        text = f"no transfer beats training from scratch, which {reaches}; the best, {method(best)}, {number(ours)} {ratio}."
    sides = ((best, "The transfer", scratch, "scratch"), (scratch, "Scratch", best, "the transfer"))
    later = [_went_on(name, row, its_name, _of(curves, other)) for row, name, other, its_name in sides if row["step"] > step]
    return f"{_with(best)}, {text}{''.join(later)}{_diverged(curves, best)}"


def _went_on(name: str, row: Row, others_name: str, other: pd.DataFrame) -> str:
    """Say how far a method came after the last step that all seeds of both reached, and which of the other's seeds did too."""
    also = other[other["step"] == row["step"]]
    text = f" {name} went on{'' if len(also) else ' alone'} to {number(row['value'])} at step {row['step']:,}"
    if len(also):  # the stopping rule may spare one seed of a strategy
        text += f", and {len(also)} of {other['trial'].nunique()} seeds of {others_name} to {number(also['value'].mean())}"
    return text + "."


def _diverged(curves: pd.DataFrame, best: Row) -> str:
    own = _of(curves, best).drop_duplicates("trial")
    lost = int((own["status"] == "diverged").sum())
    return f" The transfer diverged later, with {lost} of {counted(len(own), 'seed')}." if lost else ""


def _value_at(curves: pd.DataFrame, row: Row, step: int) -> float | None:
    """Return a method's FID at a step, the mean over its seeds; None where it was not measured."""
    own = _of(curves, row)
    values = own.loc[own["step"] == step, "value"]
    return float(values.mean()) if len(values) else None


def _of(curves: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Return, of a cell's FIDs, the finite ones of a method's trials."""
    source = curves["source"].isna() if row["strategy"] == SCRATCH else curves["source"] == row["source"]
    takes_part = curves["status"].isin(tf.COMPARABLE) & (curves["value"].abs() < math.inf)
    own: pd.DataFrame = curves[(curves["strategy"] == row["strategy"]) & source & takes_part]
    return own


def _first_rung(analysis: Analysis, cell: Any, best: Row | None) -> list[str]:
    gains = analysis.gains
    if best is None:
        return []
    own = (gains["cell"] == cell) & (gains["strategy"] == best["strategy"]) & (gains["source"] == best["source"])
    rows = gains[own & (gains["at"] == "first")]
    if len(rows) == 0 or best["step"] == rows["step"].iloc[0]:
        return []
    ours, theirs = rows["value"].mean(), rows["scratch"].mean()
    return [
        f"At the first rung, step {rows['step'].iloc[0]:,}: {number(ours)} against {number(theirs)} ({as_high(theirs, ours)})."
    ]


def _saved(analysis: Analysis, cell: Any, best: Row | None) -> list[str]:
    """Return how many times the images and the steps scratch needs to be as good as the best transfer."""
    if best is None:
        return []
    lines = []
    names = ("target", "conditional", "resolution", "family", "size", "strategy", "source")
    for row in _rows_of(analysis.multipliers, best, [name for name in names if name in best]):
        images = f"{row['equivalent']:,.0f} images" + (" or more" if row["bound"] == "at least" else "")
        images += " or fewer" if row["bound"] == "at most" else ""
        lines.append(
            f"As good as scratch with {images}: a data multiplier of {saved(row)}{_interval(row)}, at step {row['step']:,}."
        )
    for row in _rows_of(analysis.speed_ups, best, ["cell", "strategy", "source"]):
        when = {"": f"by step {row['step']:,.0f}", "at least": f"by the first rung, step {row['step']:,.0f}"}
        reached = when.get(row["bound"], f"not by step {row['step']:,.0f}")
        lines.append(
            f"Scratch's best FID, at step {row['scratch_step']:,}, was reached {reached}: "
            f"a speed-up of {saved(row)}{_interval(row)}."
        )
    return lines


def _rows_of(table: pd.DataFrame, best: Row, names: list[str]) -> list[Row]:
    return records(table[pd.DataFrame({name: table[name] == best[name] for name in names}).all(axis=1)])


def _interval(row: Row) -> str:
    interval = saved_interval(row)
    return f" (95 % interval: {interval})" if interval and interval != saved(row) else ""


def _nearest(analysis: Analysis, cell: Any, transfers: list[Row]) -> list[str]:
    rows = records(analysis.nearest[analysis.nearest["cell"] == cell])
    if not rows or len({row["source"] for row in transfers}) < 2:
        return []
    nearest = rows[0]
    name = f"The nearest source, {nearest['source_label']} (distance {number(nearest['distance'])}),"
    if transfers[0]["source"] == nearest["source"]:
        return [f"{name} was also the best."]
    best = next((row for row in transfers if row["source"] == nearest["source"]), None)
    if best is None:
        return [f"{name} has no result yet."]
    return [f"{name} was not the best: {method(best)} had FID {number(best['value'])} at step {best['step']:,}."]


def _beaten(analysis: Analysis, cell: Any) -> list[str]:
    matched = analysis.gains[(analysis.gains["cell"] == cell) & (analysis.gains["at"] == "matched")]
    if len(matched) < 2:
        return []
    ahead = int((matched["gain"] > 0).sum())
    return [f"{ahead} of {len(matched)} transfer trials were ahead of scratch at the last matched step."]


def _kid(analysis: Analysis, cell: Any, best: Row) -> list[str]:
    rows = records(analysis.ranked_by_kid[analysis.ranked_by_kid["cell"] == cell])
    if len(rows) < 2:
        return []
    return ["KID names the same winner."] if method(rows[0]) == method(best) else [f"By KID, {method(rows[0])} wins instead."]


def _classes(analysis: Analysis, cell: Any) -> list[str]:
    found = classes.compare_with_scratch(analysis.by_class[analysis.by_class["cell"] == cell])
    if found is None:
        return []
    means, ahead, count = found
    return [
        f"Class by class at step {means['step']:,.0f}: FID averages {number(means['transfer'])} with the best transfer and "
        f"{number(means['scratch'])} from scratch; transfer is ahead in {ahead} of {counted(count, 'class', 'classes')}."
    ]


def _incomplete(trials: pd.DataFrame) -> list[str]:
    waiting = int(trials["status"].isin(["pending", "unfinished"]).sum())
    lost = int(trials["status"].isin(["failed", "blocked", "diverged"]).sum())
    lines = [f"Provisional: {waiting} of {counted(len(trials), 'trial')} still to finish."] if waiting else []
    return [*lines, f"{lost} of {counted(len(trials), 'trial')} failed, diverged or were blocked."] if lost else lines


def _with(row: Row) -> str:
    target = row["target_label"]  # which may have commas of its own
    rest = row["cell_label"].removeprefix(target).removesuffix(f", {row['size']:,} images").removeprefix(", ")
    return f"With {counted(row['size'], 'image')} of {target}" + (f" ({rest})" if rest else "")
