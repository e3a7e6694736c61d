"""What `transfergan recommend` prints: the store's own results on a target, or a prediction from those on other targets."""

import json
from typing import TYPE_CHECKING, Any

from bench.cli.console import progress_console
from bench.cli.options import open_at
from trainers.common.errors import UserError, unknown_name
from trainers.config.predictors import PREDICTORS

if TYPE_CHECKING:
    from analysis.frames import Frames
    from analysis.prediction.evidence import Evidence
    from bench.store import Store
    from trainers.domains.base import Domain


def recommendations(target: str, store: str, size: int | None, top: int, by: str) -> tuple[dict[str, Any], str]:
    """Return the best sources and strategies for a target as plain data, and the first of them in a sentence.

    Where the store has results on the target itself, these are what its report says. Otherwise the results on other targets
    predict the gain, from their distances or from the predictor `by`.

    Raises:
        UserError: there is no such predictor, or the store has nothing to base a recommendation on.
    """
    from analysis.frames import load
    from analysis.prediction.evidence import DISTANCE, at_size, evidence
    from bench.images.recommend import command
    from trainers.domains import get

    if by not in (DISTANCE, *PREDICTORS):
        raise unknown_name("predictor", by, (DISTANCE, *PREDICTORS))
    opened = open_at(store)
    domain = get(target)
    frames = load(opened)
    results = evidence(frames, domain.name, by)
    size = size or domain.count("train")
    results = at_size(results, size, domain.name)
    own = _own(frames, results, domain.name)
    rows, sentence, notes = own or _predicted(opened, frames, results, domain, by)
    rows, configs = rows[:top], frames.trials.set_index("key")["config"]
    for row in rows:
        gains = results.gains[(results.gains["source"] == row["source"]) & (results.gains["strategy"] == row["strategy"])]
        if own:  # the cell whose results these are, of several on this target
            gains = gains[gains["cell"] == results.cell_of(domain.name)]
        spec = frames.sweeps.get(gains["sweep"].iloc[0], {}).get("spec")
        augmentation = json.loads(configs[gains["trial"].iloc[0]] or "{}").get("augmentation", "none")
        row["command"] = command(
            spec,
            row["source"],
            row["strategy"],
            domain.name,
            size,
            results.resolution,
            results.conditional,
            store,
            augmentation,
        )
    result = {
        "target": domain.name,
        "size": size,
        "embedding": results.embedding,
        "resolution": results.resolution,
        "conditional": results.conditional,
        "notes": [*results.notes, *notes],
        "recommendations": rows,
    }
    return result, sentence


def _own(frames: "Frames", results: "Evidence", target: str) -> tuple[list[dict[str, Any]], str, list[str]] | None:
    """Return the starts of the target's own cell in the order of its report, the report's headline, and notes."""
    from analysis.frames import records
    from analysis.report.sentences.answers import answers
    from analysis.statistics import analyse

    cell = results.cell_of(target)
    if cell is None:
        return None
    analysis = analyse(frames, results.embedding)
    best = {row["cell"]: row for row in records(analysis.best)}.get(cell)
    if best is None:
        return None
    order = records(analysis.ranked[(analysis.ranked["cell"] == cell) & analysis.ranked["final"].astype(bool)])
    tests = {(row["strategy"], row["source"]): row for row in records(analysis.significance) if row["cell"] == cell}
    tests[best["strategy"], best["source"]] = best
    methods = list(dict.fromkeys([(best["strategy"], best["source"]), *((row["strategy"], row["source"]) for row in order)]))
    distances = {row["source"]: row["distance"] for row in records(results.gains[results.gains["cell"] == cell])}
    rows = []
    for method in methods:
        if method not in tests:  # scratch
            continue
        test = tests[method]
        names = {name: test[name] for name in ("strategy", "source", "source_label", "gain", "low", "high", "outcome", "step")}
        row = {**names, "p": test["p_holm"], "distance": distances.get(method[1]), "slope": None, "basis": "own results"}
        rows.append({**row, "targets": 1, "cells": 1, "seeds": test["seeds"], "trials": test["seeds"], "estimated": 0})
    label = best["cell_label"]
    headline = next(answer.headline for answer in answers(analysis, frames.trials) if answer.cell_label == label)
    return rows, headline, ["These are the store's results on this target itself, as in its report; nothing is predicted."]


def _predicted(
    opened: "Store", frames: "Frames", results: "Evidence", domain: "Domain", by: str
) -> tuple[list[dict[str, Any]], str, list[str]]:
    """Return the starts by their predicted gain, the first in a sentence, and the limitations of the prediction.

    Raises:
        UserError: the store has too few targets for a prediction, and no distance is known.
    """
    from rich.text import Text

    from analysis.frames import records
    from analysis.prediction.evidence import DISTANCE, doubts, in_words
    from analysis.prediction.gain_model import FEWEST_TARGETS
    from analysis.prediction.recommender import observed, ranked
    from bench.images.domains import make_ready
    from bench.images.recommend import distances_to, embedding_name, responses_to
    from bench.store.references import StoredReferences
    from trainers.common.counts import counted

    console = progress_console()
    make_ready(domain, results.resolution, console)
    embedding = embedding_name(results.embedding, frames.sweeps)
    measured: dict[str, float] = {}
    if embedding is None:
        lacking = [f"The embedding {results.embedding} is not on this machine, so no distance can be measured."]
    else:
        references = StoredReferences(opened, publish=False)
        with console.status("") as status:
            how = (references, embedding, results.resolution, lambda text: status.update(Text(text)))
            if by == DISTANCE:
                measured, lacking = distances_to(domain.name, results.sources, *how)
            else:
                started = results.gains.drop_duplicates(["source", "parent"])
                trainings = list(zip(started["source"], started["parent"], started["trial"], strict=True))
                measured, lacking = responses_to(domain.name, PREDICTORS[by].name, trainings, opened, *how)
    if results.sources == [domain.name]:
        raise UserError(
            f"--target {domain.name}: it is the only source of the store's results, and no trial starts from its target"
        )
    starts = ranked(observed(results.gains, frames.trials), measured)
    starts = starts[starts["source"] != domain.name]
    if len(starts) == 0:
        targets = counted(results.gains["target"].nunique(), "target")
        raise UserError(
            f"no start can be recommended: the store has results on {targets} and {FEWEST_TARGETS} are needed for a "
            f"prediction, and no distance to order the sources by is known. {' '.join(lacking)}"
        )
    rows = records(starts)
    return rows, in_words(rows[0], by), doubts(starts, lacking, by)
