"""The page's numbers as CSV files, in the page: each a link that saves one, offline too."""

from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

from analysis.frames import Frames
from analysis.statistics import Analysis

#: Of each table, the columns that say what the others do are left out: the page is to stay small.
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

#: What stands for itself in a link; base64 would make the files a third larger.
_PLAIN = ",./:;=()[]+*!@$|"


@dataclass(frozen=True)
class Download:
    """A file in the page: its name, what is in it, and its data URI."""

    name: str
    about: str
    rows: int
    uri: str


def of_trials(frames: Frames) -> Download:
    """Return the trials; there is one such file in a page."""
    return _download("trials", "every trial, planned or recorded", frames.trials[_TRIALS])


def of_analysis(analysis: Analysis, number: int = 0) -> list[Download]:
    """Return the statistics of one embedding that have a row; `number` sets those of several embeddings apart."""
    chosen = {
        "gains": ("gain over scratch of each transfer, at three steps", analysis.gains[_GAINS]),
        "ranking": ("methods of each cell, best first", analysis.ranked[_RANKED]),
        "data-multiplier": ("how many times the images scratch needs", _without_labels(analysis.multipliers)),
        "speed-up": ("how many times the steps scratch needs", _without_labels(analysis.speed_ups)),
        "significance": ("each transfer against scratch, with p-values", _without_labels(analysis.significance)),
        "strategies": ("strategies of each cell and source, best first", _without_labels(analysis.strategies)),
        "sources": ("sources over all targets", _without_labels(analysis.sources)),
        "advice": ("what following the recommender costs, beside simpler rules", analysis.advice),
        "predictors": ("kinds of distance by how well they foretell the gain", analysis.predictors),
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
    """Return a column in which no text is a formula to a spreadsheet: names come from outside."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.map(lambda value: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value)
