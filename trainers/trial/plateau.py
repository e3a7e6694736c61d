"""The plateau that ends the training of a source before its budget."""

import math
from collections.abc import Mapping
from typing import Any

from trainers.config.settings import Until

#: Under these names the state of a plateau is part of a checkpoint's report, so that a resumed trial ends at the same step.
_LOWEST, _SINCE = "plateau_lowest", "plateau_since"


class Plateau:
    """Counts the evaluations since the best value of a metric.

    Attributes:
        lowest: the best value so far: the last that was lower than the best before it by the threshold.
        since: evaluations in a row without such a value.
        until: the setting.
    """

    def __init__(self, until: Until, report: Mapping[str, Any]) -> None:
        """Continue from the `state` in the report of a checkpoint, or start if it has none."""
        lowest, since = report.get(_LOWEST), report.get(_SINCE)
        self.lowest = math.inf if lowest is None else lowest
        self.since = int(since or 0)
        self.until = until

    def reached(self, value: float) -> bool:
        """Take in the value of an evaluation; return whether the training has reached its plateau."""
        fall = self.until.threshold * abs(self.lowest) if math.isfinite(self.lowest) else 0.0
        if value < self.lowest - fall:
            self.lowest, self.since = value, 0
        else:
            self.since += 1
        return self.since >= self.until.patience

    @property
    def state(self) -> dict[str, float | None]:
        """The state for a checkpoint's report."""
        return {_LOWEST: self.lowest if math.isfinite(self.lowest) else None, _SINCE: float(self.since)}
