"""The finding of a report in one sentence, its title: the start to take, and how certain that is."""

from typing import Any

from analysis.claims import Outcome
from analysis.comparison.cells import Cell
from analysis.frames import records
from analysis.report.blocks import Report
from analysis.statistics import Analysis
from analysis.words import Row, method, number, times
from trainers.common.counts import counted

#: The title of a report that has no finding yet.
QUESTION = "Which source, which strategy, and what it is worth"


def finding(report: Report) -> str:
    """Return the finding in the first embedding, in about twenty words; the question if nothing is compared with scratch."""
    if not report.analyses:
        return QUESTION
    analysis = report.analyses[0]
    best = {row["cell"]: row for row in records(analysis.best)}
    named = [(cell, best[cell.names["cell"]]) for cell in analysis.cells if cell.names["cell"] in best]
    if not named:
        return QUESTION
    text = _of_one(*named[0]) if len(analysis.cells) == 1 else _of_many(analysis, [row for _, row in named])
    return text if len(report.analyses) == 1 else f"{text.removesuffix('.')}, in the embedding {analysis.embedding}."


def _of_one(cell: Cell, best: Row) -> str:
    """Return the finding of the only cell."""
    start, target = method(best), cell.names["target_label"]
    if best["lost"] or best["gain"] is None:
        return f"Every start on {target} lost a seed, so none is named."
    values = f"FID {number(best['value'])} instead of {number(best['scratch'])} at step {best['step']:,}"
    if best["outcome"] == Outcome.APART and best["gain"] > 0:
        return f"For {target}, take {start}: {values} (gain {times(best['low'])} to {times(best['high'])})."
    if best["outcome"] == Outcome.APART:
        return f"For {target}, train from scratch: every start is worse at step {best['step']:,}."
    if best["outcome"] == Outcome.NOT_APART:
        return f"No start is told apart from scratch on {target}; {start} is first."
    return f"On {target}, {start} has {values}; too few seeds to tell whether that is chance."


def _of_many(analysis: Analysis, best: list[dict[str, Any]]) -> str:
    """Return in how many of several cells a start is better than scratch."""
    apart = [row for row in best if row["outcome"] == Outcome.APART]
    better = [row for row in apart if row["gain"] > 0]
    cells = counted(len(analysis.cells), "cell")
    if not apart:
        return f"In none of {cells} is a start told apart from training from scratch."
    worse = f", scratch in {len(apart) - len(better)}" if len(apart) > len(better) else ""
    left = len(analysis.cells) - len(apart)
    open_ = f"; {left} {'is' if left == 1 else 'are'} open" if left else ""
    return f"A start is better than scratch in {len(better)} of {cells}{worse}{open_}."
