"""What every metric is told as."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value, and its standard error: the standard deviation that it would have over repeated draws of the samples."""

    value: float
    standard_error: float
