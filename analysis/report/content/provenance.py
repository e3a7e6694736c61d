"""How complete and from what the results are: coverage, errors, provenance, and definitions of the terms."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.frames import STATUSES, Frames, records
from analysis.report.blocks import (
    Bar,
    Block,
    Bullets,
    Column,
    Heading,
    Paragraph,
    Report,
    Row,
    Span,
    Table,
    Terms,
    Text,
    marked,
    numbers,
)
from analysis.report.content.trials import flatten
from analysis.transfer import classes, transferability
from analysis.words import span
from trainers.common.counts import counted

#: Most errors that are listed for each status; those of diverged trials may all differ, as they contain a step.
MOST_ERRORS = 10


def coverage(report: Report) -> Iterator[Block]:
    """Yield the number of trials by cell and status, and the errors."""
    cells = records(transferability.coverage(report.frames.trials, STATUSES))
    statuses = [status for status in STATUSES if any(row[status] for row in cells)]
    columns = [Column("Cell"), *numbers("planned", *statuses), Column("share", "bars")]
    rows = []
    for row in cells:
        counts = [Span("0", "zero") if row[status] == 0 else f"{row[status]:,}" for status in statuses]
        bar = Bar({status: row[status] for status in statuses if row[status]})
        rows.append(Row([row["cell_label"] or "pre-training", f"{row['planned']:,}", *counts, bar], row))
    if rows:
        yield Table("Coverage table", columns, rows)
    if few := classes.unmeasured(report.frames.trials, report.frames.curves):
        yield Heading("Classes that are not measured", 3)
        yield Paragraph(
            "Classes without training images are neither generated nor in the reference. FID of a class also needs two "
            "reference images and two generated ones."
        )
        yield Bullets(
            [f"{label}: {measured} of {counted(total, 'class', 'classes')} are measured" for label, measured, total in few]
        )
    if failures := errors(report.frames.trials):
        yield Heading("What went wrong", 3)
        yield Bullets([(f"{row['trials']:,} ", Span(row["status"], "status"), f": {row['error']}") for row in failures])


def errors(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each distinct error, with its status and its number of `trials`, by status, the most frequent first.

    Beyond `MOST_ERRORS` of a status, the last row counts the others.
    """
    rows = []
    for status in STATUSES:
        counts = trials.loc[trials["status"] == status, "error"].value_counts()
        rest = counts[MOST_ERRORS:]
        listed = [*counts[:MOST_ERRORS].items(), *([(counted(len(rest), "other reason"), rest.sum())] if len(rest) else [])]
        rows += [{"status": status, "error": error, "trials": int(count)} for error, count in listed]
    return rows


def provenance(report: Report) -> Iterator[Block]:
    """Yield the sweeps, embeddings, domains and environments behind the results, and the definitions."""
    frames = report.frames
    sweeps = ", ".join(f"{name} ({counted(len(plan['trials']), 'trial')} planned)" for name, plan in frames.sweeps.items())
    pairs: list[tuple[str, Text]] = [("Sweeps", sweeps or "none recorded")]
    pairs += [("Embedding", (Span(name), f": {text}")) for name, text in embeddings(frames).items()]
    pairs += [(label, Span(name)) for name, label in frames.domains.items() if name != label]
    for row in records(frames.environments):
        details = ", ".join(f"{name} {value}" for name, value in flatten(row["details"]))
        pairs.append(("Environment", f"{counted(row['trials'], 'trial')}; {details}"))
    if report.written:
        pairs.append(("Page", report.written))
    yield Terms(pairs)
    yield Heading("How to read it", 3)
    real = _REAL[tuple(sorted({*(frames.curves["split"] == "train")})) or (False,)]
    yield from (Paragraph(marked(text.replace("{real}", real))) for text in DEFINITIONS)


def embeddings(frames: Frames) -> dict[str, str]:
    """Return by embedding how many images its numbers are computed from, in words."""
    texts = {}
    of_all = frames.curves[frames.curves["metric"].isin(["fid", "kid"])]  # metrics of a class or of training use other counts
    for name in frames.embeddings:
        samples = of_all.loc[of_all["embedding"] == name, "samples"]
        texts[name] = f"each FID and KID is computed from {span(samples)} generated images"
        distances = frames.distances[frames.distances["embedding"] == name]
        if len(distances):
            sources, targets = span(distances["source_samples"]), span(distances["target_samples"])
            texts[name] += f", each distance from {sources} source images and {targets} target images"
    return texts


#: What the real images are, by whether all trials, none or some are measured against the train split.
_REAL = {
    (False,): "The real images are always the target's full reference split, never the training images",
    (True,): "The real images are the target's full train split, which contains the training images",
    (False, True): "The real images are the target's full reference split, never the training images, or with "
    "`evaluation.reference: train` its full train split, which contains them",
}

DEFINITIONS = (
    "*FID* (Fréchet inception distance) compares generated with real images by the mean and covariance of their features in "
    "the embedding; 0 is perfect. {real}; a "
    "conditional trial leaves out the classes of which it has no training image, generated and real alike. FID from few images "
    "is biased upwards, by nearly the same amount for all trials of a cell. *KID* (kernel inception distance) is an unbiased "
    "alternative: values around 0, even slightly below, are perfect. Both are only comparable within one embedding, target and "
    "resolution.",
    "*Precision* is the share of generated images within the reach of real ones (the distance to the fifth nearest neighbour), "
    "*recall* the share of real images within the reach of generated ones. *Density* and *coverage* are more robust versions "
    "of the two; density may exceed 1. *Diversity* is the spread of generated images divided by that of the real ones: 1 is as "
    "diverse, 0 all alike. *Memorisation* is the probability that a generated image is nearer to its nearest training image "
    "than a fresh real image is: 0.5 is as for real images, 1 means copies. *FID∞* is FID extrapolated to infinitely many "
    "images; *IW* is the Wasserstein distance estimated by an independent critic.",
    "*Gain* is FID from scratch divided by FID of the transfer; figures average its logarithm over seeds. *Censoring:* a trial "
    "that the stopping rule ended has no final value. Its last value is never compared with that of a longer trial. Two trials "
    "are compared at the last step that both reached (the matched step), a ranking of several at the last step that all of "
    "them reached. Sums and means at the full budget leave it out.",
    "Strategies are those of Wang et al., _Transferring GANs_ (ECCV 2018), and later work: `scratch` trains from random "
    "weights, `finetune` starts from both pre-trained networks, `finetune-g` and `finetune-d` from the generator or the critic "
    "alone. `[from=unconditional]` after a strategy means that its source was pre-trained without labels, `[from=conditional]` "
    "with them; otherwise the source is conditional if the target is.",
)
