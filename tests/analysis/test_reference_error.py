"""The error of differences between methods from the choice of the reference images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.reference_error import log_variance, replicates
from analysis.frames import load
from tests.support.features import normal
from tests.support.synthetic import build
from trainers.evaluation.metrics.fid import fid, fid_estimate, statistics


def drawn(*features: np.ndarray, reference: np.ndarray) -> list[np.ndarray]:
    estimates = [fid_estimate(reference, each) for each in features]
    return [estimate.replicates for estimate in estimates if estimate.replicates is not None]


@pytest.mark.parametrize("n", [25, 150])
def test_the_variance_of_a_difference_is_that_over_other_draws_of_the_reference(n: int):
    """With two seeds a method; with fewer images than dimensions, and with more. FID in float64 on 150 draws."""
    seeds = [[scale * normal(400, 30, seed) for seed in seeds] for scale, seeds in ((0.6, (1, 2)), (0.8, (3, 4)))]
    sides = [[statistics(each) for each in method] for method in seeds]
    random, found, true = np.random.default_rng(0), [], []
    everything = normal(40_000, 30, 7)
    for draw in range(150):
        reference = random.choice(everything, n, replace=False)
        if draw < 15:
            found.append(log_variance(*(drawn(*method, reference=reference) for method in seeds)))
        of_reference = statistics(reference)
        logs = [np.mean([np.log2(fid(of_reference, side)) for side in method]) for method in sides]
        true.append(logs[0] - logs[1])
    assert np.sqrt(np.mean(found)) == pytest.approx(np.std(true), rel=0.2)


def test_the_error_that_methods_share_cancels():
    reference, good, bad = normal(60, 8, 1), normal(300, 8, 2), 3 * normal(300, 8, 3)
    a, b = (drawn(each, reference=reference) for each in (good, bad))
    assert log_variance(a, a) == 0
    assert log_variance([2 * a[0]], a) == pytest.approx(0, abs=1e-10)
    assert log_variance(a, b) == pytest.approx(log_variance(b, a))
    assert log_variance(a, b) > 1e-4


def test_without_replicates_the_variance_is_unknown():
    some = np.array([1.0, 2.0], np.float32)
    assert np.isnan(log_variance([], [some]))
    assert np.isnan(log_variance([some], [some[:1]]))
    assert np.isnan(log_variance([some], [-some]))
    assert replicates(pd.DataFrame({"replicates": [some, None]})) == []
    assert replicates(pd.DataFrame({"value": [1.0]})) == []
    assert len(replicates(pd.DataFrame({"replicates": [some, some]}))) == 2


def test_curves_have_the_replicates_of_a_store_or_none(tmp_path: Path):
    store = build(tmp_path / "store", seeds=[0])
    curves = load(store).curves
    assert curves["replicates"].isna().all()
    row = store.read("measurements").iloc[0].drop(["sweep", "recorded_at"]).to_dict()
    values = np.linspace(1, 2, 50, dtype=np.float32)
    store.append("measurements", "other", [{**row, "replicates": values}])
    found = load(store).curves
    (of_row,) = replicates(found[found["replicates"].notna()])
    np.testing.assert_array_equal(of_row, values)
    assert len(found) == len(curves)
