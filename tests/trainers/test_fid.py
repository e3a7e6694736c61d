"""FID against closed forms and other implementations; its standard error and its extrapolation against repeated draws."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.support.features import ill_conditioned, inception_like, normal
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.fid import Statistics, fid, fid_estimate, fid_infinity, statistics
from trainers.evaluation.metrics.reference_draws import replicates, weights


@pytest.mark.parametrize(("means", "variances", "expected"), [
    (((0, 0), (0, 0)), ((1, 1), (1, 1)), 0),
    (((0, 0), (3, 4)), ((1, 1), (1, 1)), 25),
    (((0, 0), (0, 0)), ((1, 4), (9, 4)), 4),  # (1 - 3)^2
    (((1, 0), (0, 0)), ((4, 9), (1, 1)), 1 + 1 + 4),
    (((0, 0), (0, 0)), ((0, 0), (4, 9)), 4 + 9),
    (((0, 0), (0, 0)), ((4, 0), (0, 9)), 4 + 9),
])  # fmt: skip
def test_fid_of_gaussians_with_diagonal_covariances_is_known(means, variances, expected: float):
    a, b = (Statistics(np.array(m, float), np.diag(v).astype(float), 9) for m, v in zip(means, variances, strict=True))
    assert fid(a, b) == pytest.approx(expected, abs=1e-12)


def test_statistics_are_the_mean_and_the_unbiased_covariance_in_float64():
    features = normal(7, 3, 0, shift=1000.0).astype(np.float32)
    found = statistics(features)
    wide = features.astype(float)
    centred = wide - wide.sum(0) / 7
    np.testing.assert_allclose(found.mean, wide.sum(0) / 7, rtol=1e-14)
    np.testing.assert_allclose(found.covariance, centred.T @ centred / 6, rtol=1e-9)
    assert found.samples == 7
    assert found.covariance.dtype == np.float64
    assert statistics(features[:, :1]).covariance.shape == (1, 1)


def test_a_covariance_taken_in_by_parts_is_numpys_and_symmetric():
    features = normal(1100, 300, 0, shift=1000.0).astype(np.float32)
    for order in (features, np.asfortranarray(features), features[::-1, ::2]):
        found = statistics(order).covariance
        np.testing.assert_allclose(found, np.cov(order.astype(float), rowvar=False), rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize(("dimensions", "n"), [(1, 200), (5, 200), (40, 200), (40, 41)])
def test_fid_equals_the_one_with_scipys_matrix_square_root(dimensions: int, n: int):
    a, b = statistics(normal(n, dimensions, 1)), statistics(normal(150, dimensions, 2, shift=0.3))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(10, 200), (10, 15), (2, 2)])
def test_fid_is_exact_for_singular_covariances(n: int, m: int):
    """With centred features X and Y, tr (A B)^(1/2) is the nuclear norm of X Y' / sqrt((n - 1) (m - 1))."""
    x, y = normal(n, 20, 1), normal(m, 20, 2)
    cross = (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt((n - 1) * (m - 1))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    expected -= 2 * np.linalg.norm(cross, "nuc")
    assert fid(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-9)


def test_fid_of_few_features_of_inceptions_dimensions_is_exact():
    x, y = inception_like(60, 1).astype(float), 1.1 * inception_like(50, 2).astype(float)
    cross = (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt(59 * 49)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    assert fid(statistics(x), statistics(y)) == pytest.approx(expected - 2 * np.linalg.norm(cross, "nuc"), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 300), (9, 7), (300, 250)])
def test_features_on_a_subspace_and_copies_of_them_lose_no_accuracy(n: int, m: int):
    """Copies of the samples and dimensions without variance add singular values of zero, in either way of computing."""
    x, y = normal(n, 12, 1), normal(m, 12, 2, shift=0.5)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 12)))[0].T
    expected = fid_estimate(x @ rotation, y @ rotation)
    assert expected.value == pytest.approx(
        fid_estimate(np.pad(x, ((0, 0), (0, 8))), np.pad(y, ((0, 0), (0, 8)))).value, rel=1e-9
    )
    twice = np.concatenate([x, x]) @ rotation
    scale = 2 * (n - 1) / (2 * n - 1)  # of the unbiased covariance
    a, wide = statistics(twice), Statistics(x.mean(0) @ rotation, scale * statistics(x @ rotation).covariance, 1000)
    assert fid(a, statistics(y @ rotation)) == pytest.approx(fid(wide, statistics(y @ rotation)), rel=1e-8)


@pytest.mark.parametrize("n", [5, 300])
def test_fid_is_symmetric_and_nought_to_itself(n: int):
    a, b = statistics(normal(n, 30, 1)), statistics(normal(n, 30, 2))
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-7)
    assert fid(a, b) > 1
    assert 0 <= fid(a, a) < 1e-6 * np.trace(a.covariance)


@pytest.mark.parametrize(("n", "m"), [(300, 250), (300, 20), (20, 15)])
def test_fid_equals_torch_fidelitys(n: int, m: int):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = normal(n, 24, 1), normal(m, 24, 2, shift=0.5)
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(torch.from_numpy(each)) for each in (x, y)), verbose=False)
    # The eigenvalues of a singular product are known to about 1e-8 of the greatest after their roots.
    exact = pytest.approx(theirs["frechet_inception_distance"], rel=1e-9 if m > 24 else 1e-5)
    assert fid(statistics(x), statistics(y)) == exact
    assert fid_estimate(x, y).value == exact
    assert fid_estimate(y, x).value == exact


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # clean-fid's, to scipy
@pytest.mark.parametrize("make", [normal, ill_conditioned])
@pytest.mark.parametrize(("n", "m"), [(300, 250), (40, 35), (300, 24), (24, 30)])
def test_fid_equals_clean_fids(make: Callable[..., np.ndarray], n: int, m: int):
    from cleanfid.fid import frechet_distance

    a, b = statistics(make(n, 24, 1)), statistics(2 * make(m, 24, 2) + 0.1)
    assert fid(a, b) == pytest.approx(frechet_distance(a.mean, a.covariance, b.mean, b.covariance), rel=1e-6)


def test_fid_keeps_its_accuracy_over_twenty_orders_of_magnitude():
    """For covariances with common eigenvectors tr (A B)^(1/2) is the sum of the roots of the eigenvalues' products."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    variances = np.logspace(0, -20, 60)
    a, b = (Statistics(np.zeros(60), (rotation * v) @ rotation.T, 1000) for v in (variances, 4 * variances))
    assert fid(a, b) == pytest.approx(variances.sum(), rel=1e-12)


def test_fid_of_constant_features_is_the_other_sides_spread_and_the_gap():
    x, y = np.full((9, 5), 2.0), normal(30, 5, 0)
    expected = np.square(2 - y.mean(0)).sum() + y.var(0, ddof=1).sum()
    for a, b in ((x, y), (y, x)):
        assert fid(statistics(a), statistics(b)) == pytest.approx(expected, rel=1e-12)
        assert fid_estimate(a, b).value == pytest.approx(expected, rel=1e-12)
    assert fid_estimate(x, x) == Estimate(0, 0)


def test_no_order_of_the_samples_changes_fid():
    for make in (normal, ill_conditioned):
        x, y = make(50, 30, 1).astype(np.float32), 2 * make(25, 30, 2).astype(np.float32)
        shuffled = np.random.default_rng(0).permutation(x), y[::-1]
        assert fid_estimate(*shuffled).value == pytest.approx(fid_estimate(x, y).value, rel=1e-6)
        assert fid_estimate(*shuffled).standard_error == pytest.approx(fid_estimate(x, y).standard_error, rel=1e-4)


# -- its standard error -------------------------------------------------------------------------------------------------


def weighted(x: np.ndarray, weights: np.ndarray) -> Statistics:
    """Return the statistics of features with multiplicities."""
    mean = weights @ x / weights.sum()
    covariance = (x - mean).T * weights @ (x - mean) / weights.sum() * len(x) / (len(x) - 1)
    return Statistics(mean, covariance, len(x))


@pytest.mark.parametrize(("n", "m"), [(60, 80), (6, 80), (80, 6), (6, 7)])
def test_the_standard_error_is_that_of_numerical_derivatives(n: int, m: int):
    x, y = normal(n, 10, 1), normal(m, 10, 2, shift=0.5)

    def variance(own: np.ndarray, other: np.ndarray) -> float:
        influences = []
        for i in range(len(own)):
            step = 1e-5 * (np.arange(len(own)) == i)
            ends = (fid(weighted(own, 1 + sign * step), statistics(other)) for sign in (1, -1))
            influences.append(len(own) * np.subtract(*ends) / 2e-5)
        return float(np.var(influences, ddof=1) / len(own))

    expected = np.sqrt(variance(x, y) + variance(y, x))
    assert fid_estimate(x, y).standard_error == pytest.approx(expected, rel=1e-5)


def test_many_features_are_taken_in_by_parts(monkeypatch: pytest.MonkeyPatch):
    x, y = normal(60, 5, 1), normal(40, 5, 2) + 1
    whole = fid_estimate(x, y)
    monkeypatch.setattr("trainers.evaluation.metrics.fid.ROWS", 7)
    parts = fid_estimate(x, y)
    assert (parts.value, parts.standard_error) == pytest.approx((whole.value, whole.standard_error), rel=1e-12)
    np.testing.assert_allclose(parts.replicates, whole.replicates, rtol=1e-6)


def test_the_standard_error_is_that_of_a_bootstrap():
    x, y = normal(300, 6, 1), normal(200, 6, 2, shift=0.5)
    random = np.random.default_rng(0)
    again = [fid(*(statistics(random.choice(each, len(each))) for each in (x, y))) for _ in range(400)]
    assert fid_estimate(x, y).standard_error == pytest.approx(np.std(again), rel=0.15)


@pytest.mark.parametrize(("n", "m", "dimensions", "shift", "scale"), [
    (200, 300, 8, 0.3, 1.5),
    (30, 300, 50, 0.3, 1.5),
    (20, 20, 50, 0.0, 2.0),
])  # fmt: skip
def test_two_standard_errors_cover_the_mean_of_repeated_draws(n: int, m: int, dimensions: int, shift: float, scale: float):
    random = np.random.default_rng(0)
    drawn = [
        fid_estimate(random.normal(size=(n, dimensions)), random.normal(shift, scale, (m, dimensions))) for _ in range(200)
    ]
    values = np.array([each.value for each in drawn])
    inside = np.abs(values - values.mean()) < 2 * np.array([each.standard_error for each in drawn])
    assert 0.9 < inside.mean() < 0.99


# -- its replicates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "dimensions"), [(60, 10), (120, 130)])
def test_replicates_are_the_derivatives_along_a_bootstraps_weights(n: int, dimensions: int):
    x, y = normal(n, dimensions, 1), normal(400, dimensions, 2, shift=0.5)
    found, of_y = fid_estimate(x, y), statistics(y)
    assert found.replicates is not None
    for replicate, weights_of in zip(found.replicates[:5], n * weights(n), strict=False):
        ends = [fid(weighted(x, 1 + sign * 1e-4 * weights_of), of_y) for sign in (1, -1)]
        assert float(replicate) - found.value == pytest.approx(np.subtract(*ends) / 2e-4, rel=1e-3, abs=1e-5 * found.value)


def test_replicates_of_few_images_are_those_of_the_jackknife():
    x, y = normal(30, 40, 1), normal(300, 40, 2, shift=0.5)
    without = np.array([fid(statistics(np.delete(x, i, 0)), statistics(y)) for i in range(30)])
    found = fid_estimate(x, y)
    expected = found.value - 29 * weights(30) @ without
    np.testing.assert_allclose(found.replicates, expected, rtol=1e-6)


@pytest.mark.parametrize(("n", "dimensions"), [(40, 64), (300, 64)])
def test_the_replicates_of_two_generators_vary_together_as_over_draws_of_the_reference(n: int, dimensions: int):
    random, variances = np.random.default_rng(0), np.logspace(0, -2.5, dimensions)
    sides = [random.normal(shift, np.sqrt(scale * variances), (1000, dimensions)) for shift, scale in ((0.1, 0.6), (0.05, 0.9))]
    of_sides, found, true = [statistics(side) for side in sides], [], []
    for draw in range(200):
        x = random.normal(0, np.sqrt(variances), (n, dimensions))
        if draw < 20:
            a, b = (fid_estimate(x, side).replicates for side in sides)
            assert a is not None
            assert b is not None
            found.append(np.var(np.log(a) - np.log(b), ddof=1))
        true.append(np.subtract(*(np.log(fid(statistics(x), side)) for side in of_sides)))
    assert np.sqrt(np.mean(found)) == pytest.approx(np.std(true), rel=0.15)


def test_the_weights_are_those_of_a_bootstrap_and_depend_on_the_number_of_images_alone():
    first = weights(200).copy()
    weights.cache_clear()
    np.testing.assert_array_equal(weights(200), first)
    assert first.shape == (50, 200)
    np.testing.assert_allclose(first.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(first.sum(1), 0, atol=1e-12)
    some = np.random.default_rng(0).normal(size=200)
    estimate = replicates(5.0, some)
    assert estimate.mean() == pytest.approx(5, rel=1e-6)
    expected = [np.var(replicates(0.0, np.random.default_rng(seed).permutation(some)), ddof=1) for seed in range(100)]
    assert np.mean(expected) == pytest.approx(some.var(ddof=1) / 200, rel=0.05)


# -- its extrapolation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "truth"), [(1.0, 0.0), (1.5, 20 * 0.25)])
def test_the_extrapolated_fid_is_nearer_the_truth(scale: float, truth: float):
    random = np.random.default_rng(0)
    reference = Statistics(np.zeros(20), np.eye(20), 10**9)
    drawn = [scale * random.normal(size=(200, 20)) for _ in range(120)]
    plain = np.mean([fid(reference, statistics(each)) for each in drawn])
    found = [fid_infinity(reference, each, seed=0) for each in drawn]
    values = [each.value for each in found]
    assert abs(np.mean(values) - truth) < abs(plain - truth) / 2
    assert np.mean([each.standard_error for each in found]) == pytest.approx(np.std(values), rel=0.35)


def test_the_extrapolation_depends_on_the_seed_alone_and_wants_eight_samples():
    reference, features = statistics(normal(50, 4, 1)), normal(40, 4, 2)
    assert fid_infinity(reference, features, 0) == fid_infinity(reference, features, 0)
    assert fid_infinity(reference, features, 0).value != fid_infinity(reference, features, 1).value
    assert np.isfinite(fid_infinity(reference, features[:8], 0).value)
    with pytest.raises(ValueError, match="from 7 samples; it takes 8 or more"):
        fid_infinity(reference, features[:7], 0)
