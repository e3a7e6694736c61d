"""Sources as trainings: how often a difference of two equal sources is claimed, and what distance is credited with."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.cells import Cell, Method
from analysis.comparison.seeds import Seeds
from analysis.prediction.gain_model import Table, fit
from tests.benchmarks.science.table import Row

#: Standard deviations of FID between trainings of one source, and between adaptations of one training (quickstart, three each).
BETWEEN, WITHIN = 3.9, 0.75

#: Seeds of each source, and the trainings that they start from.
SEEDS, TRAININGS = 6, 3

#: A family of claims may be false in this share of cells.
LEVEL = 0.05


def trainings(quick: bool) -> Iterator[Row]:
    """Yield the rows about sources that differ by how they were trained alone."""
    yield _claims(400 if quick else 4000)
    yield _credit(50 if quick else 500)


def _claims(cells: int) -> Row:
    """Return how often two equal sources are told apart by the seeds of one training each, and by several trainings."""
    random, told = np.random.default_rng(0), {"one": 0, "several": 0}
    for _ in range(cells):
        methods = {"one": [], "several": []}
        for source in "ab":
            of_training = random.normal(0, BETWEEN, TRAININGS)
            noise = random.normal(0, WITHIN, SEEDS)
            for name, number in (("one", np.zeros(SEEDS, int)), ("several", np.arange(SEEDS) % TRAININGS)):
                keys = tuple(f"{source}{k}" for k in number)
                seeds = Seeds(tuple(f"{source}-{k}" for k in range(SEEDS)), of_training[number] + noise, [], keys)
                methods[name].append(Method({"strategy": "finetune", "source": source}, {1: seeds}, 1, 0, final=True))
        for name, (first, second) in methods.items():
            told[name] += Cell({}, 1, (first, second), 0).difference(first, second).p < LEVEL
    interval = stats.binomtest(told["several"], cells).proportion_ci(0.95)
    return Row(
        f"equal sources told apart, {SEEDS} seeds from 1 and from {TRAININGS} trainings of each",
        f"{told['one'] / cells:.0%} of cells",
        f"{told['several'] / cells:.1%} ({interval.low:.1%} to {interval.high:.1%})",
        f"at most {LEVEL:.0%} of cells",
        bool(interval.low <= LEVEL),
    )


def _credit(stores: int) -> Row:
    """Return the gain per halving of the distance that is found where gains depend on the sources' own FIDs alone."""
    random, slopes = np.random.default_rng(1), {"before": [], "after": []}
    own = np.log2([4.3, 6.5, 9.6, 10.9])  # own FIDs of the quickstart's sources after pre-training, once
    for _ in range(stores):
        nearness = -own + random.normal(0, 0.3, (4, 4))
        gain = -0.5 * own + random.normal(0, 0.1, (4, 4))
        names = [f"t{number}" for number in range(4)], list("abcd")
        for name, training in (("before", np.full(4, np.nan)), ("after", -own)):
            slopes[name].append(fit(Table(*names, gain, nearness, training)).slope)
    before, after = (pd.Series(values) for values in slopes.values())
    error = 1.96 * after.sem()
    return Row(
        "gain per halving of the distance (log2), where only the sources' training matters",
        f"{before.mean():.2f}", f"{after.mean():.3f} (+-{error:.3f})", "0 within its interval, or below 0.02",
        bool(abs(after.mean()) < max(error, 0.02)),
    )  # fmt: skip
