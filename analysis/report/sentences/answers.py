"""The answer of each cell in plain sentences: which start is first, whether it is told apart from scratch, and what it saves.

The gain is FID from scratch divided by FID of the start. Every number stands with its step, and every claim with its outcome,
interval and seeds (see `analysis.claims`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.claims import Outcome
from analysis.comparison.best import FRESH
from analysis.comparison.cells import SCRATCH, Cell, Method
from analysis.frames import records
from analysis.report.blocks import UNFOLDED, Block, Bullets, Fold, Group, Heading, Paragraph, Report, marked
from analysis.report.sentences.summary import by_question, caveats
from analysis.statistics import Analysis
from analysis.transfer import classes
from analysis.words import LARGEST, Row, chance, method, number, saved, saved_interval, times
from trainers.common.counts import are, counted


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
        text = f"All {counted(len(trials), 'trial')} failed or were blocked, so nothing was measured. "
        text += "Their errors are listed below."
    yield Paragraph(marked(text), "notice")


def answer(report: Report, analysis: Analysis) -> Iterator[Block]:
    """Yield what holds over all cells, the answer of each cell, and the caveats; the answer of an only cell comes first."""
    questions = [
        Group(
            "question",
            [
                Heading(question, 3),
                Paragraph(first, "headline"),
                *([Fold("Details", [Bullets(others)], open=True)] if others else []),
            ],
        )
        for question, (first, *others) in by_question(analysis)
    ]
    cells = answers(analysis, report.frames.trials)
    by_cell = Group("answers", [_box(cell, len(cells) > UNFOLDED) for cell in cells])
    if len(cells) == 1:  # what holds over all cells says less than its answer
        yield from (by_cell, *([Group("overall", questions)] if questions else []))
    elif cells:
        if questions:
            yield from (Group("overall", questions), Heading("Target by target", 3))
        yield by_cell
    else:
        yield Paragraph("No adapt trial has a result in this embedding yet, so there is no answer.", "notice")
    if doubts := caveats(analysis, report.frames.trials_in(analysis.embedding)):
        yield Group("caveats", [Fold("How far to trust this", [Bullets(doubts)], level=4, open=True)])


def _box(answer: Answer, folded: bool) -> Group:
    blocks: list[Block] = [Heading(answer.cell_label), Paragraph(answer.headline, "headline")]
    if answer.details:
        blocks.append(Fold("Details", [Bullets(answer.details)], open=not folded))
    return Group("answer", blocks, {"cell_label": answer.cell_label})


def answers(analysis: Analysis, trials: pd.DataFrame) -> list[Answer]:
    """Return the answer of each cell that has a result, in the order of the cells."""
    best = {row["cell"]: row for row in records(analysis.best)}
    comparisons = len(analysis.significance)
    results = []
    for cell in analysis.cells:
        key, label = cell.names["cell"], cell.names["cell_label"]
        named = best.get(key)
        details = [
            *_reference(analysis, cell, named),
            *_details(analysis, key, named),
            *_kid(analysis, cell, named),
            *_lost(cell),
            *_unusable(cell),
            *_stopped(cell),
            *_classes(analysis, key),
            *_incomplete(trials[trials["cell"] == key]),
        ]
        headline = _without_comparison(cell) if named is None else _headline(analysis, cell, named, comparisons)
        results.append(Answer(label, headline, tuple(details)))
    return results


def _details(analysis: Analysis, cell: Any, named: Row | None) -> list[str]:
    if named is None:
        return []
    return [*_others(analysis, cell, named), *_saved(analysis, named), *_nearest(analysis, cell, named)]


def _without_comparison(cell: Cell) -> str:
    """Return the headline of a cell without scratch or without a transfer at a step of both."""
    method_, scratch = cell.methods[0], cell.scratch
    if scratch is not None and cell.transfers:
        return f"{_with(cell)}, no start and training from scratch have a step in common, so they cannot be compared."
    missing = "no transfer has" if scratch else "training from scratch does not have"
    value = number(2 ** float(method_.logs.mean()))
    return f"{_with(cell)}, {method(method_.names)} reaches FID {value} at step {method_.step:,}; {missing} a result yet."


def _headline(analysis: Analysis, cell: Cell, best: Row, comparisons: int) -> str:
    """Return what is known of the named method's gain over scratch, with its step, interval and seeds."""
    name, fid = method(best), f"FID {number(best['value'])} at step {best['step']:,}"
    values = f"{fid}, from scratch {number(best['scratch'])}"
    if best["lost"] or best["gain"] is None:
        return f"{_with(cell)}, every start lost a seed, so none is named; {name} lost the fewest, {best['lost']}."
    gain = f"gain {times(best['gain'])}"
    if best["outcome"] == Outcome.UNTESTABLE:
        few = "one seed" if min(best["seeds"], best["scratch_seeds"]) == 1 else "these seeds"
        error = _evaluation_error(analysis.curves, cell, best)
        text = f"{name} has {values}: {gain}, which {few} cannot test{error}"
    else:
        test = f"95 % interval {times(best['low'])} to {times(best['high'])}, {chance(best['p_holm'])}, {_seeds(best)}"
        if best["outcome"] == Outcome.NOT_APART:
            text = f"no start is told apart from scratch. First is {name}: {values}; {gain} ({test})"
        elif best["gain"] > 0:
            text = f"{name} is better than scratch: {values}; {gain} ({test})"
        else:
            text = f"training from scratch is better than every start. The first, {name}, has {values}; {gain} ({test})"
        if best["basis"] == FRESH:
            text += ", from seeds that no choice has seen"
        elif comparisons > 1:
            text += f", corrected for {counted(comparisons, 'comparison')}"
    if best["outcome"] == Outcome.NOT_APART and best["smallest"] is not None and math.isfinite(best["smallest"]):
        least = (
            f"a gain of {times(math.log2(best['smallest']))} or more"
            if best["smallest"] < LARGEST
            else f"no gain below ×{LARGEST:,}"
        )
        text += f". These seeds tell {least} with a power of 80 %"
    early = (
        f" Provisional: step {best['step']:,} is before the budget of {cell.names['budget']:,}." if best["provisional"] else ""
    )
    return f"{_with(cell)}, {text}.{early}"


def _seeds(best: Row) -> str:
    ours, theirs = best["seeds"], best["scratch_seeds"]
    return counted(ours, "seed") if ours == theirs else f"{counted(ours, 'seed')} and {theirs} from scratch"


def _evaluation_error(curves: pd.DataFrame, cell: Cell, best: Row) -> str:
    """Return whether two FIDs differ by more than the error of their own evaluation, in words; "" if it is unknown."""
    if cell.scratch is None:
        return ""
    errors = []
    for method_ in (next(m for m in cell.methods if _is(m, best)), cell.scratch):
        trials = method_.by_step[method_.step].trials
        rows = curves[curves["trial"].isin(trials) & (curves["step"] == method_.step) & (curves["metric"] == "fid")]
        errors.append(math.sqrt(float((rows["standard_error"].astype(float) ** 2).sum(skipna=False))) / len(trials))
    margin = 1.96 * math.hypot(*errors)
    if not math.isfinite(margin):
        return ""
    within = "within" if abs(best["value"] - best["scratch"]) <= margin else "beyond"
    return f"; the FIDs differ {within} their evaluation error (±{number(margin)})"


def _is(method_: Method, row: Row) -> bool:
    return bool(method_.names["strategy"] == row["strategy"] and method_.names["source"] == row["source"])


def _others(analysis: Analysis, cell: Any, best: Row) -> list[str]:
    """Return which other methods the first method of a cell is told apart from."""
    rows = records(analysis.order[analysis.order["cell"] == cell])
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


def _saved(analysis: Analysis, best: Row) -> list[str]:
    """Return the factors in images and in steps that scratch needs to be as good as the named start."""
    lines = []
    for row in records(_rows_of(analysis.multipliers, best, ["cell", "strategy", "source"])):
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
    speed_ups = _rows_of(analysis.speed_ups, best, ["cell", "strategy", "source"])
    for row in records(speed_ups[speed_ups["why"] == ""]):
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


def _rows_of(table: pd.DataFrame, best: Row, names: list[str]) -> pd.DataFrame:
    return table[pd.DataFrame({name: table[name] == best[name] for name in names}).all(axis=1)]


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


def _reference(analysis: Analysis, cell: Cell, best: Row | None) -> list[str]:
    """Return a warning where few images stand for the target, and how real images measure against them."""
    split = analysis.curves.loc[analysis.curves["cell"] == cell.names["cell"], "split"].iloc[0]
    same = analysis.references[analysis.references["split"] == split]
    for name in ("target", "resolution"):
        same = same[same[name] == cell.names[name]]
    rows = records(same)
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


def _kid(analysis: Analysis, cell: Cell, named: Row | None) -> list[str]:
    """Return which method is first by KID at the cell's final step, by its mean over seeds."""
    trials = {t: m for m in cell.methods if m.is_whole for t in m.by_step[m.step].trials}
    kid = analysis.curves[(analysis.curves["metric"] == "kid") & (analysis.curves["step"] == cell.step)]
    kid = kid[kid["trial"].isin(trials)]
    means = {m: kid.loc[kid["trial"].isin(m.by_step[m.step].trials), "value"].mean() for m in cell.methods if m.is_whole}
    means = {m: value for m, value in means.items() if math.isfinite(value) and m.is_transfer}
    if named is None or len(means) < 2:
        return []
    first = min(means, key=lambda m: means[m])
    if _is(first, named):
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


def _with(cell: Cell) -> str:
    target, size = cell.names["target_label"], cell.names["size"]  # the label may contain commas
    rest = str(cell.names["cell_label"]).removeprefix(target).removesuffix(f", {counted(size, 'image')}").removeprefix(", ")
    return f"With {counted(size, 'image')} of {target}" + (f" ({rest})" if rest else "")
