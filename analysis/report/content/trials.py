"""The table of trials, and the details of each that the page lays out on demand: outcome, curves, samples, configuration.

The page holds the trials as columns, compressed, and its script draws the rows that are looked at (templates/tables.js) and the
details of the trial that is chosen (templates/trial.js). Parts that trials share (of their configs, environments) are in it
once, and numbers have four digits.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.frames import STATUSES, Frames, records
from analysis.report.blocks import Block, Column, Paragraph, Report, Row, Span, Table, Text, TrialView
from analysis.report.embedded_images import FORMS, Album, at_step
from analysis.report.packed import packed_json
from analysis.words import start
from bench.store import Store
from trainers.common.counts import counted
from trainers.config.metrics import label

#: Most trials of the page, and rows of their table that can be read without scripts.
MOST_ROWS, FIRST_ROWS = 20_000, 50

#: Why a trial has its status, if no error says so.
_REASONS = {
    "done": "It ran its whole budget.",
    "stopped": "The stopping rule ended it: at this step it was not in the share of its cell that the rule keeps.",
    "unfinished": "It has been measured up to this step and has not finished yet.",
    "pending": "It has not started.",
}

_IMPORTED = "It was imported: no step of it was run here."


@dataclass(frozen=True)
class TrialColumn:
    """A column of the table of trials.

    Attributes:
        head: its heading.
        holds: what its cells are: a key is a link to its trial, a number is aligned and sorted as one.
        cells: the text of each row.
        order: what rows are sorted by; by default their text, or its number. None comes last.
    """

    head: str
    holds: str
    cells: list[str]
    order: list[float | None] | None = None


def table(report: Report) -> Iterator[Block]:
    """Yield the sortable table of trials, with its first rows."""
    if not report.trials:
        return
    planned = len(report.frames.trials)
    text: tuple[str | Span, ...] = (
        Span("Press a heading to sort, a key to see a trial's details. ", "screen"),
        "FID and KID are those of the last step measured; values of stopped and finished trials are not comparable.",
    )
    if planned > len(report.trials):
        text += (
            f" These are {len(report.trials):,} of {counted(planned, 'trial')}: all are in the file trials.csv of the HTML "
            "page.",
        )
    yield Paragraph(text)
    columns = table_columns(report.trials, report.frames.embeddings)
    heads = [Column(column.head, "numbers" if column.holds == "number" else "text") for column in columns]
    rows = [_row(columns, place, row) for place, row in enumerate(report.trials[:FIRST_ROWS])]
    yield Table("Table of trials, scrolls", heads, rows, sortable=True, total=len(report.trials))


def table_columns(rows: Sequence[dict[str, Any]], embeddings: Sequence[str]) -> list[TrialColumn]:
    """Return the columns of the table for rows of `trial_rows`; several `embeddings` are named in the headings."""

    def texts(name: str) -> list[str]:
        return [row[name] or "" for row in rows]

    def numbers(head: str, values: list[Any], form: str) -> TrialColumn:
        cells = ["" if value is None else format(value, form) for value in values]
        return TrialColumn(head, "number", cells, None if form in (",", "d") else [_short(value) for value in values])

    def of(name: str) -> list[Any]:
        return [row[name] for row in rows]

    measured = [
        numbers(f"{metric} {name}" if len(embeddings) > 1 else metric, [row["values"][place][which] for row in rows], form)
        for place, name in enumerate(embeddings)
        for which, (metric, form) in enumerate((("FID", ".1f"), ("KID", ".4f")))
    ]
    columns = [
        TrialColumn("status", "status", of("status"), [STATUSES.index(status) for status in of("status")]),
        TrialColumn("kind", "text", texts("kind")), TrialColumn("strategy", "text", texts("strategy")),
        TrialColumn("source", "text", texts("source_label")), TrialColumn("target", "text", texts("target_label")),
        numbers("images", of("size"), ","), numbers("step", of("steps"), ","), numbers("budget", of("budget"), ","), *measured,
        numbers("seed", of("seed"), "d"),
        TrialColumn("conditional", "text", ["yes" if conditional else "no" for conditional in of("conditional")]),
        numbers("px", of("resolution"), "d"), numbers("seconds", of("seconds"), ".0f"), TrialColumn("key", "key", of("key")),
    ]  # fmt: skip
    errors = texts("error")
    return [*columns, *([TrialColumn("error", "error", errors)] if any(errors) else [])]


def _short(value: float | None) -> float | None:
    """Return a number with the digits that sorting needs."""
    return None if value is None else float(f"{value:.7g}")


def _row(columns: Sequence[TrialColumn], place: int, subject: dict[str, Any]) -> Row:
    """Return a row as the page's script draws it."""
    cells: list[Text] = []
    for column in columns:
        text = column.cells[place]
        match column.holds:
            case "key":
                cells.append(Span(text[:10], "code", f"#trial={text}"))
            case "status":
                cells.append(Span(text, "status"))
            case "error":
                cells.append(Span(text, "error"))
            case _:
                cells.append(text)
    return Row(cells, subject)


def trial_rows(frames: Frames) -> list[dict[str, Any]]:
    """Return the trials, at most `MOST_ROWS`, with their last finite FID and KID in each embedding as `values`.

    Trials that have not started are the first to be left out.
    """
    wanted = frames.curves["metric"].isin(["fid", "kid"]) & (frames.curves["value"].abs() < math.inf)
    curves = frames.curves.loc[wanted, ["trial", "metric", "embedding", "step", "value"]]
    last = curves.sort_values("step").drop_duplicates(["trial", "metric", "embedding"], keep="last")
    values = {(row["trial"], row["embedding"], row["metric"]): row["value"] for row in records(last)}
    trials = frames.trials.sort_values(
        ["kind", "target", "conditional", "size", "strategy", "source", "seed"], ascending=[False] + [True] * 6
    )
    if len(trials) > MOST_ROWS:
        trials = trials.sort_values("steps", key=lambda steps: steps.fillna(0) == 0, kind="stable")[:MOST_ROWS]
    rows, embeddings = records(trials), frames.embeddings
    for row in rows:
        row["values"] = [(values.get((row["key"], name, "fid")), values.get((row["key"], name, "kid"))) for name in embeddings]
    return rows


def view(report: Report) -> Iterator[Block]:
    """Yield the place for one trial's details, with the details of all."""
    if not report.trials:
        return
    text = (
        "Outcome and reason, samples at each rung, curves, configuration and environment of one trial, or of two side by side."
    )
    if len(report.frames.trials) > len(report.trials):
        text += f" The {counted(len(report.trials), 'trial')} of the table above can be chosen."
    yield Paragraph(text)
    shown = table_columns(report.trials, report.frames.embeddings)
    columns = [{name: value for name, value in vars(column).items() if value is not None} for column in shown]
    yield TrialView(packed_json({**details(report.frames, report.trials), "table": columns}))


def details(frames: Frames, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the details of trials (`rows` of `Frames.trials`, in the order in which to list them), ready for JSON.

    Returns:
        `trials`, by name of column a value for each, `key` among them; `curves`, see `_curves`; `config`, by name of a part its
        index in `values` for each; `values`, the parts of configs; `environments`, by name; `labels` of the metrics.
    """
    values: dict[str, int] = {}
    config: dict[str, list[int | None]] = defaultdict(lambda: [None] * len(rows))
    for place, row in enumerate(rows):
        for name, part in json.loads(row["config"] or "{}").items():
            config[name][place] = values.setdefault(json.dumps(part), len(values))
    names = ("key", "status", "steps", "budget", "cell", "parent", "sweep", "environment", "samples")
    trials: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in names}
    trials |= {"name": [_name(row) for row in rows], "why": [_why(row) for row in rows], "cost": [_cost(row) for row in rows]}
    trials["real"] = [row["real_samples"] for row in rows]
    environments = {
        row["environment"]: [list(pair) for pair in flatten(row["details"])] for row in records(frames.environments)
    }
    curves = _curves(frames, trials["key"])
    labels = {name: label(name) for of_embedding in curves.values() for name in of_embedding["metrics"]}
    parts = [json.loads(text) for text in values]
    shared = {"config": config, "values": parts, "environments": environments, "labels": labels}
    return {"trials": trials, "curves": curves, **shared}


def _why(row: dict[str, Any]) -> str | None:
    """Return the reason of a trial's status."""
    imported = row["status"] == "done" and row["steps"] == 0
    return row["error"] or (_IMPORTED if imported else _REASONS.get(row["status"]))


#: Steps, and a metric's values there.
_Curve = tuple[tuple[int, ...], list[float | None]]


@dataclass(frozen=True)
class Grids:
    """The sample grids of single trials: data URIs by path, the numbers of trials with and without one, whether compressed."""

    images: dict[str, str]
    shown: int
    left_out: int
    compressed: bool


def grids(rows: Sequence[dict[str, Any]], store: Store, elsewhere: set[str], budget: int, most: int) -> Grids:
    """Return the last grids of trials, at most `most`, and their real images.

    If not all fit into `budget` bytes, one seed of every method comes before a second seed of any. Grids at the paths
    `elsewhere` are in the page already.
    """
    real = {row["real_samples"]: None for row in rows if row["real_samples"]}
    samples = [row["samples"] for row in sorted(rows, key=lambda row: row["seed"]) if row["samples"]]
    wanted = [path for path in [*real, *samples] if path not in elsewhere][:most]
    album = Album(store, wanted, budget, FORMS[2:])
    images = {path: uri for path in wanted if (uri := album.uri(path))}
    left_out = sum(path not in images and path not in elsewhere for path in samples)
    return Grids(images, len(samples) - left_out, left_out, album.compressed and len(images) > 0)


def earlier_grids(frames: Frames, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield where the store may have the grids of trials at the rungs before their last, one seed of every method first."""
    trials, steps = frames.curves["trial"].to_numpy(object), frames.curves["step"].to_numpy()
    for row in sorted(rows, key=lambda row: row["seed"]):
        if row["samples"]:
            own = slice(*(trials.searchsorted(row["key"], side) for side in ("left", "right")))
            at = (at_step(row["samples"], row["steps"], step) for step in np.unique(steps[own]) if step < row["steps"])
            yield from (path for path in at if path)


def _curves(frames: Frames, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the measurements of trials by embedding, without those of single classes.

    Returns:
        `steps`, the different lists of steps; `of`, the index in it of each trial, or None; `metrics`, by name the values of
        each trial at its steps (None if not finite), or None.
    """
    place = {key: number for number, key in enumerate(keys)}
    curves = frames.curves
    whole = [name for name in curves["metric"].unique() if "/" not in name]
    chosen = curves["metric"].isin(whole) & ~curves["held"] & curves["trial"].isin(place)
    rows = curves.loc[chosen, ["trial", "embedding", "metric", "step", "value"]]
    names = rows[["trial", "embedding", "metric"]]
    begins = (names != names.shift()).any(axis=1).to_numpy()  # the rows of a trial's metric follow each other
    steps, values = rows["step"].tolist(), rows["value"].tolist()
    curves_of: dict[str, dict[str, dict[str, _Curve]]] = defaultdict(lambda: defaultdict(dict))
    bounds = pairwise([*np.flatnonzero(begins).tolist(), len(rows)])
    for (trial, embedding, metric), (first, end) in zip(names[begins].to_numpy().tolist(), bounds, strict=True):
        # NaN is not below infinity either.
        brief = [float(f"{value:.4g}") if abs(value) < math.inf else None for value in values[first:end]]
        curves_of[embedding][trial][metric] = tuple(steps[first:end]), brief
    return {embedding: _columns(of_trials, place) for embedding, of_trials in curves_of.items()}


def _columns(of_trials: dict[str, dict[str, _Curve]], place: dict[str, int]) -> dict[str, Any]:
    """Return the curves in one embedding, by trial and metric, as columns."""
    lists: dict[tuple[int, ...], int] = {}
    of: list[int | None] = [None] * len(place)
    metrics: dict[str, list[list[float | None] | None]] = {}
    for trial, by_metric in of_trials.items():
        steps = tuple(sorted(set().union(*(own for own, _ in by_metric.values()))))
        of[place[trial]] = lists.setdefault(steps, len(lists))
        for name, (own, values) in by_metric.items():
            column = metrics.setdefault(name, [None] * len(place))
            column[place[trial]] = values if own == steps else [*map(dict(zip(own, values, strict=True)).get, steps)]
    return {"steps": [list(steps) for steps in lists], "of": of, "metrics": metrics}


def _name(row: dict[str, Any]) -> str:
    conditional = ", conditional" if row["conditional"] else ""
    if row["kind"] == "pretrain":
        return f"pre-training on {row['source_label']}, {counted(row['size'], 'image')}{conditional}, seed {row['seed']}"
    return f"{start(row)}: {row['cell_label']}, seed {row['seed']}"


def _cost(row: dict[str, Any]) -> str | None:
    """Return a trial's time, speed and memory, in words."""
    formats = {
        "seconds": "{:,.1f} s with evaluation",
        "evaluation_seconds": "which took {:,.1f} s",
        "images_per_second": "{:,.0f} images/s in training",
        "peak_memory_mib": "{:,.0f} MiB at most",
    }
    return ", ".join(text.format(row[name]) for name, text in formats.items() if row[name] is not None) or None


def flatten(details: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the names and values of an environment's details, including nested ones, except empty values."""
    for name, value in details.items():
        if isinstance(value, dict):
            yield from flatten(value)
        elif value not in (None, "", []):
            yield name.replace("_", " "), str(value)
