"""The table of trials, and the details of each that the page lays out on demand: outcome, curves, samples, configuration.

The details are one JSON object, kept small: parts that trials share (of their configs, environments) are in it once, and
numbers have four digits.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.frames import STATUSES, Frames, records
from analysis.report.blocks import Block, Column, Paragraph, Report, Row, Span, Table, Text, TrialView, in_script, numbers
from analysis.report.embedded_images import FORMS, Album, at_step
from analysis.words import start
from bench.store import Store
from trainers.common.counts import counted
from trainers.config.metrics import label

#: Most trials that the table shows; browsers lay out more of them slowly.
MOST_ROWS = 2000

#: Why a trial has its status, if no error says so.
_REASONS = {
    "done": "It ran its whole budget.",
    "stopped": "The stopping rule ended it: at this step it was not in the share of its cell that the rule keeps.",
    "unfinished": "It has been measured up to this step and has not finished yet.",
    "pending": "It has not started.",
}

_IMPORTED = "It was imported: no step of it was run here."


def table(report: Report) -> Iterator[Block]:
    """Yield the sortable table of trials."""
    if not report.trials:
        return
    planned, several = len(report.frames.trials), len(report.frames.embeddings) > 1
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
    values = [f"{metric} {name}" if several else metric for name in report.frames.embeddings for metric in ("FID", "KID")]
    errors = any(row["error"] for row in report.trials)
    columns = [
        *(Column(head) for head in ("status", "kind", "strategy", "source", "target")),
        *numbers("images", "step", "budget", *values, "seed"), Column("conditional"), *numbers("px", "seconds"),
        Column("key"), *([Column("error")] if errors else []),
    ]  # fmt: skip
    yield Table("Table of trials, scrolls", columns, [_row(row, errors) for row in report.trials], sortable=True)


def _row(row: dict[str, Any], errors: bool) -> Row:
    cells: list[tuple[Text, float | None]] = [(Span(row["status"], "status"), STATUSES.index(row["status"]))]
    cells += [(row[name] or "", None) for name in ("kind", "strategy", "source_label", "target_label")]
    cells += [(f"{row[name]:,}", row[name]) for name in ("size", "steps", "budget")]
    for fid, kid in row["values"]:
        cells += [("" if fid is None else f"{fid:.1f}", fid), ("" if kid is None else f"{kid:.4f}", kid)]
    cells += [(str(row["seed"]), row["seed"]), ("yes" if row["conditional"] else "no", None)]
    seconds = row["seconds"]
    cells += [(str(row["resolution"]), row["resolution"]), ("" if seconds is None else f"{seconds:.0f}", seconds)]
    cells.append((Span(row["key"][:10], "code", f"#trial={row['key']}"), None))
    if errors:
        cells.append((Span(row["error"] or "", "error"), None))
    return Row([text for text, _ in cells], row, [value for _, value in cells])


def trial_rows(frames: Frames) -> list[dict[str, Any]]:
    """Return the trials, at most `MOST_ROWS`, with their last finite FID and KID in each embedding as `values`.

    Trials that have not started are the first to be left out.
    """
    curves = frames.curves[frames.curves["value"].abs() < math.inf]
    last = (
        curves[curves["metric"].isin(["fid", "kid"])]
        .sort_values("step")
        .drop_duplicates(["trial", "metric", "embedding"], keep="last")
    )
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
    yield TrialView(in_script(details(report.frames, report.trials)))


def details(frames: Frames, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the details of trials (`rows` of `Frames.trials`, in the order in which to list them), ready for JSON.

    Returns:
        `trials`, each with its `key`; `values`, the parts of configs, which trials refer to by index; `environments`, by name;
        `labels` of the metrics.
    """
    values: dict[str, int] = {}
    curves = _curves(frames, {row["key"] for row in rows})
    trials = []
    for row in rows:
        config = {
            name: values.setdefault(json.dumps(part), len(values)) for name, part in json.loads(row["config"] or "{}").items()
        }
        fields = {
            "key": row["key"],
            "name": _name(row),
            "status": row["status"],
            "why": row["error"]
            or (_IMPORTED if row["status"] == "done" and row["steps"] == 0 else _REASONS.get(row["status"])),
        }
        fields |= {name: row[name] for name in ("steps", "budget", "cell", "parent", "sweep", "environment", "samples")}
        fields |= {"real": row["real_samples"], "cost": _cost(row), "config": config, "curves": curves.get(row["key"], {})}
        trials.append({name: value for name, value in fields.items() if value is not None})
    environments = {
        row["environment"]: [list(pair) for pair in flatten(row["details"])] for row in records(frames.environments)
    }
    labels = {name: label(name) for trial in curves.values() for curve in trial.values() for name in curve["metrics"]}
    parts = [json.loads(text) for text in values]
    return {"trials": trials, "values": parts, "environments": environments, "labels": labels}


@dataclass(frozen=True)
class Grids:
    """The sample grids of single trials: data URIs by path, the number of trials without one, whether they are compressed."""

    images: dict[str, str]
    left_out: int
    compressed: bool


def grids(rows: Sequence[dict[str, Any]], store: Store, elsewhere: set[str], budget: int) -> Grids:
    """Return the last grids of trials, and their real images.

    If not all fit into `budget` bytes, one seed of every method comes before a second seed of any. Grids at the paths
    `elsewhere` are in the page already.
    """
    real = {row["real_samples"]: None for row in rows if row["real_samples"]}
    samples = [row["samples"] for row in sorted(rows, key=lambda row: row["seed"]) if row["samples"]]
    album = Album(store, [path for path in [*real, *samples] if path not in elsewhere], budget, FORMS[2:])
    images = {path: uri for path in [*real, *samples] if (uri := album.uri(path))}
    left_out = sum(path not in images and path not in elsewhere for path in samples)
    return Grids(images, left_out, album.compressed and len(images) > 0)


def earlier_grids(frames: Frames, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return where the store may have the grids of trials at the rungs before their last, one seed of every method first."""
    steps = frames.curves.groupby("trial")["step"].unique()
    paths = []
    for row in sorted(rows, key=lambda row: row["seed"]):
        if row["samples"] and row["key"] in steps.index:
            at = (at_step(row["samples"], row["steps"], step) for step in sorted(steps[row["key"]]) if step < row["steps"])
            paths += [path for path in at if path]
    return paths


def _curves(frames: Frames, keys: set[str]) -> dict[str, dict[str, Any]]:
    """Return by trial and embedding the `steps`, and by metric the value at each (None if not finite), without classes."""
    chosen = (
        frames.curves["trial"].isin(keys) & ~frames.curves["metric"].str.contains("/", regex=False) & ~frames.curves["held"]
    )
    rows = frames.curves.loc[chosen, ["trial", "embedding", "metric", "step", "value"]]
    values: dict[str, dict[str, dict[str, dict[int, float | None]]]] = defaultdict(dict)
    for trial, embedding, metric, step, value in zip(*(rows[name].tolist() for name in rows), strict=True):
        finite = abs(value) < float("inf")  # NaN is not
        values[trial].setdefault(embedding, {}).setdefault(metric, {})[step] = float(f"{value:.4g}") if finite else None
    return {trial: {name: _by_step(metrics) for name, metrics in embeddings.items()} for trial, embeddings in values.items()}


def _by_step(metrics: dict[str, dict[int, float | None]]) -> dict[str, Any]:
    steps = sorted({step for values in metrics.values() for step in values})
    return {"steps": steps, "metrics": {name: [values.get(step) for step in steps] for name, values in metrics.items()}}


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
