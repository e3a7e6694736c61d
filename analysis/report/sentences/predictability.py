"""Sentences about sources: what they are worth over targets, what they save, and whether their gain can be predicted.

Each states its outcome (see `analysis.claims`), step, and interval or p-value.
"""

import pandas as pd

from analysis.claims import Outcome
from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transfer.savings import NO_TREND, UNTESTED
from analysis.transfer.steps import gain_at
from analysis.words import Row, chance, predictor, saved, saved_interval, signed, span, times
from trainers.common.counts import are, counted

_SHOWN = 3  # examples in a sentence, at most


def sources(analysis: Analysis) -> list[str]:
    """Return how the first source over several targets compares with the others, of the strategy whose first gains most."""
    table = analysis.sources[analysis.sources["targets"] > 1]
    if len(table) == 0:
        return []
    first = max(records(table), key=lambda row: float(row["gain"]))
    rows = [row for row in records(table) if row["strategy"] == first["strategy"] and row["outcome"] is not None]
    apart = [row for row in rows if row["outcome"] == Outcome.APART]
    close = [row for row in rows if row["outcome"] == Outcome.NOT_APART]
    if not apart and not close:
        return []
    start = (
        f"Over {counted(first['targets'], 'target')}, the first source with {first['strategy']} by mean {gain_at(table)} is "
        f"{first['source_label']}: {times(first['gain'])} (95 % interval {times(first['low'])} to {times(first['high'])})"
    )
    parts = [f"It is told apart from {_listed(apart)}."] if apart else []
    parts += [f"It is not told apart from {_listed(close)}."] if close else []
    return [f"{start}. {' '.join(parts)}"]


def _listed(rows: list[Row]) -> str:
    names = [
        f"{row['source_label']} (ahead by {times(row['behind'])}, {times(row['behind_low'])} to {times(row['behind_high'])})"
        for row in rows[:_SHOWN]
    ]  # fmt: skip
    return ", ".join(names) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")


def savings(analysis: Analysis) -> list[str]:
    """Return what the first start of each cell saves, given several cells; the largest size has no larger to compare with."""
    lines = []
    by = ["cell", "strategy", "source"]
    best = analysis.best[by]
    images = analysis.multipliers.merge(best, on=by)
    images = images[~images["largest"].astype(bool)]
    steps = analysis.speed_ups.merge(best, on=by)
    for reason in (NO_TREND, UNTESTED):
        cells = images[images["why"] == reason]
        if len(cells):
            families = ", ".join(cells["family"].unique()[:_SHOWN])
            lines.append(f"No data multiplier at step {span(cells['step'])} for {families}: {reason}.")
    for table, what in ((images, "data multiplier"), (steps, "speed-up")):
        rows = table[table["why"] == ""]
        if len(rows) > 1 or (len(rows) and len(analysis.best) > 1):
            lines += _of_savings(rows, what)
    return lines


def _of_savings(table: pd.DataFrame, what: str) -> list[str]:
    """Return in which cells a multiplier is told apart from 1, and in which not."""
    column = "scratch_step" if "scratch_step" in table else "step"
    at = f"scratch's best step, {span(table[column])}" if column == "scratch_step" else f"step {span(table[column])}"
    rows = records(table)
    lines = []
    for outcome, words in ((Outcome.APART, "is told apart from 1×"), (Outcome.NOT_APART, "is not told apart from 1×")):
        chosen = [row for row in rows if row["outcome"] == outcome]
        if chosen:
            names = [f"{row['cell_label']}: {_saved(row)}" for row in chosen[:_SHOWN]]
            more = f"; and {counted(len(chosen) - _SHOWN, 'more cell')}" if len(chosen) > _SHOWN else ""
            lines.append(f"The {what} of the first start, at {at}, {words} for {'; '.join(names)}{more}.")
    return lines


def _saved(row: Row) -> str:
    interval = saved_interval(row)
    p = "" if row["p"] is None else f", {chance(row['p'])}"
    return f"{saved(row)} (95 % interval {interval}, simultaneous over {counted(row['methods'], 'start')}{p})"


def predictors(analysis: Analysis) -> list[str]:
    """Return which kinds of distance predict the gain."""
    table = analysis.predictors
    if len(table) == 0:
        return []
    tested = table[table["outcome"] != Outcome.UNTESTABLE]
    if len(tested) == 0:
        few = counted(int(table["sources"].max()), "source")
        return [f"Whether a distance predicts the {gain_at(table)} cannot be tested with {few}."]
    rows = records(tested)
    apart = [row for row in rows if row["outcome"] == Outcome.APART]
    best = max(apart or rows, key=lambda row: abs(float(row["rho"])))
    numbers = (
        f"{signed(best['rho'])} (95 % interval {signed(best['low'])} to {signed(best['high'])}, {chance(best['p'])}, corrected "
        f"for {counted(len(rows), 'distance')})"
    )
    over = f"over {counted(best['sources'], 'source')} in {counted(best['groups'], 'group')}"
    if not apart:
        return [
            f"No distance is told apart from chance as a predictor of the {gain_at(tested)}. The strongest mean rank "
            f"correlation is that of {predictor(best)}, {numbers}, {over}."
        ]
    lines = [
        f"{'Nearer' if best['rho'] > 0 else 'Farther'} sources, by {predictor(best)}, have the higher {gain_at(tested)}: mean "
        f"rank correlation {numbers}, {over}."
    ]
    if len(rows) > 1:
        lines[0] += f" Of the {counted(len(rows) - 1, 'other distance')}, {are(len(apart) - 1)} told apart from chance too."
    if best["rho"] > 0 and best["regret"] is not None:
        lines.append(
            f"Starting from the nearest source by {predictor(best)} gives {times(best['regret'])} the FID of the source that "
            f"other seeds choose, from a random source {times(best['chance'])} (means over {counted(best['groups'], 'group')}, "
            "not tested)."
        )
    return lines


def drivers(analysis: Analysis) -> list[str]:
    """Return, per strategy, which of distance, density, diversity and amount have an effect that is told apart from none.

    A strategy with distance as its only effect is left out: the test of predictors needs fewer assumptions.
    """
    lines = []
    for strategy, group in analysis.drivers.groupby("strategy", sort=False):
        if len(group) > 1:
            lines.append(f"With {strategy}, {_effects(group, 'covariate')}.")
    return lines


def knobs(analysis: Analysis) -> list[str]:
    """Return, per cell and strategy, which knobs of the source have an effect that is told apart from none."""
    groups = analysis.knobs.groupby(["cell_label", "strategy"], sort=False)
    return [f"{label}, {strategy}: {_effects(group, 'effect')}." for (label, strategy), group in groups]


def _effects(table: pd.DataFrame, name: str) -> str:
    """Return which effects on the gain are told apart from none."""
    rows = records(table)
    changes = [
        f"{row['about']}, {times(row['value'])} (95 % interval {times(row['low'])} to {times(row['high'])}, {chance(row['p'])})"
        for row in rows if row["outcome"] == Outcome.APART
    ]  # fmt: skip
    none = [
        f"{row[name]} ({times(row['low'])} to {times(row['high'])})" for row in rows if row["outcome"] == Outcome.NOT_APART
    ]  # fmt: skip
    parts = [f"the {gain_at(table)} changes with {'; '.join(changes)}"] if changes else []
    parts += [f"no effect on the {gain_at(table)} is told apart for {', '.join(none)}"] if none else []
    return "; ".join(parts or [f"effects on the {gain_at(table)} cannot be tested"])


def advice(analysis: Analysis) -> list[str]:
    """Return how the recommender's choices on the store's own targets compare with those of simpler rules."""
    rows = records(analysis.advice)
    if not rows:
        return []
    own, others = rows[0], rows[1:]
    start = (
        f"On {counted(own['targets'], 'target')}, each predicted from the others, the recommended start gains "
        f"{times(own['gain'])} over scratch at step {own['step']:,} (95 % interval {times(own['low'])} to {times(own['high'])})"
    )
    apart = [
        f"{row['about']} ({times(row['behind'])} of its gain, {times(row['behind_low'])} to {times(row['behind_high'])}, "
        f"{chance(row['p'])})"
        for row in others if row["outcome"] == Outcome.APART
    ]  # fmt: skip
    close = [row["about"] for row in others if row["outcome"] != Outcome.APART]
    parts = [f"It is told apart from {', '.join(apart)}."] if apart else []
    parts += [f"It cannot be told whether it is better than {', '.join(close)}."] if close else []
    return [f"{start}. {' '.join(parts)}"]
