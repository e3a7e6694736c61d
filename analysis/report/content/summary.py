"""What holds over all cells, in plain sentences, and the caveats.

Every sentence is computed from the same statistics as the figures and states its uncertainty.
"""

import pandas as pd

from analysis.claims import LEVEL, Outcome
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transfer import quality
from analysis.transfer import transferability as tf
from analysis.transfer.cells import SCRATCH
from analysis.words import Row, chance, counted, method, multiple, predictor, signed, span, times

#: Below this many samples the covariance of Inception's 2,048 features is rank-deficient.
_INCEPTION_DIMENSIONS = 2048

#: Below this mean rank correlation, a distance is not said to predict the gain.
_SOME_ORDER = 0.3


def by_question(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """Return what holds over all cells by the question that it answers, without questions that have no answer."""
    lines_of = {
        "Which source, which strategy?": [*_starts(analysis), *_sources(analysis), *_strategies(analysis)],
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


def _starts(analysis: Analysis) -> list[str]:
    """Return in how many cells a start is told apart from scratch, by name, given several cells."""
    best = records(analysis.best)
    if len(best) < 2:
        return []
    better = [row for row in best if row["outcome"] == Outcome.APART and row["gain"] > 0]
    untested = sum(row["outcome"] == Outcome.UNTESTABLE for row in best)
    rest = f"; {untested} of them cannot be tested" if untested else ""
    if not better:
        return [f"In none of {len(best)} cells is the first start told apart from scratch as better{rest}."]
    names = pd.Series([method(row) for row in better]).value_counts()
    listed = "; ".join(f"{name} in {count}" for name, count in names.items())
    cells = f"In {len(better)} of {len(best)} cells the first start is told apart from scratch as better"
    return [f"{cells}: {listed}{rest}."]


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
    """Return how many transfers are told apart from scratch at their cell's final step."""
    final = analysis.significance[~analysis.significance["early"].astype(bool)]
    tested = final[final["outcome"] != Outcome.UNTESTABLE]
    if len(tested) == 0:
        return []
    apart = tested[tested["outcome"] == Outcome.APART]
    better = int((apart["gain"] > 0).sum())
    steps = f"step {final['step'].iloc[0]:,}" if final["step"].nunique() == 1 else "their final steps"
    untested = f"; {len(final) - len(tested)} cannot be tested" if len(final) > len(tested) else ""
    stopped = len(analysis.significance) - len(final)
    early = f" {counted(stopped, 'other')} ended before that step." if stopped else ""
    return [
        f"Of {counted(len(final), 'transfer')} compared with scratch at {steps}, {better} {'is' if better == 1 else 'are'} "
        f"told apart as better and {len(apart) - better} as worse; {len(tested) - len(apart)} are not told apart{untested} "
        f"(Holm's correction at {LEVEL:.0%}).{early}"
    ]


def _strategies(analysis: Analysis) -> list[str]:
    """Return how many strategies are told apart from the first one of their source."""
    ranked = analysis.strategies
    tested = ranked[(ranked["rank"] > 1) & (ranked["outcome"] != Outcome.UNTESTABLE)]
    if len(tested) == 0:
        return []
    apart = tested[tested["outcome"] == Outcome.APART]
    lines = f"Of {counted(len(tested), 'comparison')} of a strategy with the first of its source, {len(apart)} "
    lines += f"{'is' if len(apart) == 1 else 'are'} told apart as worse"
    names = apart["strategy"].value_counts()
    listed = f": {', '.join(f'{name} ({count})' for name, count in names.items())}" if len(names) else ""
    return [f"{lines}{listed}; {len(tested) - len(apart)} are not told apart."]


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
        lines.append("One seed per method: no difference between methods can be tested.")
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
            f"The stopping rule stopped {counted(int(adapt['censored'].sum()), 'trial')} early. Their values at the budget are "
            "unknown, so they are in no comparison there."
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
