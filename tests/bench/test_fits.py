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


def test_equal_columns_share_what_they_fit():
    design = np.column_stack([np.full(5, 2.0), np.full(5, 1.0), np.zeros(5)])
    solution = non_negative(design, np.full(5, 4.0))
    assert design @ solution == pytest.approx(np.full(5, 4.0))
    assert (solution >= 0).all()


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 199, 200, 1001, 10**6])
def test_the_quantiles_of_students_t_are_those_of_scipy(freedom: int):
    assert t_quantile(freedom) == pytest.approx(stdtrit(freedom, 0.975), rel=1e-11)
