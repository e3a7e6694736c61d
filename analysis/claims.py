"""Claims: what the report concludes from a comparison, as one of three outcomes.

Every comparison that the report words as a finding is a claim, so that a benchmark can read the claims of a store as data and
count how many are false (`python -m tests.benchmarks.truth`).
"""

from enum import StrEnum

import pandas as pd


class Outcome(StrEnum):
    """What a comparison can conclude; there is nothing between these."""

    APART = "told apart"
    """The difference is significant at `LEVEL`, corrected for all claims of its kind in the store."""
    NOT_APART = "not told apart"
    """The difference may be noise; the interval says what effect is still possible."""
    UNTESTABLE = "not testable"
    """The noise is unknown (one seed each), or a value is missing."""


#: The probability of at least one false claim among all claims of one kind.
LEVEL = 0.05

#: Kinds of claims: what `subject` is compared with `versus` by.
KINDS = {
    "scratch": "log2 gain of a method (strategy and source) over scratch in a cell",
    "best": "log2 gain over scratch of the method that a cell's headline names",
    "order": "log2 gain of the method that a cell's headline names over another method of the cell",
    "strategy": "log2 gain of a source's first strategy over another strategy of that source in a cell",
    "source": "log2 gain of the source that is the best on average over another source, over targets",
    "predictor": "rank correlation of a kind of nearness with the gain",
    "driver": "log2 gain by a covariate of the mixed model",
    "knob": "log2 gain by a knob of the source",
    "multiplier": "log2 of a data multiplier",
    "speed_up": "log2 of a speed-up",
    "recommended": "log2 gain over scratch of the first start that `transfergan recommend` names",
}

#: A claim as a row. `cell` is None for claims over several cells. `value` is an estimate with its 95 % interval `low` to `high`
#: (NaN if unknown; conservative where `simultaneous`, as it then holds for all claims of the kind together), `p` is corrected
#: for all claims of the kind (Holm; predictors by their largest correlation), `step` is the generator step of the values, and
#: `seeds` counts the smaller side.
COLUMNS = [
    "kind", "cell", "subject", "versus", "outcome", "value", "low", "high", "simultaneous", "p", "step", "seeds",
]  # fmt: skip


def outcome(p: "pd.Series[float]") -> "pd.Series[str]":
    """Return the outcome by corrected p-value; NaN is not testable."""
    names = pd.Series(Outcome.NOT_APART.value, index=p.index, dtype="object")
    return names.mask(p.isna(), Outcome.UNTESTABLE.value).mask(p < LEVEL, Outcome.APART.value)
