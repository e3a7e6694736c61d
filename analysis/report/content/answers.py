"""The answer of each cell in plain sentences: which source and strategy won, by how much, and what it saves.

Every sentence is computed from the same statistics as the figures, states the step of every number, compares matched steps
only, and states the number of seeds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.frames import records
from analysis.report.blocks import Block, Bullets, Fold, Group, Heading, Paragraph, Report, marked
from analysis.report.content.summary import by_question, caveats
from analysis.statistics import Analysis
from analysis.transfer import classes
from analysis.transfer import transferability as tf
from analysis.transfer.transferability import SCRATCH
from analysis.words import Row, as_high, counted, method, number, saved, saved_interval

#: With more cells than this, the details of each are folded.
UNFOLDED = 4


@dataclass(frozen=True)
class Answer:
    """The answer of one cell."""

    cell_label: str
    headline: str
    details: tuple[str, ...]


def no_answer(report: Report) -> Iterator[Block]:
    """Yield why a report without measurements has no answer."""
    if report.analyses:
        return
    trials = report.frames.trials
    text = "Nothing has been measured yet, so there is no answer."
    if len(trials) == 0:
        text = "This store holds no trial yet. Run a sweep with `transfergan run`, then write the report again."
    elif trials["status"].isin(["failed", "blocked"]).all():
        text = f"All {len(trials):,} trials failed or were blocked, so nothing was measured. "
        text += "Their errors are listed under Coverage."
    yield Paragraph(marked(text), "notice")


def answer(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield what holds over all cells, the answer of each cell, and the caveats."""
    questions = by_question(analysis)
    if questions:
        boxes = [
            Group("question", [Heading(question, 3), Paragraph(first, "headline"), *([Bullets(others)] if others else [])])
            for question, (first, *others) in questions
        ]
        yield Group("overall", boxes)
        yield Heading("Target by target", 3)
    cells = answers(analysis, report.frames.trials)
    if cells:
        yield Group("answers", [_box(cell, len(cells) > UNFOLDED) for cell in cells])
    else:
        yield Paragraph("No adapt trial has a result in this embedding yet, so there is no answer.", "notice")
    if doubts := caveats(analysis, report.frames.trials_in(analysis.embedding)):
        yield Group("caveats", [Heading("How far to trust this"), Bullets(doubts)])


def _box(answer: Answer, folded: bool) -> Group:
    blocks: list[Block] = [Heading(answer.cell_label), Paragraph(answer.headline, "headline")]
    if answer.details:
        details = Bullets(answer.details)
        blocks.append(Fold("More", [details]) if folded else details)
    return Group("answer", blocks, {"cell_label": answer.cell_label})


def answers(analysis: Analysis, trials: pd.DataFrame) -> list[Answer]:
    """Return the answer of each cell that has a result, in the order of `ranking`."""
    cells = []
    curves = dict(iter(analysis.curves[analysis.curves["metric"] == "fid"].groupby("cell")))
    for cell, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        transfers = [row for row in methods if row["strategy"] != SCRATCH]
        details = [
            *(_first_rung(analysis, transfers[0]) + _saved(analysis, transfers[0]) if transfers else []),
            *_nearest(analysis, cell, transfers),
            *_beaten(analysis, cell),
            *_kid(analysis, cell, methods[0]),
            *_classes(analysis, cell),
            *_incomplete(trials[trials["cell"] == cell]),
        ]
        cells.append(Answer(methods[0]["cell_label"], _headline(curves[cell], methods), tuple(details)))
    return cells


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
        return f"{_with(best)}, {method(best)} and training from scratch have no rung in common, so they cannot be compared."
    means = f", means over {best['seeds']} seeds" if best["seeds"] > 1 else ""
    ratio = f"({as_high(max(ours, theirs), min(ours, theirs))}{means})"
    reaches = f"reaches FID {number(min(ours, theirs))} at step {step:,}"
    if ours < theirs:
        text = f"{method(best)} {reaches}; from scratch {number(theirs)} {ratio}."
    else:
        text = f"no transfer beats training from scratch, which {reaches}; the best, {method(best)}, {number(ours)} {ratio}."
    sides = ((best, "The transfer", scratch, "scratch"), (scratch, "Scratch", best, "the transfer"))
    later = [_later(name, row, its_name, _fids(curves, other)) for row, name, other, its_name in sides if row["step"] > step]
    return f"{_with(best)}, {text}{''.join(later)}{_diverged(curves, best)}"


def _later(name: str, row: Row, others_name: str, other: pd.DataFrame) -> str:
    """Return a method's FID after the last step that all seeds of both methods reached, and of the other's longer seeds."""
    also = other[other["step"] == row["step"]]
    text = f" {name} continued{'' if len(also) else ' alone'} to FID {number(row['value'])} at step {row['step']:,}"
    if len(also):  # the stopping rule may spare one seed of a strategy
        text += f", and {len(also)} of {other['trial'].nunique()} seeds of {others_name} to FID {number(also['value'].mean())}"
    return text + "."


def _diverged(curves: pd.DataFrame, best: Row) -> str:
    trials = _fids(curves, best).drop_duplicates("trial")
    count = int((trials["status"] == "diverged").sum())
    return f" The transfer diverged later, in {count} of {counted(len(trials), 'seed')}." if count else ""


def _value_at(curves: pd.DataFrame, row: Row, step: int) -> float | None:
    """Return a method's FID at a step, the mean over its seeds; None if it was not measured."""
    fids = _fids(curves, row)
    values = fids.loc[fids["step"] == step, "value"]
    return float(values.mean()) if len(values) else None


def _fids(curves: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Return the rows of a cell's FIDs that are finite and belong to a method's comparable trials."""
    source = curves["source"].isna() if row["strategy"] == SCRATCH else curves["source"] == row["source"]
    comparable = curves["status"].isin(tf.COMPARABLE) & (curves["value"].abs() < math.inf)
    rows: pd.DataFrame = curves[(curves["strategy"] == row["strategy"]) & source & comparable]
    return rows


def _first_rung(analysis: Analysis, best: Row) -> list[str]:
    rows = _rows_of(analysis.gains[analysis.gains["at"] == "first"], best, ["cell", "strategy", "source"])
    if len(rows) == 0 or best["step"] == rows["step"].iloc[0]:
        return []
    ours, theirs = rows["value"].mean(), rows["scratch"].mean()
    return [
        f"At the first rung, step {rows['step'].iloc[0]:,}: FID {number(ours)} with the transfer, {number(theirs)} from "
        f"scratch ({as_high(theirs, ours)})."
    ]


def _saved(analysis: Analysis, best: Row) -> list[str]:
    """Return the factors in images and in steps that scratch needs to be as good as the best transfer."""
    lines = []
    for row in records(_rows_of(analysis.multipliers, best, ["family", "size", "strategy", "source"])):
        images = f"{row['equivalent']:,.0f} images" + (" or more" if row["bound"] == "at least" else "")
        images += " or fewer" if row["bound"] == "at most" else ""
        lines.append(
            f"As good as scratch with {images}: a data multiplier of {saved(row)}{_interval(row)}, at step {row['step']:,}."
        )
    for row in records(_rows_of(analysis.speed_ups, best, ["cell", "strategy", "source"])):
        when = {"": "was reached by", "at least": "was reached by the first rung,"}.get(row["bound"], "was not reached by")
        lines.append(
            f"Scratch's best FID, at step {row['scratch_step']:,}, {when} step {row['step']:,.0f}: "
            f"a speed-up of {saved(row)}{_interval(row)}."
        )
    return lines


def _rows_of(table: pd.DataFrame, best: Row, names: list[str]) -> pd.DataFrame:
    return table[pd.DataFrame({name: table[name] == best[name] for name in names}).all(axis=1)]


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
    return [f"{ahead} of {len(matched)} transfer trials had a lower FID than scratch at the last step that both reached."]


def _kid(analysis: Analysis, cell: Any, best: Row) -> list[str]:
    rows = records(analysis.ranked_by_kid[analysis.ranked_by_kid["cell"] == cell])
    if len(rows) < 2:
        return []
    return ["KID names the same winner."] if method(rows[0]) == method(best) else [f"By KID, {method(rows[0])} wins instead."]


def _classes(analysis: Analysis, cell: Any) -> list[str]:
    comparison = classes.compare_with_scratch(analysis.by_class[analysis.by_class["cell"] == cell])
    if comparison is None:
        return []
    means, ahead, count = comparison
    return [
        f"By class, at step {means['step']:,.0f}: mean FID {number(means['transfer'])} with the best transfer and "
        f"{number(means['scratch'])} from scratch; transfer is better in {ahead} of {counted(count, 'class', 'classes')}."
    ]


def _incomplete(trials: pd.DataFrame) -> list[str]:
    waiting = int(trials["status"].isin(["pending", "unfinished"]).sum())
    lost = int(trials["status"].isin(["failed", "blocked", "diverged"]).sum())
    lines = [f"Provisional: {waiting} of {counted(len(trials), 'trial')} not finished yet."] if waiting else []
    return [*lines, f"{lost} of {counted(len(trials), 'trial')} failed, diverged or were blocked."] if lost else lines


def _with(row: Row) -> str:
    target = row["target_label"]  # which may contain commas
    rest = row["cell_label"].removeprefix(target).removesuffix(f", {row['size']:,} images").removeprefix(", ")
    return f"With {counted(row['size'], 'image')} of {target}" + (f" ({rest})" if rest else "")
