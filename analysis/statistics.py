"""All statistics of one embedding, as used by the report's figures, tables and sentences."""

from dataclasses import dataclass

import pandas as pd

from analysis.frames import Frames
from analysis.prediction import knobs, mixed_model, predictors, recommender
from analysis.transfer import classes, quality, savings, significance, sources, strategies
from analysis.transfer import transferability as tf


@dataclass(frozen=True)
class Analysis:
    """All statistics in one embedding. Values in different embeddings are not comparable.

    `analyse` shows which function computes each table; one with too few trials for its statistic is empty.
    """

    embedding: str
    curves: pd.DataFrame
    gains: pd.DataFrame
    """`transfer_gain` with `distance` (NaN if unknown)."""
    ranked: pd.DataFrame
    ranked_by_kid: pd.DataFrame
    nearest: pd.DataFrame
    correlations: pd.DataFrame
    """`distance_correlation`, from the source's real images (`rho`) and from samples of its generator (`rho_generator`)."""
    by_class: pd.DataFrame
    predictors: pd.DataFrame
    quality: pd.DataFrame
    multipliers: pd.DataFrame
    speed_ups: pd.DataFrame
    significance: pd.DataFrame
    strategies: pd.DataFrame
    sources: pd.DataFrame
    advice: pd.DataFrame
    drivers: pd.DataFrame
    knobs: pd.DataFrame


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
        by_class=classes.class_fid(curves, ranked),
        predictors=predictors.compare_predictors(gains, frames.distances),
        quality=quality.metrics_of_best(curves, ranked),
        multipliers=savings.data_multiplier(curves),
        speed_ups=savings.speed_up(curves),
        significance=significance.t_tests(curves),
        strategies=strategies.strategy_ranking(curves, tf.with_distance(ranked, frames.distances, keep=True)),
        sources=sources.over_targets(gains),
        advice=recommender.evaluate(recommender.observed(gains, frames.trials)),
        drivers=mixed_model.covariate_effects(gains, frames.domain_statistics, frames.trials),
        knobs=knobs.knob_effects(gains),
    )
