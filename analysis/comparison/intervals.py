"""Student's tests of several estimates together, with intervals that agree with them, and the interval of one mean."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims import LEVEL, outcome


def holm(p: "pd.Series[float]", family: int = 0) -> "pd.Series[float]":
    """Return p-values adjusted by Holm's step-down method (1979), which controls the family-wise error rate.

    NaN marks what was not tested. `family` is the number of hypotheses if it is larger than that of p-values: those that might
    have been tested had the rule not stopped them, and so count as not rejected.
    """
    tested = p.dropna().sort_values(kind="stable")
    factors = max(family, len(tested)) - np.arange(len(tested))
    corrected = np.minimum(np.maximum.accumulate(tested.to_numpy() * factors), 1.0)
    return pd.Series(corrected, index=tested.index, dtype=float).reindex(p.index)


def with_tests(estimates: pd.DataFrame) -> pd.DataFrame:
    """Test against 0 every `value` with its standard `error` and degrees of `freedom`, and add `low`, `high`, `p`, `outcome`.

    p-values are two-sided and corrected for all rows by Holm's method. NaN is not testable.
    """
    value, error, freedom = (estimates[name].astype(float) for name in ("value", "error", "freedom"))
    error = error.where(error > 0)
    p = pd.Series(2 * stats.t.sf(value.abs() / error, freedom), index=estimates.index)
    margin = error * stats.t.ppf(1 - levels(p) / 2, freedom)
    corrected = holm(p)
    return estimates.assign(low=value - margin, high=value + margin, p=corrected, outcome=outcome(corrected))


def levels(p: "pd.Series[float]", family: int = 0) -> "pd.Series[float]":
    """Return the error probability of the interval that belongs to each test of Holm's method; NaN if untested.

    An interval of this level excludes 0 exactly where the corrected p-value is below `claims.LEVEL`: it is the level at which
    the hypothesis was rejected, or that of the first hypothesis that was not. All intervals hold together.
    """
    count = max(family, int(p.notna().sum()))
    rejected = holm(p, family) < LEVEL
    factors = (count - p.rank(method="first") + 1).where(rejected | p.isna(), count - int(rejected.sum()))
    return LEVEL / factors


def pairs(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Return the strategy and source of each row as one value, the subject of a claim."""
    values: list[Any] = list(zip(rows["strategy"].tolist(), rows["source"].tolist(), strict=True))
    return pd.Series(values, index=rows.index, dtype="object")


def mean_and_margin(values: "pd.Series[float]", shared: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval by Student's t; NaN with one value.

    `shared` is the variance of what all values have in common, and its degrees of freedom.
    """
    n = len(values)
    error, freedom = total_error([(values.var() / n, n - 1), shared]) if n > 1 else (np.nan, np.nan)
    return float(values.mean()), float(stats.t.ppf(1 - LEVEL / 2, freedom) * error)


def total_error(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error that independent variances, each with its degrees of freedom, add up to, and its freedom.

    The degrees of freedom are Satterthwaite's (1946). A variance of 0 has no effect.
    """
    known = [(variance, freedom) for variance, freedom in parts if variance > 0]
    total = sum(variance for variance, _ in known)
    squares = sum(variance**2 / freedom for variance, freedom in known)
    return float(np.sqrt(total)), total**2 / squares if squares else np.inf
