"""The answer of each cell in plain sentences: which start is first, whether it is told apart from scratch, and what it saves.

The gain is FID from scratch divided by FID of the start. Every number stands with its step, and every claim with its outcome,
interval and seeds (see `analysis.claims`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.claims import Outcome
from analysis.comparison.best import FRESH
from analysis.comparison.cells import Cell
from analysis.frames import records
from analysis.report.blocks import UNFOLDED, Block, Bullets, Fold, Group, Heading, Paragraph, Report, marked
from analysis.report.sentences.details import Details, is_of
from analysis.report.sentences.summary import by_question, caveats
from analysis.statistics import Analysis
from analysis.words import LARGEST, Row, chance, method, number, times
from trainers.common.counts import counted


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
    comparisons, of_cells = len(analysis.significance), Details(analysis, trials)
    results = []
    for cell in analysis.cells:
        named, label = best.get(cell.names["cell"]), cell.names["cell_label"]
        details = of_cells.of(cell, named)
        headline = _without_comparison(cell) if named is None else _headline(analysis, cell, named, comparisons)
        results.append(Answer(label, headline, tuple(details)))
    return results


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
        error = _evaluation_error(analysis, cell, best)
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


def _evaluation_error(analysis: Analysis, cell: Cell, best: Row) -> str:
    """Return whether two FIDs differ by more than the error of their own evaluation, in words; "" if it is unknown."""
    if cell.scratch is None:
        return ""
    errors = []
    for method_ in (next(m for m in cell.methods if is_of(m, best)), cell.scratch):
        trials = method_.by_step[method_.step].trials
        of_trials = [analysis.fid_errors.get((trial, method_.step), math.nan) for trial in trials]
        errors.append(math.sqrt(sum(error**2 for error in of_trials)) / len(trials))
    margin = 1.96 * math.hypot(*errors)
    if not math.isfinite(margin):
        return ""
    within = "within" if abs(best["value"] - best["scratch"]) <= margin else "beyond"
    return f"; the FIDs differ {within} their evaluation error (±{number(margin)})"


def _with(cell: Cell) -> str:
    target, size = cell.names["target_label"], cell.names["size"]  # the label may contain commas
    rest = str(cell.names["cell_label"]).removeprefix(target).removesuffix(f", {counted(size, 'image')}").removeprefix(", ")
    return f"With {counted(size, 'image')} of {target}" + (f" ({rest})" if rest else "")
