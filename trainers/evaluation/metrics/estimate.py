"""The result of every metric."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, the standard deviation of the value over repeated draws of the samples."""

    value: float
    standard_error: float
    replicates: NDArray[np.float32] | None = field(default=None, compare=False)
    """The value on other draws of the reference images, see `reference_draws`; None if the metric has none."""
