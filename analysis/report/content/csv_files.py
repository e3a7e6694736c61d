"""The report's numbers as CSV files within the page: links that save them, also offline."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

from analysis.frames import Frames
from analysis.report.blocks import Block, Bullets, Paragraph, Report, Span, Text
from analysis.statistics import Analysis
from analysis.words import counted

#: Columns of the trials, gains and ranking; redundant ones are left out to keep the page small.
_TRIALS = [
    "key", "kind", "source", "target", "size", "strategy", "conditional", "seed", "cell", "parent", "resolution",
    "status", "steps", "budget", "seconds", "images_per_second", "peak_memory_mib", "error",
]  # fmt: skip
_GAINS = [
    "trial", "cell", "target", "size", "strategy", "source", "seed", "status", "at", "step", "value", "scratch", "gain",
    "distance",
]  # fmt: skip
_RANKED = [
    "cell", "target", "size", "conditional", "strategy", "source", "wins", "step", "value", "low", "high", "seeds",
]  # fmt: skip
_LABELS = ["source_label", "target_label", "cell_label", "family"]

#: Characters that need no quoting in a data URI; base64 would make the files a third larger.
_PLAIN = ",./:;=()[]+*!@$|"


@dataclass(frozen=True)
class Download:
    """A file in the page: its name, a description, its number of rows, and its data URI."""

    name: str
    about: str
    rows: int
    uri: str


def links(report: Report) -> Iterator[Block]:
    """Yield the links of the page that save its numbers."""
    if not report.trials:
        return
    several = len(report.analyses) > 1
    items: list[Text] = [_link(of_trials(report.frames), "")]
    for number, analysis in enumerate(report.analyses, start=1):
        embedding = f", {analysis.embedding}" if several else ""
        items += [_link(file, embedding) for file in of_analysis(analysis, number if several else 0)]
    yield Paragraph("CSV files within this page: a link saves one, also offline. Gains are log2; multipliers and FIDs are not.")
    yield Bullets(items)


def _link(file: Download, embedding: str) -> Text:
    return Span(file.name, "", file.uri, file.name), f": {file.about}{embedding} ({counted(file.rows, 'row')})"


def of_trials(frames: Frames) -> Download:
    """Return all trials as a file."""
    return _download("trials", "every trial, planned or recorded", frames.trials[_TRIALS])


def of_analysis(analysis: Analysis, number: int = 0) -> list[Download]:
    """Return the statistics of one embedding that have a row; `number` tells the files of several embeddings apart."""
    chosen = {
        "gains": ("gain over scratch of each transfer, at three steps", analysis.gains[_GAINS]),
        "ranking": ("methods of each cell, best first", analysis.ranked[_RANKED]),
        "data-multiplier": ("factor in images that scratch needs", _without_labels(analysis.multipliers)),
        "speed-up": ("factor in steps that scratch needs", _without_labels(analysis.speed_ups)),
        "significance": ("each transfer against scratch, with p-values", _without_labels(analysis.significance)),
        "strategies": ("strategies of each cell and source, best first", _without_labels(analysis.strategies)),
        "sources": ("sources over all targets", _without_labels(analysis.sources)),
        "advice": ("regret of following the recommender, and of simpler rules", analysis.advice),
        "predictors": ("kinds of distance by how well they predict the gain", analysis.predictors),
        "drivers": ("effects of distance, density, diversity and amount", analysis.drivers),
    }
    suffix = f"-{number}" if number else ""
    return [_download(f"{name}{suffix}", about, table) for name, (about, table) in chosen.items() if len(table)]


def _without_labels(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=_LABELS, errors="ignore")


def _download(name: str, about: str, table: pd.DataFrame) -> Download:
    text = table.apply(_harmless).to_csv(index=False, float_format="%.6g")
    return Download(f"{name}.csv", about, len(table), f"data:text/csv;charset=utf-8,{quote(text, safe=_PLAIN)}")


def _harmless(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return a column in which a spreadsheet takes no text, such as a domain's name, for a formula."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.map(lambda value: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value)
