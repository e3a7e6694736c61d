"""The report's numbers as CSV files within the page: links that save them, also offline."""

from collections.abc import Iterator, Mapping

import pandas as pd

from analysis.report.blocks import Block, Bullets, Paragraph, Report, Span, Text
from analysis.report.packed import packed
from analysis.statistics import Analysis
from trainers.common.counts import counted
from trainers.config.sources import renamed

#: Columns of the trials, gains and ranking; redundant ones are left out to keep the page small.
_TRIALS = [
    "key", "kind", "source", "target", "size", "strategy", "conditional", "seed", "cell", "parent", "resolution",
    "status", "steps", "budget", "seconds", "evaluation_seconds", "images_per_second", "peak_memory_mib", "error",
]  # fmt: skip
_GAINS = [
    "trial", "cell", "target", "size", "strategy", "source", "seed", "status", "at", "step", "value", "scratch", "gain",
    "distance",
]  # fmt: skip
_RANKED = [
    "cell", "target", "size", "conditional", "strategy", "source", "step", "value", "low", "high", "seeds", "final", "lost",
]  # fmt: skip
_LABELS = ["source_label", "target_label", "cell_label", "family"]


def links(report: Report) -> Iterator[Block]:
    """Yield the links of the page that save its numbers."""
    if not report.trials:
        return
    named = _named(report)
    items = [_link("trials", "every trial, planned or recorded", report.frames.trials[_TRIALS], named)]
    several = len(report.analyses) > 1
    for number, analysis in enumerate(report.analyses, start=1):
        suffix, embedding = (f"-{number}", f", {analysis.embedding}") if several else ("", "")
        tables = _tables(analysis).items()
        items += [
            _link(f"{name}{suffix}", f"{about}{embedding}", table, named) for name, (about, table) in tables if len(table)
        ]
    yield Paragraph(
        "CSV files within this page: a link saves one, also offline (without JavaScript compressed). Gains are "
        "log2; multipliers and FIDs are not."
    )
    yield Bullets(items)


def _tables(analysis: Analysis) -> dict[str, tuple[str, pd.DataFrame]]:
    """Return the statistics of one embedding by name of file, each with a description."""
    return {
        "gains": ("gain over scratch of each transfer, at three steps", analysis.gains[_GAINS]),
        "ranking": ("methods of each cell, best first", analysis.ranked[_RANKED]),
        "data-multiplier": ("factor in images that scratch needs", analysis.multipliers),
        "speed-up": ("factor in steps that scratch needs", analysis.speed_ups),
        "significance": ("each transfer against scratch, with p-values", analysis.significance),
        "strategies": ("strategies of each cell and source, best first", analysis.strategies),
        "sources": ("sources over all targets", analysis.sources),
        "advice": ("gain of following the recommender, and of simpler rules", analysis.advice),
        "predictors": ("kinds of distance by how well they predict the gain", analysis.predictors),
        "drivers": ("effects of distance, density, diversity and amount", analysis.drivers),
    }


def _named(report: Report) -> dict[str, str]:
    """Return the labels of the sources and targets that have a name in a sweep file; the others keep theirs in the files."""
    given = {domain: name for plan in report.frames.sweeps.values() for name, domain in plan["spec"].get("domains", {}).items()}
    return {domain: label for domain, label in report.frames.domains.items() if renamed(domain, given) != domain}


def _link(name: str, about: str, table: pd.DataFrame, named: Mapping[str, str]) -> Text:
    """Return a link that saves a table, without labels, and its description; `named` are shown in place of domains."""
    ends = {end: table[end].map(lambda domain: named.get(domain, domain)) for end in ("source", "target") if end in table}
    text = table.assign(**ends).drop(columns=_LABELS, errors="ignore").apply(_harmless).to_csv(index=False, float_format="%.6g")
    return Span(
        f"{name}.csv", "", f"data:application/gzip;base64,{packed(text)}", f"{name}.csv.gz"
    ), f": {about} ({counted(len(table), 'row')})"


def _harmless(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return a column in which a spreadsheet takes no text, such as a domain's name, for a formula."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.map(lambda value: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value)
