"""What a page says of all cells together, in plain sentences, and how far to trust it.

Every sentence is made from the same statistics as the figures, and bears its uncertainty.
"""

import pandas as pd

from analysis import quality
from analysis import transferability as tf
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transferability import SCRATCH
from analysis.wording import counted, method, predictor, signed, span, times

#: Below this many samples the covariance of Inception's 2,048 features is rank-deficient.
_INCEPTION_DIMENSIONS = 2048

#: A mean rank correlation below this is no order to speak of.
_SOME_ORDER = 0.3


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
        lines.append(f"The nearest source by distance was also the best one in {hits} of {counted(len(judged), 'cell')}.")
    rows = analysis.correlations[analysis.correlations["scope"] == "cell"]
    known = rows[rows["rho"].notna()]
    if len(known):
        median, least, most = known["rho"].astype(float).median(), known["n"].min(), known["n"].max()
        n = f"{least}" if least == most else f"{least} to {most}"
        verdict = "nearer sources help more" if median < -0.3 else "farther ones do" if median > 0.3 else "no clear order"
        lines.append(
            f"Distance and gain have a median rank correlation of {signed(median)} ({verdict}) "
            f"over {counted(len(known), 'group')} of {n} sources each."
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


def _predictor(analysis: Analysis) -> list[str]:
    """Return which kind of distance foretold the gain best, where there are several."""
    found = records(analysis.predictors)
    if len(found) < 2:
        return []
    best, groups = found[0], counted(found[0]["groups"], "group")
    equals = sum(row["rho"] == best["rho"] and row["hits"] == best["hits"] for row in found) - 1
    name = predictor(best) + (f" (with {counted(equals, 'other')} as good)" if equals else "")
    if best["rho"] < _SOME_ORDER:
        return [f"None of {len(found)} ways to measure the distance foretold which source helps more, over {groups}."]
    return [
        f"Of {len(found)} ways to measure the distance, {name} foretold best which source helps more: its mean rank "
        f"correlation with the gain is {signed(best['rho'])}, and its nearest source was the best one in {best['hits']} of "
        f"{groups}."
    ]


def caveats(analysis: Analysis, trials: pd.DataFrame) -> list[str]:
    """Return why the numbers may mean less than they seem to."""
    lines = []
    adapt = trials[trials["kind"] == "adapt"]
    seeds = analysis.ranked["seeds"]
    if len(seeds) and seeds.max() == 1:
        lines.append("One seed per method: small differences between methods may be chance.")
    elif len(seeds):
        lines.append(f"Values are means over {span(seeds)} seeds per method; a small difference may still be chance.")
    samples = analysis.curves.loc[analysis.curves["metric"] == "fid", "samples"]
    if len(samples):
        lines.append(
            f"FID is measured in the embedding {analysis.embedding} from {span(samples)} generated images: compare it "
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
            f"{counted(int(adapt['censored'].sum()), 'trial was', 'trials were')} stopped early by the stopping rule and "
            "compared only at steps that both sides reached; what they would have become is not known."
        )
    lost = adapt["status"].isin(["failed", "blocked", "diverged"])
    if lost.any():
        counts = adapt.loc[lost, "status"].value_counts()
        lines.append("Not everything ran: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")
    return lines
