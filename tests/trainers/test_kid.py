"""KID against its plain definition and torch-fidelity; its standard error against repeated draws."""

import numpy as np
import pytest
import torch

from tests.support.features import ill_conditioned, inception_like, normal
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.kid import kid
from trainers.evaluation.metrics.reference_draws import weights


def plain_kid(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased MMD^2 pair by pair, by its definition."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z: np.ndarray) -> float:
        return sum(kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("n", "m", "dimensions"), [(20, 20, 1), (25, 31, 3), (43, 20, 2), (4, 5, 3), (7, 30, 2)])
def test_kid_equals_a_plain_implementation(n: int, m: int, dimensions: int):
    x, y = normal(n, dimensions, 1), normal(m, dimensions, 2, shift=0.5)
    found = kid(x, y)
    assert found.value == pytest.approx(plain_kid(x, y), rel=1e-9)
    assert 0 < found.standard_error < np.inf


def test_kid_equals_torch_fidelitys_when_its_subset_is_the_whole_set():
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    x, y = normal(60, 8, 1), normal(60, 8, 2, shift=0.5)
    theirs = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=60, verbose=False)
    assert kid(x, y).value == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-9)


def test_kids_standard_error_is_the_plain_jackknifes():
    """With 20 features in each set a block is a pair: over many pairings, equal to leaving out each of ten pairs in turn."""
    x, y = np.arange(20.0)[:, None] / 20, np.arange(20.0)[:, None] / 10
    order = np.random.default_rng(0)
    found = [kid(order.permutation(x), order.permutation(y)).standard_error for _ in range(30)]
    paired = []
    for _ in range(30):
        a, b = order.permutation(x), order.permutation(y)
        left = [
            kid(np.delete(a, slice(2 * i, 2 * i + 2), 0), np.delete(b, slice(2 * i, 2 * i + 2), 0)).value for i in range(10)
        ]
        paired.append(np.sqrt(0.9 * np.square(left - np.mean(left)).sum()))
    assert np.mean(found) == pytest.approx(np.mean(paired), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_kids_standard_error_is_that_of_repeated_draws(shift: float):
    random = np.random.default_rng(0)
    drawn = [kid(random.normal(size=(200, 8)), random.normal(shift, 1, (150, 8))) for _ in range(200)]
    scatter = np.std([each.value for each in drawn])
    told = np.median([each.standard_error for each in drawn])
    assert scatter / 2 < told < scatter * 2


@pytest.mark.parametrize(("n", "m"), [(40, 60), (1500, 300)])
def test_replicates_are_the_derivatives_along_a_bootstraps_weights(n: int, m: int):
    """Also over several tiles, of single precision."""
    x, y = (inception_like(size, seed)[:, :64] for size, seed in ((n, 1), (m, 2)))
    found, within = kid(x, y), kernel(x, x)
    np.fill_diagonal(within, 0)
    influences = 2 * within.sum(1) / (n - 1) - 2 * kernel(x, y).mean(1)
    assert found.replicates is not None
    np.testing.assert_allclose(found.replicates, found.value + weights(n) @ influences, rtol=1e-4, atol=1e-6)


def test_kid_of_equal_distributions_is_nought_on_average_and_below_at_times():
    random = np.random.default_rng(0)
    drawn = [kid(random.normal(size=(50, 4)), random.normal(size=(50, 4))).value for _ in range(200)]
    assert min(drawn) < 0
    assert abs(np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(200)


def test_kid_depends_on_neither_order_nor_precision():
    x, y = normal(50, 4, 1).astype(np.float32), normal(40, 4, 2).astype(np.float32)
    value = kid(x, y).value
    assert kid(x[::-1], y[::-1]).value == pytest.approx(value, rel=1e-9)
    assert kid(y, x).value == pytest.approx(value, rel=1e-9)
    assert kid(x.astype(float), y.astype(float)) == kid(x, y)


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(float) @ b.T.astype(float) / a.shape[1] + 1) ** 3


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_kid_over_several_tiles_equals_its_definition_in_matrices(shift: float):
    x, y = (inception_like(n, seed)[:, :64] + shift * (1 + step) for n, seed, step in ((1300, 1, 0), (2600, 2, 1e-3)))
    x, y = x.astype(np.float32), y.astype(np.float32)
    n, m = len(x), len(y)
    xx, yy = (kernel(z, z).sum() - np.diagonal(kernel(z, z)).sum() for z in (x, y))
    expected = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * kernel(x, y).mean()
    assert kid(x, y).value == pytest.approx(expected, rel=1e-6)


def test_kid_of_constant_features_is_the_kernels():
    """Of ones and ones it is 0; of ones and twos 8 + 125 - 2 * 27."""
    ones = np.ones((9, 5))
    assert kid(ones, ones[:6]) == Estimate(0, 0)
    assert kid(ones, 2 * ones).value == pytest.approx(8 + 125 - 54, rel=1e-12)


def test_no_order_of_the_samples_changes_kid():
    for make in (normal, ill_conditioned):
        x, y = make(60, 8, 1), 2 * make(9, 8, 2)
        assert kid(np.random.default_rng(0).permutation(x), y[::-1]).value == pytest.approx(kid(x, y).value, rel=1e-9)
