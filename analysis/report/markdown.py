"""The report as one Markdown file, to paste where others write: the answer in words, and the tables behind it.

GitHub's dialect, and no HTML in it. The same statistics, tables and sentences as on the page, without its figures. Names and
errors come from outside: `escape` makes them text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.frames import STATUSES, Frames, records
from analysis.labels import visible
from analysis.report.content import tables, tuning
from analysis.report.content.answers import answers
from analysis.report.content.summary import caveats, overall
from analysis.statistics import Analysis, analyse
from analysis.transfer import transferability
from analysis.transfer.strategies import BEHIND
from analysis.words import counted, number, predictor, probability, signed, times

_NONE, _INTERVAL, _P = "–", "95 % interval", "p, corrected"


def render(frames: Frames, replayed: pd.DataFrame | None = None) -> str:
    """Return the report of `frames` in Markdown.

    Args:
        frames: what is told.
        replayed: what stopping would have saved where nobody was stopped, see `panels.stopping_audit`; None for nothing.
    """
    coverage = transferability.coverage(frames.trials, STATUSES)
    blocks = ["# Which source, which strategy, and what it is worth", _meta(frames, coverage)]
    blocks += _tuning(frames)
    analyses = [analyse(frames, embedding) for embedding in frames.embeddings]
    for analysis in analyses:
        own = [*_answer(analysis, frames), *_ranking(analysis), *_of_all(analysis), *_strategies(analysis)]
        own += [*_of_distance(analysis), *_quality(analysis)]
        of_which = f" in the embedding {escape(analysis.embedding)}" if len(analyses) > 1 else ""
        blocks += [block + of_which if block.startswith("## ") else block for block in own]
    if not analyses:
        blocks.append("Nothing has been measured yet, so there is no answer.")
    if replayed is not None and (replayed["saved"] > 0).any():
        blocks += _stopping(replayed)
    return "\n\n".join([*blocks, *_coverage(frames, coverage), *_provenance(frames)]) + "\n"


def escape(text: object) -> str:
    r"""Return text such that GitHub shows it as it is, on one line, wherever a line of text may stand.

    No character of it marks up, links, names a person or ends a table's cell; those that would turn the direction of what
    follows, or cannot be seen, are written out.

    >>> escape("<b>a|b</b>\nc")
    '\\<b\\>a\\|b\\</b\\> c'
    """
    line = re.sub(r"[\\`*_\[\]<>|~&$#]|:(?=//)|(?<=www)\.", r"\\\g<0>", visible(str(text)))
    line = re.sub(r"^(\d*)([-+.)])(?=[ +-]|$)", r"\1\\\2", line)  # would begin a list, or be a rule
    # Would be a person, an issue, or a little picture.
    return re.sub(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=:)(?=[\w+-]+:)", "\u200b", line)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """Return a table; the first so many columns hold words, the others numbers. Everything in it is escaped."""
    rule = [":--" if place < words else "--:" for place in range(len(heads))]
    lines = [[escape(head) for head in heads], rule, *([escape(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines: Iterable[object]) -> list[str]:
    found = [f"- {escape(line)}" for line in lines]
    return ["\n".join(found)] if found else []


def _meta(frames: Frames, coverage: pd.DataFrame) -> str:
    counts = ", ".join(f"{coverage[status].sum():,} {status}" for status in STATUSES if coverage[status].sum())
    text = counted(int(coverage["planned"].sum()), "trial") + (f" ({counts})." if counts else ".")
    return f"Sweep {escape(', '.join(frames.names))}: {text}" if frames.names else text


def _answer(analysis: Analysis, frames: Frames) -> list[str]:
    found = answers(analysis, frames.trials)
    blocks = ["## The answer", *_bullets(overall(analysis))]
    for answer in found:
        blocks += [f"### {escape(answer.cell_label)}", f"**{escape(answer.headline)}**", *_bullets(answer.details)]
    if not found:
        blocks.append("No adapt trial has a result in this embedding yet, so there is no answer.")
    doubts = _bullets(caveats(analysis, frames.trials_in(analysis.embedding)))
    return [*blocks, *(["### How far to trust this", *doubts] if doubts else [])]


def _ranking(analysis: Analysis) -> list[str]:
    """Return a table per cell: its methods, best first, with their gains."""
    gains = {(row["cell"], row["strategy"], row["source"]): row for row in records(analysis.significance)}
    distances = {(row["cell"], row["source"]): row["distance"] for row in records(analysis.gains)}
    blocks = []
    for cell, own in analysis.ranked.groupby("cell", sort=False):
        rows = []
        for place, row in enumerate(records(own), start=1):
            distance = distances.get((cell, row["source"]))
            seeds = f"{number(row['low'])} to {number(row['high'])}" if row["seeds"] > 1 else _NONE
            gain = gains.get((cell, row["strategy"], row["source"]))
            gained = [_NONE] * 4 if gain is None else [*_factor(gain), probability(gain["p_holm"]), f"{gain['step']:,}"]
            rows.append((
                place, row["strategy"], row["source_label"] or _NONE, _NONE if distance is None else number(distance),
                number(row["value"]), seeds, row["seeds"], f"{row['step']:,}", *gained,
            ))  # fmt: skip
        heads = ["", "strategy", "source", "distance", "FID", "over seeds", "seeds", "step", "gain", _INTERVAL, _P, "at step"]
        blocks += [f"### {escape(own['cell_label'].iloc[0])}", table(heads, rows, words=3)]
    text = (
        "The methods of each cell, best first: each against every other at the last step of both, ranked by how many it beats. "
        "FID is the mean over seeds at the method's own last step. Gain is FID from scratch divided by FID of the transfer, at "
        "one step for the whole cell; p is corrected for all comparisons by Holm's method."
    )
    return ["## Ranking and gain", text, *blocks] if blocks else []


def _of_all(analysis: Analysis) -> list[str]:
    """Return the tables over cells and targets: what a start saves, and what the sources did."""
    return [
        *_section(
            "What a pre-trained start saves",
            "How many times the images, and the steps, scratch needs to be as good: each strategy with its best source.",
            ["cell", "start", "data multiplier", _INTERVAL, "as scratch with", "speed-up", _INTERVAL],
            [
                (row["cell_label"], row["name"], row["images"], row["images_interval"], row["equivalent"], row["steps"],
                 row["steps_interval"])
                for row in tables.savings_rows(analysis)
            ],
            words=2,
        ),
        *_section(
            "Sources over all targets",
            "At each cell's common step. Regret: how many times as high FID is as with the cell's best source.",
            ["strategy", "source", "mean gain", _INTERVAL, "regret", "best in", "targets"],
            [
                (row["strategy"], row["source_label"], *_factor(row), times(row["regret"]),
                 f"{row['best_in']} of {row['cells']}", row["targets"])
                for row in records(analysis.sources)
            ],
            words=2,
        ),
        *_section(
            "What following advice would have cost",
            "Each target is left out in turn, and a start chosen for it from the others.",
            ["start from", "regret", _INTERVAL, "best on"],
            [
                (row["about"], *_factor(row, "regret"), f"{row['best_in']} of {row['targets']} targets")
                for row in records(analysis.advice)
            ],
        ),
    ]  # fmt: skip


def _of_distance(analysis: Analysis) -> list[str]:
    """Return the tables of what foretells the gain."""
    return [
        *_section(
            "Which distance foretells transfer best",
            "Spearman's correlation between nearness and gain in a cell and strategy, averaged. +1: nearer always helped more.",
            ["distance", "mean rank correlation", _INTERVAL, _P, "pooled", "nearest was best", "regret of nearest"],
            [
                (predictor(row), _signed(row["rho"]), _range(row["interval_low"], row["interval_high"], signed),
                 probability(row["p_holm"]), _signed(row["pooled"]), f"{row['hits']} of {row['groups']}", times(row["regret"]))
                for row in records(analysis.predictors)
            ],
        ),
        *_section(
            "Rank correlations of distance and gain",
            "Spearman's, over sources; negative: nearer ones help more.",
            ["cell", "strategy", "points", "real images", "generator's samples"],
            [
                (row["cell_label"] if row["scope"] == "cell" else "all cells pooled",
                 "all" if row["scope"] == "all" else row["strategy"], row["n"],
                 _signed(row["rho"]), _signed(row["rho_generator"]))
                for row in records(analysis.correlations)
            ],
            words=2,
        ),
        *_section(
            "What drives the gain",
            "A linear mixed model of log2 gain; every effect beside the others.",
            ["strategy", "effect of", "that is", "gain", _INTERVAL, _P],
            [
                (row["strategy"], row["covariate"], row["about"], *_factor(row, "value"), probability(row["p_holm"]))
                for row in records(analysis.drivers)
            ],
            words=3,
        ),
        *_section(
            "Density, diversity, amount",
            "What the sources' knobs did to the gain.",
            ["cell", "strategy", "effect of", "that is", "gain", _INTERVAL, "sources"],
            [
                (row["cell_label"], row["strategy"], row["effect"], row["about"], *_factor(row, "value"), row["sources"])
                for row in records(analysis.knobs)
            ],
            words=4,
        ),
    ]  # fmt: skip


def _section(title: str, text: str, heads: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> list[str]:
    return [f"## {title}", text, table(heads, rows, words)] if rows else []


def _factor(row: dict[str, Any], name: str = "gain") -> tuple[str, str]:
    """Return an effect in log2, and its 95 % interval, as factors."""
    return times(row[name]), _range(row["low"], row["high"], times)


def _range(low: float | None, high: float | None, say: Callable[[float], str]) -> str:
    return _NONE if low is None or high is None else f"{say(low)} to {say(high)}"


def _signed(rho: float | None) -> str:
    return _NONE if rho is None else signed(rho)


def _tuning(frames: Frames) -> list[str]:
    return [escape(search.words) for search in tuning.searches(frames)]


def _strategies(analysis: Analysis) -> list[str]:
    blocks = []
    for each in tables.strategy_tables(analysis):
        rows = [
            (name, *(f"{words}, behind" if verdict == BEHIND else words for verdict, words in own)) for name, own in each.rows
        ]
        blocks += [f"### {escape(each.cell_label)}", table(["strategy", *each.sources], rows)]
    text = (
        "How many times as high FID is as with the best strategy from the same source, with its 95 % interval (Tukey's). "
        "Behind: by more than noise explains."
    )
    return ["## Strategies side by side", text, *blocks] if blocks else []


def _quality(analysis: Analysis) -> list[str]:
    blocks = []
    for each in tables.quality_tables(analysis):
        rows = [(name, f"{step:,}", seeds, *values) for name, step, seeds, values in each.rows]
        blocks += [f"### {escape(each.cell_label)}", table(["method", "step", "seeds", *each.metrics], rows)]
    text = "After ±: 1.96 standard errors from the sampling of images. Memorisation: 0.5 is as fresh as real images, 1 copies."
    return ["## Beyond FID", text, *blocks] if blocks else []


def _stopping(replayed: pd.DataFrame) -> list[str]:
    rows = [
        (f"{row['keep']:g}", f"{row['saved']:.0%}", f"{row['same_winner']} of {row['cells']}", _signed(row["source_order"]))
        for row in records(replayed)
    ]
    text = "Successive halving carried out afterwards, in the cells where nobody was stopped."
    heads = ["share kept at a rung", "steps saved", "same winner", "order of the sources (rank correlation)"]
    return _section("What stopping saves", text, heads, rows, words=0)


def _coverage(frames: Frames, coverage: pd.DataFrame) -> list[str]:
    statuses = [status for status in STATUSES if coverage[status].sum()]
    rows = [
        (row["cell_label"] or "pre-training", f"{row['planned']:,}", *(f"{row[status]:,}" for status in statuses))
        for row in records(coverage)
    ]
    text = "What was planned and what became of it. A stopped trial has results up to the step it reached."
    wrong = _bullets(f"{row['trials']:,} {row['status']}: {row['error']}" for row in tables.errors(frames.trials))
    blocks = _section("Coverage", text, ["cell", "planned", *statuses], rows)
    return [*blocks, "### What went wrong", *wrong] if wrong else blocks


def _provenance(frames: Frames) -> list[str]:
    lines = [f"Embedding {row['name']}: {row['about']}." for row in tables.embeddings(frames)]
    lines += [f"{label} is {name}." for name, label in frames.domains.items() if name != label]
    for row in records(frames.environments):
        details = ", ".join(f"{name} {value}" for name, value in tables.flatten(row["details"]))
        lines.append(f"Environment of {counted(row['trials'], 'trial')}: {details}.")
    return ["## Provenance", *_bullets(lines)] if lines else []
