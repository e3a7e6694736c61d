"""All statistics of a page, in one embedding: what the figures draw, the tables show and the sentences say."""

from dataclasses import dataclass

import pandas as pd

from analysis.frames import Frames
from analysis.prediction import drivers, knobs, predictors, recommender
from analysis.transfer import classes, quality, savings, significance, sources, strategies
from analysis.transfer import transferability as tf


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
    multipliers: pd.DataFrame
    """`savings.data_multiplier`; empty where scratch has fewer than two sizes."""
    speed_ups: pd.DataFrame
    """`savings.speed_up`."""
    significance: pd.DataFrame
    """`significance.against_scratch`."""
    strategies: pd.DataFrame
    """`strategies.strategy_ranking`; empty where no source of a cell has two strategies."""
    sources: pd.DataFrame
    """`sources.over_targets`; empty where no cell has two sources."""
    advice: pd.DataFrame
    """`recommender.evaluate`; empty with fewer than three targets."""
    drivers: pd.DataFrame
    """`drivers.drivers`; empty where there are too few sources and targets."""
    knobs: pd.DataFrame
    """`knobs.knob_effects`; empty where no sources are one domain with its knobs at different settings."""


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
        multipliers=savings.data_multiplier(curves),
        speed_ups=savings.speed_up(curves),
        significance=significance.against_scratch(curves),
        strategies=strategies.strategy_ranking(curves, tf.with_distance(ranked, frames.distances, keep=True)),
        sources=sources.over_targets(gains),
        advice=recommender.evaluate(recommender.observed(gains, frames.trials)),
        drivers=drivers.drivers(gains, frames.own_figures, frames.trials),
        knobs=knobs.knob_effects(gains),
    )
