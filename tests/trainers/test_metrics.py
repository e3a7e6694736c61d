"""The records of the metrics: they agree with the functions that compute them."""

import numpy as np
import pytest

from trainers.config.metrics import Metric, distances, label, metrics, stopping_metrics
from trainers.evaluation.comparison import METRICS, interval
from trainers.evaluation.metrics.estimate import Estimate


def test_every_metric_that_a_trial_has_is_shown():
    assert {*METRICS, "iw"} == set(metrics())


def test_a_sweep_stops_by_metrics_of_every_rung_of_which_less_is_better():
    assert stopping_metrics() == ("fid", "kid", "fid_raw", "kid_raw", "fid_selection", "kid_selection")


def test_distances_say_which_way_is_nearer():
    assert {metric.name: metric.sign for metric in distances()} == {
        "fid": -1, "kid": -1, "precision": 1, "recall": 1, "density": 1, "coverage": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match="must be 'lower' or 'higher'"):
        Metric(name="hue", label="hue", between_domains=True)
    with pytest.raises(ValueError, match="needs training images"):
        Metric(name="hue", label="hue", variants=True, training_images=9)


@pytest.mark.parametrize(("name", "words"), [
    ("fid", "FID"), ("fid_infinity", "FID∞"), ("kid_raw", "KID raw"), ("recall", "recall"), ("intra_fid", "intra fid"),
    ("ada_signal", "ada signal"),
])  # fmt: skip
def test_what_a_measured_quantity_is_called(name: str, words: str):
    assert label(name) == words


@pytest.mark.parametrize(("name", "low", "high"), [
    ("fid", 0.0, np.inf), ("kid", -np.inf, np.inf), ("recall", 0.0, 1.0), ("spacing", -np.inf, np.inf),
])  # fmt: skip
def test_intervals_stay_in_the_range_of_the_metric(name: str, low: float, high: float):
    wide = interval(name, Estimate(0.5, 10.0))
    assert wide == {"value": 0.5, "low": max(0.5 - 19.6, low), "high": min(0.5 + 19.6, high)}
