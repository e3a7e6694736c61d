"""All that is known of each trial, for the page to lay out on demand: config, curves, samples, environment, outcome, reason.

One JSON object, kept small: what trials have in common (parts of their configs, environments) is in it once, and numbers have
four digits.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from analysis.frames import Frames, records
from analysis.report.content.embedded_images import FORMS, Album
from analysis.report.content.tables import flatten
from analysis.words import counted, start
from bench.store import Store
from trainers.config.metrics import label

#: What becomes of a trial, in words, where no error tells more.
_REASONS = {
    "done": "It ran its whole budget.",
    "stopped": "The stopping rule ended it: at this step it was not among the share of its cell that the rule keeps.",
    "unfinished": "It has been measured up to this step and has not ended yet.",
    "pending": "It has not begun.",
}

_IMPORTED = "It was imported: not a step of it was taken here."


def dossiers(frames: Frames, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of trials, ready for JSON.

    Args:
        frames: what the store says.
        rows: the trials to tell of, rows of `Frames.trials` in the order in which to list them.

    Returns:
        `trials`, each with its `key`; `values`, the parts of configs that these name by place; `environments`, by name;
        `labels` of the metrics.
    """
    values: dict[str, int] = {}
    curves = _curves(frames, {row["key"] for row in rows})
    trials = []
    for row in rows:
        config = {
            name: values.setdefault(json.dumps(part), len(values)) for name, part in json.loads(row["config"] or "{}").items()
        }
        told = {
            "key": row["key"],
            "name": _name(row),
            "status": row["status"],
            "why": row["error"]
            or (_IMPORTED if row["status"] == "done" and row["steps"] == 0 else _REASONS.get(row["status"])),
        }
        told |= {name: row[name] for name in ("steps", "budget", "cell", "parent", "sweep", "environment", "samples")}
        told |= {"real": row["real_samples"], "cost": _cost(row), "config": config, "curves": curves[row["key"]]}
        trials.append({name: value for name, value in told.items() if value is not None})
    environments = {
        row["environment"]: [list(pair) for pair in flatten(row["details"])] for row in records(frames.environments)
    }
    labels = {name: label(name) for trial in curves.values() for curve in trial.values() for name in curve["metrics"]}
    parts = [json.loads(text) for text in values]
    return {"trials": trials, "values": parts, "environments": environments, "labels": labels}


@dataclass(frozen=True)
class Grids:
    """The sample grids of single trials: data URIs by path; of how many trials there is none; whether they are compressed."""

    images: dict[str, str]
    left_out: int
    compressed: bool


def grids(rows: list[dict[str, Any]], store: Store, elsewhere: set[str], budget: int) -> Grids:
    """Return the last grids of trials, and the real images beside them.

    Where not all fit, one seed of each method comes before a second one of any.

    Args:
        rows: as for `dossiers`.
        store: where they are read from.
        elsewhere: paths of grids that the page has already.
        budget: bytes.
    """
    real = {row["real_samples"]: None for row in rows if row["real_samples"]}
    own = [row["samples"] for row in sorted(rows, key=lambda row: row["seed"]) if row["samples"]]
    album = Album(store, [path for path in [*real, *own] if path not in elsewhere], budget, FORMS[2:])
    images = {path: uri for path in [*real, *own] if (uri := album.uri(path))}
    left_out = sum(path not in images and path not in elsewhere for path in own)
    return Grids(images, left_out, album.compressed and len(images) > 0)


def _curves(frames: Frames, keys: set[str]) -> dict[str, dict[str, Any]]:
    """Return by trial and embedding the `steps`, and by metric the value at each: None where it is none; not class by class."""
    chosen = (
        frames.curves["trial"].isin(keys) & ~frames.curves["metric"].str.contains("/", regex=False) & ~frames.curves["held"]
    )
    rows = frames.curves.loc[chosen, ["trial", "embedding", "metric", "step", "value"]]
    found: dict[str, dict[str, dict[str, dict[int, float | None]]]] = defaultdict(dict)
    for trial, embedding, metric, step, value in zip(*(rows[name].tolist() for name in rows), strict=True):
        finite = abs(value) < float("inf")  # NaN is not
        found[trial].setdefault(embedding, {}).setdefault(metric, {})[step] = float(f"{value:.4g}") if finite else None
    return defaultdict(dict, {trial: {name: _table(of) for name, of in own.items()} for trial, own in found.items()})


def _table(metrics: dict[str, dict[int, float | None]]) -> dict[str, Any]:
    steps = sorted({step for values in metrics.values() for step in values})
    return {"steps": steps, "metrics": {name: [values.get(step) for step in steps] for name, values in metrics.items()}}


def _name(row: dict[str, Any]) -> str:
    conditional = ", conditional" if row["conditional"] else ""
    if row["kind"] == "pretrain":
        return f"pre-training on {row['source_label']}, {counted(row['size'], 'image')}{conditional}, seed {row['seed']}"
    return f"{start(row)}: {row['cell_label']}, seed {row['seed']}"


def _cost(row: dict[str, Any]) -> str | None:
    """Return what a trial took, in words."""
    words = []
    if row["seconds"] is not None:
        words.append(f"{row['seconds']:,.1f} s with evaluation")
    if row["images_per_second"] is not None:
        words.append(f"{row['images_per_second']:,.0f} images/s in training")
    if row["peak_memory_mib"] is not None:
        words.append(f"{row['peak_memory_mib']:,.0f} MiB at most")
    return ", ".join(words) or None
