"""The tables of a page: what a row of each says."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.frames import STATUSES, Frames, records
from analysis.statistics import Analysis
from analysis.words import counted, saved, saved_interval, span, start, times
from trainers.config.metrics import metrics


@dataclass(frozen=True)
class Quality:
    """What the metrics say of one cell: their names, and by method (name, step, seeds) what each says, "" for nothing."""

    cell_label: str
    metrics: list[str]
    rows: list[tuple[str, int, int, list[str]]]
    methods: list[dict[str, Any]]
    """The `strategy` and `source_label` of each row."""


def quality_tables(analysis: Analysis) -> list[Quality]:
    """Return a table per cell: scratch, and each strategy with its best source."""
    tables = []
    for _, cell in analysis.quality.groupby("cell", sort=False):
        names = [name for name in metrics() if name in set(cell["metric"])]
        rows, methods = [], []
        for _, own in cell.groupby(["strategy", "source"], sort=False, dropna=False):
            first = records(own)[0]
            said = {row["metric"]: _with_error(row["value"], row["error"]) for row in records(own)}
            rows.append((start(first), first["step"], first["seeds"], [said.get(name, "") for name in names]))
            methods.append({name: first[name] for name in ("strategy", "source_label")})
        tables.append(Quality(str(cell["cell_label"].iloc[0]), [metrics()[name].heading for name in names], rows, methods))
    return tables


def _with_error(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    digits = 0 if error >= 10 else 1 if error >= 1 else 2 if error >= 0.1 else 3
    return f"{value:.{digits}f} ± {error:.{digits}f}"


@dataclass(frozen=True)
class Ranking:
    """The strategies of one cell: the sources, nearest first, and by strategy, best first, its verdict and words under each."""

    cell_label: str
    sources: list[str]
    """Headings; with the distance where it is known."""
    rows: list[tuple[str, list[tuple[str, str]]]]
    source_labels: list[str]


def strategy_tables(analysis: Analysis) -> list[Ranking]:
    """Return a table per cell in which a source has two strategies: how far each is behind the best from the same source."""
    tables = []
    for _, cell in analysis.strategies.groupby("cell", sort=False):
        rows = records(cell)
        heads = {
            row["source"]: row["source_label"] + ("" if row["distance"] is None else f" (distance {row['distance']:.3g})")
            for row in rows
        }
        labels = {row["source"]: row["source_label"] for row in rows}
        said = {(row["strategy"], row["source"]): (row["verdict"], _behind(row)) for row in rows}
        order = cell.groupby("strategy", sort=False)["rank"].mean().sort_values(kind="stable").index
        own = [(str(name), [said.get((name, source), ("", "–")) for source in heads]) for name in order]
        tables.append(Ranking(str(cell["cell_label"].iloc[0]), list(heads.values()), own, list(labels.values())))
    return tables


def _behind(row: dict[str, Any]) -> str:
    if row["rank"] == 1:
        return f"best, to step {row['step']:,}"
    interval = "" if row["low"] is None else f" ({2 ** row['low']:.2f} to {2 ** row['high']:.2f})"
    return f"{times(row['behind'])}{interval} at {row['step']:,}"


def savings_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return, for each strategy of a cell with its best source, what it saves in images and in steps, in words.

    Where a cell has such rows they are of all its strategies: of one whose best source diverged nothing is known.
    """
    chosen = analysis.ranked[analysis.ranked["source"].notna()].drop_duplicates(["cell", "strategy"])
    by_size, by_cell = ["family", "size", "strategy", "source"], ["cell", "strategy", "source"]
    images = {tuple(row[name] for name in by_size): row for row in records(analysis.multipliers)}
    steps = {tuple(row[name] for name in by_cell): row for row in records(analysis.speed_ups)}
    compared = set(analysis.speed_ups["cell"])
    rows = []
    for row in records(chosen):
        data, time = images.get(tuple(row[name] for name in by_size)), steps.get(tuple(row[name] for name in by_cell))
        if data or time or row["cell"] in compared:
            named = {name: row[name] for name in ("cell_label", "strategy", "source_label")}
            rows.append({**named, "name": start(row), **_of_images(data), **_of_steps(time)})
    return rows


def _of_images(row: dict[str, Any] | None) -> dict[str, str]:
    if row is None:
        return dict.fromkeys(("images", "images_interval", "equivalent"), "–")
    some = f" ({row['sizes']} of {row['planned']} sizes)" if row["sizes"] < row["planned"] else ""
    return {
        "images": saved(row),
        "images_interval": saved_interval(row) or "–",
        "equivalent": f"{row['equivalent']:,.0f} at step {row['step']:,}{some}",
    }


def _of_steps(row: dict[str, Any] | None) -> dict[str, str]:
    if row is None:
        return dict.fromkeys(("steps", "steps_interval"), "–")
    return {"steps": saved(row), "steps_interval": saved_interval(row) or "–"}


#: Trials that the table of trials shows at most; a browser takes long to lay out more.
MOST_ROWS = 2000


def trial_rows(frames: Frames) -> list[dict[str, Any]]:
    """Return the trials, up to `MOST_ROWS` of them, with their last finite FID and KID in each embedding.

    Those planned and not begun come last, where not all can be shown.
    """
    curves = frames.curves[frames.curves["value"].abs() < math.inf]
    last = (
        curves[curves["metric"].isin(["fid", "kid"])]
        .sort_values("step")
        .drop_duplicates(["trial", "metric", "embedding"], keep="last")
    )
    values = {(row["trial"], row["embedding"], row["metric"]): row["value"] for row in records(last)}
    trials = frames.trials.assign(rank=frames.trials["status"].map(STATUSES.index))
    trials = trials.sort_values(
        ["kind", "target", "conditional", "size", "strategy", "source", "seed"], ascending=[False] + [True] * 6
    )
    if len(trials) > MOST_ROWS:
        trials = trials.sort_values("steps", key=lambda steps: steps.fillna(0) == 0, kind="stable")[:MOST_ROWS]
    rows, embeddings = records(trials), frames.embeddings
    for row in rows:
        row["values"] = [(values.get((row["key"], name, "fid")), values.get((row["key"], name, "kid"))) for name in embeddings]
    return rows


def filtered_by(trials: pd.DataFrame) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function from a row to the attributes by which the page filters it.

    A row says what it is of by `target_label`, `size`, `strategy` and `source_label`, or by the `cell_label` of a cell of
    `trials`. A size without a target is that of a source, which is not filtered by.
    """
    adapt = trials[trials["cell_label"].notna()].drop_duplicates("cell_label")
    cells = {row["cell_label"]: row for row in records(adapt[["cell_label", "target_label", "size"]])}

    def attributes(row: dict[str, Any]) -> dict[str, Any]:
        cell = cells.get(row.get("cell_label"), row)
        target = cell.get("target_label")
        own = {"target": target, "strategy": row.get("strategy"), "source": row.get("source_label")}
        own["size"] = cell.get("size") if target else None
        return {f"data-{name}": value for name, value in own.items()}

    return attributes


#: Errors that are told of each status: those of diverged trials may all differ, as they name a step.
MOST_ERRORS = 10


def errors(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each distinct error, with its status and how many `trials` have it, by status and then the most frequent first.

    Beyond `MOST_ERRORS` of a status they are counted.
    """
    rows = []
    for status in STATUSES:
        counts = trials.loc[trials["status"] == status, "error"].value_counts()
        rest = counts[MOST_ERRORS:]
        told = [*counts[:MOST_ERRORS].items(), *([(counted(len(rest), "other reason"), rest.sum())] if len(rest) else [])]
        rows += [{"status": status, "error": error, "trials": int(count)} for error, count in told]
    return rows


def embeddings(frames: Frames) -> list[dict[str, Any]]:
    """Return each embedding with what is behind its numbers, in words."""
    rows = []
    whole = frames.curves[frames.curves["metric"].isin(["fid", "kid"])]  # those of a class, or of training, stand on others
    for name in frames.embeddings:
        words = f"{span(whole.loc[whole['embedding'] == name, 'samples'])} generated images behind each FID and KID"
        own = frames.distances[frames.distances["embedding"] == name]
        if len(own):
            words += f"; distances from {span(own['source_samples'])} source and {span(own['target_samples'])} target images"
        rows.append({"name": name, "about": words})
    return rows


def flatten(details: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the names and values of an environment's details, nested ones too, without those that are empty."""
    for name, value in details.items():
        if isinstance(value, dict):
            yield from flatten(value)
        elif value not in (None, "", []):
            yield name.replace("_", " "), str(value)
