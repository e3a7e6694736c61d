"""All statistics of one embedding, as used by the report's figures, tables and sentences."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.claims import COLUMNS
from analysis.comparison import best, reference, significance, strategies
from analysis.comparison.cells import Cell, cells
from analysis.frames import Frames
from analysis.prediction import knobs, mixed_model, predictors, recommender, rules
from analysis.transfer import classes, quality, savings, sources, trained
from analysis.transfer import transferability as tf


@dataclass(frozen=True)
class Analysis:
    """All statistics in one embedding. Values in different embeddings are not comparable.

    `analyse` shows which function computes each table; one with too few trials for its statistic is empty.
    """

    embedding: str
    curves: pd.DataFrame
    """The curves in the embedding, without the trials of a confirmation."""
    cells: list[Cell]
    gains: pd.DataFrame
    """`transfer_gain` with `distance` (NaN if unknown)."""
    ranked: pd.DataFrame
    nearest: pd.DataFrame
    correlations: pd.DataFrame
    """`distance_correlation`, with the distance of the source's real images."""
    by_class: pd.DataFrame
    predictors: pd.DataFrame
    quality: pd.DataFrame
    multipliers: pd.DataFrame
    speed_ups: pd.DataFrame
    references: pd.DataFrame
    """`reference.references`: what each target is measured against."""
    significance: pd.DataFrame
    best: pd.DataFrame
    """`best.named`, from fresh seeds for the cells that have a confirmation."""
    order: pd.DataFrame
    """`strategies.best_against_others`."""
    strategies: pd.DataFrame
    sources: pd.DataFrame
    trained: pd.DataFrame
    """`trained.sources`: how well each source is trained."""
    advice: pd.DataFrame
    drivers: pd.DataFrame
    knobs: pd.DataFrame
    claims: pd.DataFrame
    """Every claim of the report, with the columns of `analysis.claims`."""

    @cached_property
    def fid_errors(self) -> dict[tuple[str, int], float]:
        """Return the standard error of each FID, by trial and step; NaN where none is stored."""
        rows = self.curves.loc[self.curves["metric"] == "fid", ["trial", "step", "standard_error"]]
        errors = rows["standard_error"].astype(float).tolist()
        return dict(zip(zip(rows["trial"].tolist(), rows["step"].tolist(), strict=True), errors, strict=True))


def analyse(frames: Frames, embedding: str) -> Analysis:
    """Compute every statistic in one embedding."""
    only = frames.embeddings == [embedding]
    measured = frames.curves if only else frames.curves[frames.curves["embedding"] == embedding]
    confirming = measured["confirmation"]
    curves, fresh = measured[~confirming] if confirming.any() else measured, measured[confirming]
    table = cells(curves)
    gains = trained.with_own_fid(tf.with_distance(tf.transfer_gain(curves, table), frames.distances, keep=True), curves)
    real = gains[gains["distance"].notna()]
    ranked = tf.ranking(table)
    tests = significance.t_tests(table)
    named = _named(table, tests, fresh)
    order = strategies.best_against_others(table)
    distances = dict(zip(zip(real["cell"], real["source"], strict=True), real["distance"].tolist(), strict=True))
    by_source = strategies.strategy_ranking(table, distances)
    multipliers, speed_ups = savings.data_multiplier(curves, table), savings.speed_up(curves, table)
    by_kind = predictors.compare_predictors(gains, frames.distances)
    over_targets = sources.over_targets(gains)
    drivers = mixed_model.covariate_effects(gains, frames.domain_statistics, frames.trials)
    of_knobs = knobs.knob_effects(gains)
    claims = [
        significance.claims(tests), best.claims(named), strategies.claims(order, "order"),
        strategies.claims(by_source, "strategy"), sources.claims(over_targets), predictors.claims(by_kind),
        mixed_model.claims(drivers), knobs.claims(of_knobs),
        savings.claims(multipliers, "multiplier"), savings.claims(speed_ups, "speed_up"),
    ]  # fmt: skip
    return Analysis(
        embedding=embedding,
        curves=curves,
        cells=table,
        gains=gains,
        ranked=ranked,
        nearest=tf.nearest_source(real, frames.distances),
        correlations=tf.distance_correlation(real),
        by_class=classes.class_fid(curves, ranked),
        predictors=by_kind,
        quality=quality.metrics_of_best(curves, ranked),
        multipliers=multipliers,
        speed_ups=speed_ups,
        references=reference.references(frames, embedding),
        significance=tests,
        best=named,
        order=order,
        strategies=by_source,
        sources=over_targets,
        trained=trained.sources(curves),
        advice=rules.evaluate(recommender.observed(gains, frames.trials)),
        drivers=drivers,
        knobs=of_knobs,
        claims=pd.concat([table for table in claims if len(table)] or claims[:1], ignore_index=True)[COLUMNS],
    )


def _named(table: list[Cell], tests: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    """Return the named method of each cell, from fresh seeds where these have scratch and a transfer."""
    confirming = cells(fresh)
    confirmed = best.named(confirming, significance.t_tests(confirming), best.FRESH)
    chosen = best.named(table, tests)
    chosen = chosen[~chosen["cell"].isin(confirmed["cell"])]
    return pd.concat([part for part in (confirmed, chosen) if len(part)] or [chosen], ignore_index=True)
