"""What holds over all cells, in plain sentences, and the caveats.

Every sentence is computed from the same statistics as the figures and states its uncertainty.
"""

import pandas as pd

from analysis.claims import LEVEL
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transfer import quality
from analysis.transfer import transferability as tf
from analysis.transfer.strategies import BEHIND, BEST, NOISE
from analysis.transfer.transferability import SCRATCH
from analysis.words import Row, chance, counted, method, multiple, predictor, signed, span, times

#: Below this many samples the covariance of Inception's 2,048 features is rank-deficient.
_INCEPTION_DIMENSIONS = 2048

#: Below this mean rank correlation, a distance is not said to predict the gain.
_SOME_ORDER = 0.3


def by_question(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """Return what holds over all cells by the question that it answers, without questions that have no answer."""
    lines_of = {
        "Which source, which strategy?": [*_winners(analysis), *_sources(analysis), *_strategies(analysis)],
        "What does it save?": _savings(analysis),
        "Is that more than chance?": _significance(analysis),
        "Can it be predicted?": [
            *_nearest(analysis),
            *_distance(analysis),
            *_predictor(analysis),
            *_drivers(analysis),
            *_knobs(analysis),
        ],
    }
    return [(question, lines) for question, lines in lines_of.items() if lines]


def _winners(analysis: Analysis) -> list[str]:
    """Return how often each method is the best, given several cells."""
    best = records(tf.best_per_cell(analysis.ranked))
    if len(best) < 2:
        return []
    wins = pd.Series([method(row) for row in best]).value_counts()
    return [f"Best method over {len(best)} cells: {'; '.join(f'{name} in {count}' for name, count in wins.items())}."]


def _nearest(analysis: Analysis) -> list[str]:
    """Return how often the nearest source won."""
    transfers = records(tf.best_per_cell(analysis.ranked[analysis.ranked["strategy"] != SCRATCH]))
    nearest = dict(zip(analysis.nearest["cell"], analysis.nearest["source"], strict=True))
    tried = analysis.ranked[analysis.ranked["strategy"] != SCRATCH].groupby("cell")["source"].nunique()
    judged = [row for row in transfers if row["cell"] in nearest and tried[row["cell"]] > 1]
    if not judged:
        return []
    hits = sum(nearest[row["cell"]] == row["source"] for row in judged)
    return [f"The nearest source by distance was also the best one in {hits} of {counted(len(judged), 'cell')}."]


def _distance(analysis: Analysis) -> list[str]:
    """Return the median rank correlation of distance and gain."""
    rows = analysis.correlations[analysis.correlations["scope"] == "cell"]
    known = rows[rows["rho"].notna()]
    if len(known):
        median, least, most = known["rho"].astype(float).median(), known["n"].min(), known["n"].max()
        n = f"{least}" if least == most else f"{least} to {most}"
        verdict = "no clear order"
        if abs(median) > _SOME_ORDER:
            verdict = f"{'nearer' if median < 0 else 'farther'} sources help more"
        return [
            f"Distance and gain have a median rank correlation of {signed(median)} ({verdict}) "
            f"over {counted(len(known), 'group')} of {n} sources each."
        ]
    if len(rows):
        return ["There are fewer than three sources per cell and strategy, too few for a rank correlation with distance."]
    return []


def _significance(analysis: Analysis) -> list[str]:
    """Return how many transfers differ from scratch by more than noise; nothing if one seed each gives no estimate of it."""
    tested = analysis.significance[analysis.significance["p_holm"].notna()]
    if len(tested) == 0:
        return []
    different = tested[tested["p_holm"] < LEVEL]
    better = int((different["gain"] > 0).sum())
    level = f"at the {LEVEL:.0%} level, corrected for {counted(len(tested), 'comparison')}"
    if len(different) == 0:
        return [f"No transfer differs from training from scratch by more than the spread between seeds explains, {level}."]
    return [
        f"Of {counted(len(tested), 'transfer')}, {better} {'is' if better == 1 else 'are'} better than scratch and "
        f"{len(different) - better} worse by more than the spread between seeds explains, {level}; "
        f"{len(tested) - len(different)} cannot be distinguished from scratch."
    ]


def _strategies(analysis: Analysis) -> list[str]:
    """Return which strategies are most often the best from their source, or cannot be distinguished from the best."""
    ranked = analysis.strategies
    tested = ranked[ranked["verdict"].isin([BEHIND, NOISE])]
    if len(tested) == 0:
        return []
    behind = int((tested["verdict"] == BEHIND).sum())
    groups = ranked[["cell", "source"]].drop_duplicates()
    good = ranked[ranked["verdict"].isin([BEST, NOISE])]
    counts = good.groupby("strategy")["cell"].size().sort_values(ascending=False, kind="stable")
    first = [str(name) for name in counts.index[counts == counts.iloc[0]]]
    shown = ", ".join(first[:4]) + (f" and {len(first) - 4} more" if len(first) > 4 else "")
    verb, each = ("are", " each") if len(first) > 1 else ("is", "")
    return [
        f"Of {counted(len(tested), 'comparison')} of a strategy with the best one from the same source, {behind} "
        f"{'is' if behind == 1 else 'are'} behind by more than the spread between seeds explains; {shown} {verb} "
        f"the best or cannot be distinguished from it in {counts.iloc[0]} of "
        f"{counted(len(groups), 'pair')} of cell and source{each}."
    ]


def _savings(analysis: Analysis) -> list[str]:
    """Return what the best transfer of each cell saves, given several cells."""
    best = tf.best_per_cell(analysis.ranked[analysis.ranked["strategy"] != SCRATCH])
    lines = []
    by_size = ["family", "size", "strategy", "source"]
    for table, on, what in (
        (analysis.multipliers, by_size, "is as good as scratch with {} the images"),
        (analysis.speed_ups, ["cell", "strategy", "source"], "reaches scratch's best FID {} sooner"),
    ):
        rows = best[on].merge(table[[*on, "multiplier", "bound"]], on=on)
        if len(rows) < 2:
            continue
        bounds = int((rows["bound"] != "").sum())
        known = f"; {counted(bounds, 'value is a bound', 'values are bounds')}, beyond what was measured" if bounds else ""
        middle, low, high = (float(value) for value in rows["multiplier"].quantile([0.5, 0, 1]))
        # The median is a bound if a bound on one side of it may really lie on the other.
        more = bool(((rows["bound"] == "at least") & (rows["multiplier"] <= middle)).any())
        less = bool(((rows["bound"] == "at most") & (rows["multiplier"] >= middle)).any())
        bound = "" if more == less else "at least " if more else "at most "
        lines.append(
            f"The best transfer, chosen with hindsight, {what.format(bound + multiple(middle))} in the median of {len(rows)} "
            f"cells ({multiple(low)} to {multiple(high)}{known})."
        )
    return lines


def _sources(analysis: Analysis) -> list[str]:
    """Return the best source over several targets, of the strategy whose best source gains most."""
    rows = records(analysis.sources[analysis.sources["targets"] > 1])
    if not rows:
        return []
    best = max(rows, key=lambda row: float(row["gain"]))
    others = [row for row in rows if row["strategy"] == best["strategy"] and row is not best]
    overlap = sum(row["high"] >= best["low"] for row in others)
    sure = f"; the intervals of {overlap} of the {len(others)} others overlap with it" if overlap else ""
    return [
        f"Over {best['targets']} targets, {best['source_label']} is the best source on average, with {best['strategy']}: the "
        f"gain over scratch is {times(best['gain'])} ({times(best['low'])} to {times(best['high'])}{sure})."
    ]


def _drivers(analysis: Analysis) -> list[str]:
    """Return, per strategy, which of distance, density, diversity and amount have an effect that noise does not explain.

    A strategy with distance as its only effect is left out: the rank correlations need fewer assumptions.
    """
    lines = []
    for strategy, group in analysis.drivers.groupby("strategy", sort=False):
        if len(group) == 1:
            continue
        effects = _effects([row for row in records(group) if row["p_holm"] < LEVEL])
        names = ", ".join(row["covariate"] for row in records(group) if row["p_holm"] >= LEVEL)
        changes = [f"the gain changes with {effects}"] if effects else []
        noise = [f"no effect of {names} on the gain can be distinguished from noise"] if names else []
        lines.append(f"With {strategy}, {'; '.join([*changes, *noise])}.")
    return lines


def _effects(rows: list[Row]) -> str:
    return "; ".join(f"{row['about']}, {times(row['value'])} ({times(row['low'])} to {times(row['high'])})" for row in rows)


def _knobs(analysis: Analysis) -> list[str]:
    """Return, per cell and strategy, which knobs of the source have an effect that noise does not explain."""
    lines = []
    for (label, strategy), group in analysis.knobs.groupby(["cell_label", "strategy"], sort=False):
        effects = _effects([row for row in records(group) if row["low"] > 0 or row["high"] < 0])
        change = f"change the gain: {effects}" if effects else "have no effect on the gain that can be distinguished from noise"
        lines.append(f"{label}, {strategy}: density, diversity, amount and spread of the source {change}.")
    return lines


def _predictor(analysis: Analysis) -> list[str]:
    """Return which kind of distance predicts the gain best, given several."""
    rows = records(analysis.predictors)
    if len(rows) < 2:
        return []
    best, groups = rows[0], counted(rows[0]["groups"], "group")
    if best["rho"] < _SOME_ORDER:
        return [f"None of {len(rows)} ways to measure the distance predicts which source helps more, over {groups}."]
    equals = sum(row["rho"] == best["rho"] and row["hits"] == best["hits"] for row in rows) - 1
    name = predictor(best) + (f" (with {counted(equals, 'other')} as good)" if equals else "")
    interval = "" if best["interval_low"] is None else f", {signed(best['interval_low'])} to {signed(best['interval_high'])}"
    return [
        f"Of {len(rows)} ways to measure the distance, {name} predicts best which source helps more: its mean rank "
        f"correlation with the gain is {signed(best['rho'])} ({chance(best['p_holm'])}{interval}), and its nearest source was "
        f"the best one in {best['hits']} of {groups}; starting from it gives {times(best['regret'])} the FID of the best "
        f"source, from a random source {times(best['chance'])}."
        + (" An order as strong as this may well be chance." if best["p_holm"] >= LEVEL else "")
    ]


def caveats(analysis: Analysis, trials: pd.DataFrame) -> list[str]:
    """Return the reasons to interpret the numbers with caution."""
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
            "only with FIDs of this report, never with published ones."
        )
        if "inception" in analysis.embedding and samples.min() < _INCEPTION_DIMENSIONS:
            lines.append("With fewer than 2,048 images Inception's FID is biased; prefer KID.")
    if len(analysis.by_class):
        few = int(analysis.by_class["samples"].min())
        lines.append(
            f"FID of a class is computed from as few as {few:,} images: it is higher and noisier than FID of all classes."
        )
    lines += quality.warnings(analysis.quality)
    if adapt["censored"].any():
        lines.append(
            f"{counted(int(adapt['censored'].sum()), 'trial was', 'trials were')} stopped early by the stopping rule and "
            "compared only at steps that both sides reached; their values at the full budget are unknown."
        )
    if analysis.curves["held"].any():
        lines.append(
            "A strategy that was tuned to a smaller budget than others is compared by its last value at their later steps."
        )
    lost = adapt["status"].isin(["failed", "blocked", "diverged"])
    if lost.any():
        counts = adapt.loc[lost, "status"].value_counts()
        lines.append("Trials without a full result: " + ", ".join(f"{n} {status}" for status, n in counts.items()) + ".")
    return lines
