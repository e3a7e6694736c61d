"""The answer in plain sentences: which source and strategy won in each cell, by how much, and how far to trust it.

Every sentence is made from the same statistics as the figures (`Analysis`), states the step of every number, compares
matched steps only, and says how many seeds stand behind it.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import classes, knobs, predictors, quality
from analysis import transferability as tf
from analysis.frames import Frames, records
from analysis.transferability import SCRATCH

_PHRASES = {  # other strategies are called by their names
    "scratch": "training from scratch",
    "finetune": "fine-tuning both networks",
    "finetune-g": "fine-tuning with only the generator pre-trained",
    "finetune-d": "fine-tuning with only the critic pre-trained",
}
#: Below this many samples the covariance of Inception's 2,048 features is rank-deficient.
_INCEPTION_DIMENSIONS = 2048

#: A mean rank correlation below this is no order to speak of.
_SOME_ORDER = 0.3

Row = dict[str, Any]


@dataclass(frozen=True)
class Analysis:
    """All statistics in one embedding; numbers of two embeddings never meet."""

    embedding: str
    curves: pd.DataFrame
    gains: pd.DataFrame
    """`transfer_gain`, with the distance where there is one."""
    ranked: pd.DataFrame
    """`ranking` by FID."""
    ranked_by_kid: pd.DataFrame
    nearest: pd.DataFrame
    correlations: pd.DataFrame
    """`distance_correlation` at the common step, with the source's real images (`rho`) and with samples of its generator
    (`rho_generator`) standing for it."""
    by_class: pd.DataFrame
    """`classes.fid_by_class`; empty where nothing is conditional."""
    predictors: pd.DataFrame
    """`predictors.predictors`; empty where no group has three sources."""
    quality: pd.DataFrame
    """`quality.quality`."""
    knobs: pd.DataFrame
    """`knobs.knob_effects`; empty where no sources are one domain with its knobs at different settings."""


@dataclass(frozen=True)
class Answer:
    """What one cell says."""

    cell_label: str
    headline: str
    details: tuple[str, ...]


def analyse(frames: Frames, embedding: str) -> Analysis:
    """Compute every statistic in one embedding."""
    curves = frames.curves[frames.curves["embedding"] == embedding]
    gains = tf.with_distance(tf.transfer_gain(curves), frames.distances, keep=True)
    real = gains[gains["distance"].notna()]
    generator = tf.with_distance(gains.drop(columns="distance"), frames.distances, via="generator")
    by = ["scope", "cell", "strategy"]
    correlations = tf.distance_correlation(real).merge(
        tf.distance_correlation(generator)[[*by, "rho"]], on=by, how="left", suffixes=("", "_generator")
    )
    ranked = tf.ranking(curves)
    return Analysis(
        embedding=embedding,
        curves=curves,
        gains=gains,
        ranked=ranked,
        ranked_by_kid=tf.ranking(curves, "kid"),
        nearest=tf.nearest_source(real),
        correlations=correlations,
        by_class=classes.fid_by_class(curves, ranked),
        predictors=predictors.predictors(gains, frames.distances),
        quality=quality.quality(curves, ranked),
        knobs=knobs.knob_effects(gains),
    )


def answers(analysis: Analysis, trials: pd.DataFrame) -> list[Answer]:
    """Return the answer of each cell that has a result, in the order of `ranking`."""
    found = []
    for cell, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        transfers = [row for row in methods if row["strategy"] != SCRATCH]
        details = [
            *_first_rung(analysis, cell, transfers[0] if transfers else None),
            *_nearest(analysis, cell, transfers),
            *_beaten(analysis, cell),
            *_kid(analysis, cell, methods[0]),
            *_classes(analysis, cell),
            *_incomplete(trials[trials["cell"] == cell]),
        ]
        found.append(Answer(methods[0]["cell_label"], _headline(analysis.curves, methods), tuple(details)))
    return found


def overall(analysis: Analysis) -> list[str]:
    """Return what holds over all cells: winners, how often the nearest source won, and what distance foretells."""
    best = records(tf.best_per_cell(analysis.ranked))
    transfers = records(tf.best_per_cell(analysis.ranked[analysis.ranked["strategy"] != SCRATCH]))
    lines = []
    if len(best) > 1:
        wins = pd.Series([method(row) for row in best]).value_counts()
        won = "; ".join(f"{name} in {count}" for name, count in wins.items())
        lines.append(f"Best of {len(best)} cells: {won}.")
    nearest = dict(zip(analysis.nearest["cell"], analysis.nearest["source"], strict=True))
    tried = analysis.ranked[analysis.ranked["strategy"] != SCRATCH].groupby("cell")["source"].nunique()
    judged = [row for row in transfers if row["cell"] in nearest and tried[row["cell"]] > 1]
    if judged:
        hits = sum(nearest[row["cell"]] == row["source"] for row in judged)
        lines.append(f"The nearest source by distance was also the best one in {hits} of {_count(len(judged), 'cell')}.")
    rows = analysis.correlations[analysis.correlations["scope"] == "cell"]
    known = rows[rows["rho"].notna()]
    if len(known):
        median, least, most = known["rho"].astype(float).median(), known["n"].min(), known["n"].max()
        n = f"{least}" if least == most else f"{least} to {most}"
        verdict = "nearer sources help more" if median < -0.3 else "farther ones do" if median > 0.3 else "no clear order"
        lines.append(
            f"Distance and gain have a median rank correlation of {signed(median)} ({verdict}) "
            f"over {_count(len(known), 'group')} of {n} sources each."
        )
    elif len(rows):
        lines.append("There are fewer than three sources per cell and strategy, too few for a rank correlation with distance.")
    return [*lines, *_predictor(analysis), *_knobs(analysis)]


def _knobs(analysis: Analysis) -> list[str]:
    """Return, per cell and strategy, which knobs of the source had an effect that noise does not explain."""
    lines = []
    for (label, strategy), group in analysis.knobs.groupby(["cell_label", "strategy"], sort=False):
        told = [row for row in records(group) if row["low"] > 0 or row["high"] < 0]
        effects = "; ".join(
            f"{row['about']}, {times(row['value'])} ({times(row['low'])} to {times(row['high'])})" for row in told
        )
        said = f"change the gain: {effects}" if told else "have no effect on the gain that can be told from noise"
        lines.append(f"{label}, {strategy}: density, diversity, amount and spread of the source {said}.")
    return lines


def times(log2: float) -> str:
    """Return a change of log2 gain as a factor, e.g. ``×1.07``."""
    return f"×{2**log2:.2f}"


def _predictor(analysis: Analysis) -> list[str]:
    """Return which kind of distance foretold the gain best, where there are several."""
    found = records(analysis.predictors)
    if len(found) < 2:
        return []
    best, groups = found[0], _count(found[0]["groups"], "group")
    equals = sum(row["rho"] == best["rho"] and row["hits"] == best["hits"] for row in found) - 1
    name = predictor(best) + (f" (with {_count(equals, 'other')} as good)" if equals else "")
    if best["rho"] < _SOME_ORDER:
        return [f"None of {len(found)} ways to measure the distance foretold which source helps more, over {groups}."]
    return [
        f"Of {len(found)} ways to measure the distance, {name} foretold best which source helps more: its mean rank "
        f"correlation with the gain is {signed(best['rho'])}, and its nearest source was the best one in {best['hits']} of "
        f"{groups}."
    ]


def predictor(row: Row) -> str:
    """Return what a row of `predictors` is called."""
    name = row["kind"].upper() if row["kind"] in ("fid", "kid") else row["kind"]
    return f"{name} of {'the real images' if row['via'] == 'real' else 'generated images'}"


def caveats(analysis: Analysis, trials: pd.DataFrame) -> list[str]:
    """Return why the numbers may mean less than they seem to."""
    lines = []
    adapt = trials[trials["kind"] == "adapt"]
    seeds = analysis.ranked["seeds"]
    if len(seeds) and seeds.max() == 1:
        lines.append("One seed per method: small differences between methods may be chance.")
    elif len(seeds):
        lines.append(f"Values are means over {_range(seeds)} seeds per method; a small difference may still be chance.")
    samples = analysis.curves.loc[analysis.curves["metric"] == "fid", "samples"]
    if len(samples):
        lines.append(
            f"FID is measured in the embedding {analysis.embedding} from {_range(samples)} generated images: compare it "
            "only with FIDs of this page, never with published ones."
        )
        if "inception" in analysis.embedding and samples.min() < _INCEPTION_DIMENSIONS:
            lines.append("With fewer than 2,048 images Inception's FID is biased; prefer KID.")
    if len(analysis.by_class):
        few = int(analysis.by_class["samples"].min())
        lines.append(f"FID of a single class stands on as few as {few:,} images: it is higher than the whole's, and rougher.")
    lines += quality.warnings(analysis.quality)
    if adapt["censored"].any():
        lines.append(
            f"{_count(int(adapt['censored'].sum()), 'trial was', 'trials were')} stopped early by the stopping rule and "
            "compared only at steps that both sides reached; what they would have become is not known."
        )
    lost = adapt["status"].isin(["failed", "blocked", "diverged"])
    if lost.any():
        counts = adapt.loc[lost, "status"].value_counts()
        lines.append("Not everything ran: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")
    return lines


def method(row: Row) -> str:
    """Name a strategy and its source, for a sentence."""
    plain, _, option = str(row["strategy"]).partition("[from=")
    name = _PHRASES.get(plain, plain)
    kind = f"{option.removesuffix(']')} " if option else ""
    return f"{name} from {kind}{row['source_label']}" if row["source_label"] else name


def signed(rho: float) -> str:
    """Return a correlation with its sign, a true minus."""
    return f"{rho:+.2f}".replace("-", "−")


def _headline(curves: pd.DataFrame, ranked: list[Row]) -> str:
    transfers = [row for row in ranked if row["strategy"] != SCRATCH]
    scratch = next((row for row in ranked if row["strategy"] == SCRATCH), None)
    if scratch is None or not transfers:
        row = ranked[0]
        missing = "no transfer has" if scratch else "training from scratch does not have"
        return (
            f"{_with(row)}, {method(row)} reaches FID {_number(row['value'])} at step {row['step']:,}; {missing} a result yet."
        )
    best = transfers[0]
    step = min(best["step"], scratch["step"])
    ours, theirs = value_at(curves, best, step), value_at(curves, scratch, step)
    if ours is None or theirs is None:
        return f"{_with(best)}, {method(best)} and training from scratch share no rung at which to compare them."
    means = f", means over {best['seeds']} seeds" if best["seeds"] > 1 else ""
    ratio = f"({_times(max(ours, theirs), min(ours, theirs))}{means})"
    reaches = f"reaches FID {_number(min(ours, theirs))} at step {step:,}"
    if ours < theirs:
        text = f"{method(best)} {reaches}; from scratch {_number(theirs)} {ratio}."
    else:
        text = f"no transfer beats training from scratch, which {reaches}; the best, {method(best)}, {_number(ours)} {ratio}."
    alone = [
        f" {name} went on alone to {_number(row['value'])} at step {row['step']:,}."
        for row, name in ((best, "The transfer"), (scratch, "Scratch"))
        if row["step"] > step
    ]
    return f"{_with(best)}, {text}{''.join(alone)}"


def value_at(curves: pd.DataFrame, row: Row, step: int) -> float | None:
    """Return a method's FID at a step, the mean over its seeds; None where it was not measured."""
    source = curves["source"].isna() if row["strategy"] == SCRATCH else curves["source"] == row["source"]
    own = curves[(curves["cell"] == row["cell"]) & (curves["strategy"] == row["strategy"]) & source]
    values = own.loc[(own["step"] == step) & (own["metric"] == "fid") & own["status"].isin(tf.COMPARABLE), "value"]
    return float(values.mean()) if len(values) else None


def _first_rung(analysis: Analysis, cell: Any, best: Row | None) -> list[str]:
    gains = analysis.gains
    if best is None:
        return []
    own = (gains["cell"] == cell) & (gains["strategy"] == best["strategy"]) & (gains["source"] == best["source"])
    rows = gains[own & (gains["at"] == "first")]
    if len(rows) == 0 or best["step"] == rows["step"].iloc[0]:
        return []
    ours, theirs = rows["value"].mean(), rows["scratch"].mean()
    return [
        f"At the first rung, step {rows['step'].iloc[0]:,}: {_number(ours)} against {_number(theirs)} ({_times(theirs, ours)})."
    ]


def _nearest(analysis: Analysis, cell: Any, transfers: list[Row]) -> list[str]:
    rows = records(analysis.nearest[analysis.nearest["cell"] == cell])
    if not rows or len({row["source"] for row in transfers}) < 2:
        return []
    nearest = rows[0]
    name = f"The nearest source, {nearest['source_label']} (distance {_number(nearest['distance'])}),"
    if transfers[0]["source"] == nearest["source"]:
        return [f"{name} was also the best."]
    best = next((row for row in transfers if row["source"] == nearest["source"]), None)
    if best is None:
        return [f"{name} has no result yet."]
    return [f"{name} was not the best: {method(best)} had FID {_number(best['value'])} at step {best['step']:,}."]


def _beaten(analysis: Analysis, cell: Any) -> list[str]:
    matched = analysis.gains[(analysis.gains["cell"] == cell) & (analysis.gains["at"] == "matched")]
    if len(matched) < 2:
        return []
    return [f"{int((matched['gain'] > 0).sum())} of {len(matched)} transfers were ahead of scratch at the last matched step."]


def _kid(analysis: Analysis, cell: Any, best: Row) -> list[str]:
    rows = records(analysis.ranked_by_kid[analysis.ranked_by_kid["cell"] == cell])
    if len(rows) < 2:
        return []
    return ["KID names the same winner."] if method(rows[0]) == method(best) else [f"By KID, {method(rows[0])} wins instead."]


def _classes(analysis: Analysis, cell: Any) -> list[str]:
    found = classes.against_scratch(analysis.by_class[analysis.by_class["cell"] == cell])
    if found is None:
        return []
    means, ahead, count = found
    return [
        f"Class by class at step {means['step']:,.0f}: FID averages {_number(means['transfer'])} with the best transfer and "
        f"{_number(means['scratch'])} from scratch; transfer is ahead in {ahead} of {_count(count, 'class', 'classes')}."
    ]


def _incomplete(trials: pd.DataFrame) -> list[str]:
    waiting = int(trials["status"].isin(["pending", "unfinished"]).sum())
    lost = int(trials["status"].isin(["failed", "blocked", "diverged"]).sum())
    lines = [f"Provisional: {waiting} of {_count(len(trials), 'trial')} still to finish."] if waiting else []
    return [*lines, f"{lost} of {_count(len(trials), 'trial')} failed, diverged or were blocked."] if lost else lines


def _with(row: Row) -> str:
    context = row["cell_label"].removesuffix(f", {row['size']:,} images")
    target, _, rest = context.partition(", ")
    return f"With {_count(row['size'], 'image')} of {target}" + (f" ({rest})" if rest else "")


def _times(higher: float, lower: float) -> str:
    return f"{higher / lower:.1f} times as high" if higher >= lower else f"{lower / higher:.1f} times lower"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.3g}"


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _range(values: "pd.Series[int]") -> str:
    return f"{values.min():,}" if values.min() == values.max() else f"{values.min():,} to {values.max():,}"
