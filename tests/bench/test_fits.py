"""Non-negative least squares and Student's t against SciPy."""

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.special import stdtrit

from bench.costs.fits import non_negative, t_quantile


@pytest.mark.parametrize("seed", range(20))
def test_non_negative_least_squares_are_those_of_scipy(seed: int):
    random = np.random.default_rng(seed)
    design, target = np.abs(random.normal(size=(12, 3))), random.normal(size=12)
    target += design @ random.normal(size=3) * 3  # so that zero to three coefficients are positive
    assert non_negative(design, target) == pytest.approx(nnls(design, target)[0], abs=1e-12)


@pytest.mark.parametrize("apart", [2, 50, 2500])
def test_of_collinear_columns_the_first_has_all(apart: int):
    """An estimate reads equal distances between rungs so: see `bench.costs.estimate._Fit.readings`."""
    random = np.random.default_rng(apart)
    for seconds in random.uniform(0.5, 2, (50, 4)):
        design = np.column_stack([np.full(4, apart), np.ones(4), [0, 0, 0, 1]])
        step, evaluation, last = non_negative(design, seconds)
        assert (step > 0, evaluation) == (True, 0)
        assert [step, evaluation, last] == pytest.approx(nnls(design, seconds)[0], abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 199, 200, 1001, 10**6])
def test_the_quantiles_of_students_t_are_those_of_scipy(freedom: int):
    assert t_quantile(freedom) == pytest.approx(stdtrit(freedom, 0.975), rel=1e-11)
