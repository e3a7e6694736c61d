"""The result of every metric."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, the standard deviation of the value over repeated draws of the samples."""

    value: float
    standard_error: float
