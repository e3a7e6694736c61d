"""What else is known of a cell's answer, in plain sentences."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.claims import Outcome
from analysis.comparison.cells import SCRATCH, Cell, Method
from analysis.frames import grouped, records
from analysis.statistics import Analysis
from analysis.transfer import classes
from analysis.words import Row, chance, method, number, saved, saved_interval, times
from trainers.common.counts import are, counted


class Details:
    """The details of all cells of an analysis; its tables are searched once, not once for each cell."""

    def __init__(self, analysis: Analysis, trials: pd.DataFrame) -> None:
        """`trials` are those of `Frames.trials`."""
        self._analysis = analysis
        self._trials, self._none = dict(iter(trials.groupby("cell"))), trials[:0]
        self._splits = dict(analysis.curves.drop_duplicates("cell")[["cell", "split"]].to_numpy(object))
        self._references = records(analysis.references)
        kid = analysis.curves.loc[analysis.curves["metric"] == "kid", ["trial", "step", "value"]]
        self._kid = dict(zip(zip(kid["trial"], kid["step"], strict=True), kid["value"], strict=True))
        self._order = grouped(records(analysis.order), ["cell"])
        self._multipliers, self._speed_ups = _by_method(analysis.multipliers), _by_method(analysis.speed_ups)

    def of(self, cell: Cell, named: Row | None) -> list[str]:
        """Return the details of a cell, whose named start is `named` if there is one."""
        key = cell.names["cell"]
        return [
            *_reference(self._references, self._splits[key], cell, named),
            *(self._of_named(key, named) if named is not None else ()),
            *_kid(self._kid, cell, named),
            *_lost(cell),
            *_unusable(cell),
            *_stopped(cell),
            *_classes(self._analysis, key),
            *_incomplete(self._trials.get(key, self._none)),
        ]

    def _of_named(self, key: str, named: Row) -> list[str]:
        which = (key, named["strategy"], named["source"])
        factors = _saved(self._multipliers.get(which, ()), self._speed_ups.get(which, ()))
        return [*_others(self._order.get((key,), ()), named), *factors, *_nearest(self._analysis, key, named)]


def _by_method(table: pd.DataFrame) -> Mapping[tuple[str, str, str | None], list[Row]]:
    """Return the rows of a table by cell, strategy and source."""
    rows = defaultdict(list)
    for row in records(table):
        rows[row["cell"], row["strategy"], row["source"]].append(row)
    return rows


def is_of(method_: Method, row: Row) -> bool:
    """Return whether a row is about a method."""
    return bool(method_.names["strategy"] == row["strategy"] and method_.names["source"] == row["source"])


def _others(rows: Sequence[Row], best: Row) -> list[str]:
    """Return which other methods the first method of a cell is told apart from, by the cell's rows of `Analysis.order`."""
    transfers = [row for row in rows if row["method"][0] != SCRATCH]
    if not transfers or rows[0]["first"] != (best["strategy"], best["source"]):
        return []
    close = [row for row in transfers if row["outcome"] == Outcome.NOT_APART]
    apart = sum(row["outcome"] == Outcome.APART for row in transfers)
    if not close and not apart:
        return []
    step = f"at step {rows[0]['step']:,}"
    if not close:
        others = "the only other start" if apart == 1 else f"all {apart} other starts"
        return [f"It is told apart from {others} {step}."]
    names = ", ".join(method(row) for row in close[:3]) + (f" and {len(close) - 3} more" if len(close) > 3 else "")
    more = f"; of {len(transfers)}, {are(apart)} told apart from it" if apart else ""
    return [f"It is not told apart from {counted(len(close), 'other start')} {step}: {names}{more}."]


def _saved(multipliers: Sequence[Row], speed_ups: Sequence[Row]) -> list[str]:
    """Return the factors in images and in steps that scratch needs to be as good as the named start, from their rows."""
    lines = []
    for row in multipliers:
        if row["why"]:
            lines.append(f"No data multiplier at step {row['step']:,}: {row['why']}.")
            continue
        if row["bound"] and row["multiplier"] == 1:
            continue  # at the end of the sizes that scratch was trained with, such a bound says nothing
        images = counted(round(row["equivalent"]), "image") + (" or more" if row["bound"] == "at least" else "")
        images += " or fewer" if row["bound"] == "at most" else ""
        lines.append(
            f"As good as scratch with {images}: a data multiplier of {saved(row)}{_interval(row)}, at step {row['step']:,}, "
            f"{_against_1(row)}."
        )
    for row in [row for row in speed_ups if row["why"] == ""]:
        when = {"": "was reached by", "at least": "was reached by the first rung,"}.get(row["bound"], "was not reached by")
        lines.append(
            f"Scratch's best FID, at step {row['scratch_step']:,}, {when} step {row['step']:,.0f}: "
            f"a speed-up of {saved(row)}{_interval(row)}, {_against_1(row)}."
        )
    return lines


def _against_1(row: Row) -> str:
    if row["outcome"] == Outcome.UNTESTABLE:
        return "not testable against 1×"
    return f"{row['outcome']} from 1× ({chance(row['p'])})"


def _interval(row: Row) -> str:
    interval = saved_interval(row)
    if not interval or interval == saved(row):
        return ""
    return f" (95 % interval: {interval}, simultaneous over {counted(row['methods'], 'start')})"


def _nearest(analysis: Analysis, cell: Any, best: Row) -> list[str]:
    """Return how the start from the nearest source compares with the named one, if there is one nearest source."""
    known = records(analysis.nearest[analysis.nearest["cell"] == cell])
    if not known or known[0]["sources"] < 2:
        return []
    nearest = known[0]
    label, distance = nearest["source_label"], f"distance {number(nearest['distance'])}"
    if nearest["ties"]:
        others = ", ".join(nearest["ties"])
        return [f"No source is the nearest: {label} ({distance}) is as near as {others} within the distances' intervals."]
    source = f"The nearest source, {label} ({distance}),"
    if label == best["source_label"]:
        return [f"{source} is also the source of this start."]
    rows = records(analysis.order[(analysis.order["cell"] == cell) & (analysis.order["source_label"] == label)])
    if not rows:
        return [f"{source} has no start at step {best['step']:,}."]
    row = rows[0]
    interval = "" if row["low"] is None else f", 95 % interval {times(row['low'])} to {times(row['high'])}"
    verdict = {Outcome.APART: "is told apart from it", Outcome.NOT_APART: "is not told apart from it"}.get(
        row["outcome"], "cannot be compared with it by a test"
    )
    behind = "" if row["behind"] is None else f" (FID {times(row['behind'])} at step {row['step']:,}{interval})"
    return [f"{source} {verdict}: its best start is {row['strategy']}{behind}."]


def _reference(references: Sequence[Row], split: str, cell: Cell, best: Row | None) -> list[str]:
    """Return a warning where few images stand for the target, and how real images measure against them."""
    same = {"split": split, **{name: cell.names[name] for name in ("target", "resolution")}}
    rows = [row for row in references if all(row[name] == value for name, value in same.items())]
    if not rows:
        return []
    row, lines = rows[0], []
    if row["split"] == "train":
        lines.append(
            f"The real images are the train split of {row['target_label']}, which contains the training images: copies of them "
            "improve FID."
        )
    if row["few"]:
        lines.append(
            f"Only {row['reference']:,.0f} reference images stand for {row['target_label']}: another draw of them may name "
            "another start. The intervals include this error where it is stored."
        )
    if row["narrow"]:
        lines.append(
            f"{row['samples']:,} generated images are few for {row['dimensions']:,.0f} dimensions of the embedding: FID is "
            "biased upwards, and gains look smaller than they are."
        )
    if row["fid_floor"] is not None and (row["few"] or (best is not None and best["value"] < 2 * row["fid_floor"])):
        lines.append(
            f"Real images of {row['target_label']} have FID {number(row['fid_floor'])} against its reference images "
            f"({row['floor_samples']:,.0f} images): a lower value does not show better images."
        )
    return lines


def _kid(kid: Mapping[tuple[str, int], float], cell: Cell, named: Row | None) -> list[str]:
    """Return which method is first by KID (by trial and step) at the cell's final step, by its mean over seeds."""
    means = {}
    for m in cell.methods:
        values = [kid.get((trial, cell.step or 0), math.nan) for trial in m.by_step[m.step].trials]
        known = [value for value in values if not math.isnan(value)]
        if m.is_whole and m.is_transfer and known and math.isfinite(mean := sum(known) / len(known)):
            means[m] = mean
    if named is None or len(means) < 2:
        return []
    first = min(means, key=lambda m: means[m])
    if is_of(first, named):
        return [f"By KID the same start is first at step {cell.step:,} (mean over seeds, not tested)."]
    return [f"By KID another start is first at step {cell.step:,}: {method(first.names)} (mean over seeds, not tested)."]


def _lost(cell: Cell) -> list[str]:
    """Return the methods of which a seed diverged, failed or collapsed."""
    rows = [m for m in cell.methods if m.lost]
    if not rows:
        return []
    names = "; ".join(f"{method(m.names)}, {m.lost} of {counted(m.lost + len(m.logs), 'seed')}" for m in rows)
    unusable = "A lost seed counts as the worst, so these are ranked below all others"
    return [f"Seeds that diverged, failed or collapsed: {names}. {unusable}."]


def _unusable(cell: Cell) -> list[str]:
    """Return how many values were left out, as they have no logarithm."""
    if not cell.unusable:
        return []
    verb = "is" if cell.unusable == 1 else "are"
    return [f"{counted(cell.unusable, 'FID')} of 0 or without a finite value cannot be compared and {verb} left out."]


def _stopped(cell: Cell) -> list[str]:
    early = [m.step for m in cell.transfers if not m.final]
    if not early:
        return []
    steps = f"step {early[0]:,}" if len(set(early)) == 1 else f"steps {min(early):,} to {max(early):,}"
    return [f"{counted(len(early), 'start')} ended before the final step, at {steps}; only early gains are known of these."]


def _classes(analysis: Analysis, cell: Any) -> list[str]:
    comparison = classes.compare_with_scratch(analysis.by_class[analysis.by_class["cell"] == cell])
    if comparison is None:
        return []
    means, ahead, count = comparison
    return [
        f"By class, at step {means['step']:,.0f}: mean FID {number(means['transfer'])} with the first start and "
        f"{number(means['scratch'])} from scratch; it is lower in {ahead} of {counted(count, 'class', 'classes')} (not tested)."
    ]


def _incomplete(trials: pd.DataFrame) -> list[str]:
    waiting = int(trials["status"].isin(["pending", "unfinished"]).sum())
    lost = int(trials["status"].isin(["failed", "blocked", "diverged"]).sum())
    lines = [f"Provisional: {waiting} of {counted(len(trials), 'trial')} not finished yet."] if waiting else []
    return [*lines, f"{lost} of {counted(len(trials), 'trial')} failed, diverged or were blocked."] if lost else lines
