"""The methods of each cell at the step where they are compared, and the difference of two of them with its error.

A cell's **final step** is where its methods are compared: the budget, or in an unfinished store the last step that scratch and
at least one transfer have reached. A method is final if its seeds are measured there. Seeds that halving stopped do not count
if two others went on, as they are chosen by their keys and not by their values. A method that the stopping rule stopped as a
whole is not final: its **early** values are at an earlier step and are never compared with final ones.

A seed that diverged, failed or collapsed is **lost**. It counts as the worst value, so a method with a lost seed has no mean,
is ranked below the methods without one, and is compared by ranks alone.

Values are log2 of the metric, so a difference is the log2 of a ratio and means are geometric.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from analysis.comparison.reference_error import log_variance
from analysis.comparison.seeds import Seeds, Spread, blocked_variance, pooled_variance
from analysis.words import Row
from bench.store import FINISHED

SCRATCH = "scratch"

#: Statuses of the trials that take part in comparisons.
COMPARABLE = (*FINISHED, "unfinished")

_NAMES = ["cell", "embedding", "target", "size", "conditional", "resolution", "cell_label", "family", "target_label", "budget"]
_METHOD = ["strategy", "source", "source_label"]
_ORDER = ["target", "conditional", "family", "size", "cell"]
_READ = {*_NAMES, *_METHOD, *_ORDER, "trial", "parent", "step", "value", "status", "lost", "cut", "lost_seeds", "replicates"}


@dataclass(frozen=True, eq=False)
class Method:
    """A strategy from a source in one cell.

    Attributes:
        names: `strategy`, `source` and `source_label`; the last two are None for scratch.
        by_step: its seeds at every step that all of them reached, ascending; lost seeds are not among them.
        step: the cell's final step if `final`, else the last of `by_step`.
        lost: the number of further seeds that diverged, failed or collapsed.
        final: whether it is compared at the cell's final step.
    """

    names: Row
    by_step: dict[int, Seeds]
    step: int
    lost: int
    final: bool = False

    @property
    def seeds(self) -> Seeds:
        """Its seeds at `step`."""
        return self.by_step[self.step]

    @property
    def logs(self) -> np.ndarray:
        """Log2 of the values of its units at `step`, (U,): see `analysis.comparison.seeds`."""
        return self.seeds.logs

    @property
    def is_scratch(self) -> bool:
        """Whether it is the reference, training from scratch without options."""
        return bool(self.names["strategy"] == SCRATCH)

    @property
    def is_transfer(self) -> bool:
        """Whether it has a source; scratch with options, such as another learning rate, has none and is not the reference."""
        return self.names["source"] is not None

    @property
    def is_whole(self) -> bool:
        """Whether it is final and lost no seed, so that its mean is comparable."""
        return self.final and not self.lost

    @property
    def mean(self) -> float:
        """The mean of `logs`."""
        return self.seeds.mean


@dataclass(frozen=True)
class Difference:
    """How much lower the second of two methods is than the first, log2.

    Attributes:
        value: difference of the means; NaN if a seed was lost.
        error: its standard error; NaN if unknown.
        freedom: Satterthwaite's degrees of freedom of `error`; NaN if unknown.
        rank_p: two-sided p-value by ranks where a seed was lost, else NaN.
    """

    value: float
    error: float = np.nan
    freedom: float = np.nan
    rank_p: float = np.nan

    @property
    def p(self) -> float:
        """The uncorrected two-sided p-value, by Welch's t-test or by ranks; NaN if not testable."""
        if np.isfinite(self.rank_p) or not self.error > 0:
            return self.rank_p
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    def margin(self, level: float) -> float:
        """Return half the width of the interval with an error probability `level`; NaN if unknown."""
        return float(special.stdtrit(self.freedom, 1 - level / 2) * self.error) if np.isfinite(self.error) else np.nan


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell and its methods, best first.

    Attributes:
        names: `cell`, `embedding`, `target`, `size`, `conditional`, `resolution`, `cell_label`, `family`, `target_label`,
            `budget`.
        step: the final step; None if scratch and the transfers have no step in common.
        methods: those without a lost seed by their means; then those with one; then those that are not final.
        unusable: the number of values that have no logarithm (0 or not finite) of seeds that were not lost.
    """

    names: Row
    step: int | None
    methods: tuple[Method, ...]
    unusable: int

    @cached_property
    def scratch(self) -> Method | None:
        """Training from scratch, if it is measured."""
        return next((method for method in self.methods if method.is_scratch), None)

    @property
    def transfers(self) -> list[Method]:
        """The methods with a source."""
        return [method for method in self.methods if method.is_transfer]

    @cached_property
    def _pooled(self) -> Spread:
        return pooled_variance(method.seeds for method in self.transfers if method.is_whole)

    @cached_property
    def _blocked(self) -> Spread:
        return blocked_variance([method.seeds for method in self.transfers if method.is_whole])

    def variance(self, method: Method) -> Spread:
        """Return the variance between units and its degrees of freedom: one for all transfers, else the method's own."""
        return self._pooled if method.is_transfer else pooled_variance([method.seeds])

    def difference(self, first: Method, second: Method) -> Difference:
        """Return how much lower `second` is than `first` at the final step, both final."""
        if first.lost or second.lost:
            return Difference(np.nan, rank_p=rank_test(first, second))
        value = first.mean - second.mean
        parts = [(*self.variance(method), len(method.logs)) for method in (first, second)]
        if first.is_transfer and second.is_transfer:
            # Methods that start from the same trainings of a source have in common what these do to both.
            variance, freedom = self._blocked if first.seeds.units == second.seeds.units else self._pooled
            terms = [(variance * sum(1 / count for _, _, count in parts), freedom)]
        else:
            terms = [(variance / count, freedom) for variance, freedom, count in parts]
        if not all(freedom for _, freedom in terms):
            return Difference(value)
        of_reference = reference_variance(first, second)
        total = sum(variance for variance, _ in terms) + of_reference
        squares = sum(variance**2 / freedom for variance, freedom in terms)
        # The variance over draws of the reference images is taken as known.
        return Difference(value, float(np.sqrt(total)), total**2 / squares if squares > 0 else np.inf)

    def early(self, method: Method) -> tuple[int, float] | None:
        """Return the last step that scratch and a method have in common, and the method's log2 gain over scratch there."""
        steps = set(method.by_step) & set(self.scratch.by_step) if self.scratch else set()
        if not steps or self.scratch is None:
            return None
        step = max(steps)
        return step, self.scratch.by_step[step].mean - method.by_step[step].mean


def cells(curves: pd.DataFrame, metric: str = "fid") -> list[Cell]:
    """Return the cells that have a measurement of a metric, in the order of the report.

    `curves` are those of `analysis.frames`; a cell is one of each embedding.
    """
    wanted = (curves["kind"] == "adapt") & (curves["metric"] == metric) & (curves["step"] > 0)
    adapt = curves.loc[wanted, [name for name in curves.columns if name in _READ]]  # each group copies all columns
    adapt = adapt.sort_values(_ORDER, kind="stable")
    return [cell for _, rows in adapt.groupby(["cell", "embedding"], sort=False) if (cell := _cell(rows)) is not None]


def reference_variance(first: Method, second: Method) -> float:
    """Return the variance of the difference of two methods over draws of the reference images; 0 where it is not stored.

    Both are measured with the same draws, so what a draw does to both cancels.
    """
    variance = log_variance(*(method.by_step[method.step].replicates for method in (first, second)))
    return variance if np.isfinite(variance) else 0.0


def rank_test(first: Method, second: Method) -> float:
    """Return the two-sided p-value of the exact permutation test of rank sums, in which lost seeds rank last."""
    values = [*first.logs, *[np.inf] * first.lost, *second.logs, *[np.inf] * second.lost]
    ranks, count = stats.rankdata(values), len(first.logs) + first.lost
    if not 0 < count < len(ranks):
        return np.nan
    middle = count * ranks.mean()
    if len(ranks) > 14:  # too many assignments to enumerate
        return float(stats.mannwhitneyu(ranks[:count], ranks[count:], method="asymptotic").pvalue)
    sums = np.array([ranks[list(chosen)].sum() for chosen in combinations(range(len(ranks)), count)])
    return float((np.abs(sums - middle) >= abs(ranks[:count].sum() - middle) - 1e-9).mean())


def _cell(rows: pd.DataFrame) -> Cell | None:
    columns = {name: rows[name].tolist() for name in rows.columns}  # of a few rows each, frames would take most of the time
    groups: dict[tuple[str, bool, str], list[int]] = defaultdict(list)
    for place, (strategy, source) in enumerate(zip(columns["strategy"], columns["source"], strict=True)):
        groups[(strategy, True, "") if pd.isna(source) else (strategy, False, source)].append(place)
    methods, unusable = [], 0
    for _, places in sorted(groups.items()):
        method, dropped = _method({name: [values[place] for place in places] for name, values in columns.items()})
        unusable += dropped
        methods += [method] if method is not None else []
    if not methods:
        return None
    step = _final_step(methods)
    methods = [_at(method, step) for method in methods]
    methods.sort(key=lambda m: (not m.final, m.lost, -m.step if not m.final else 0, m.mean))
    first = rows.iloc[0]
    return Cell({name: first[name] for name in _NAMES}, step, tuple(methods), unusable)


def _final_step(methods: list[Method]) -> int | None:
    """Return the last step that scratch and a transfer, or without scratch any method, have in common."""
    scratch = next((method for method in methods if method.is_scratch), None)
    if scratch is None or len(methods) == 1:
        return max(method.step for method in methods)
    shared = [set(method.by_step) & set(scratch.by_step) for method in methods if method is not scratch]
    return max(set().union(*shared), default=None)


def _at(method: Method, step: int | None) -> Method:
    """Return a method at the cell's final step if it has one there, else at its last step."""
    if step is None or step not in method.by_step:
        return method
    return replace(method, step=step, final=True)


def _method(rows: dict[str, list[Any]]) -> tuple[Method | None, int]:
    """Return a method from the columns of its measurements, at its last step, and the number of unusable values."""
    table: dict[str, dict[int, float]] = {}
    draws: dict[tuple[str, int], Any] = {}
    going: list[str] = []
    unusable = 0
    stored = rows.get("replicates", [None] * len(rows["trial"]))
    parents = [None if pd.isna(parent) else parent for parent in rows["parent"]]
    trainings = dict(zip(rows["trial"], parents, strict=True))
    columns = (rows[name] for name in ("trial", "step", "value", "status", "lost", "cut"))
    for trial, step, value, status, lost, cut, replicates in zip(*columns, stored, strict=True):
        if lost or status not in COMPARABLE:
            continue
        if trial not in table:
            table[trial] = {}
            going += [] if cut else [trial]
        if value > 0 and np.isfinite(value):
            table[trial][int(step)] = float(np.log2(value))
            draws[trial, int(step)] = replicates
        else:
            unusable += 1
    if len(going) < min(2, len(table)):
        going = list(table)
    steps = sorted(set.intersection(*(set(table[trial]) for trial in going))) if going else []
    if not steps:
        return None, unusable
    by_step = {}
    for step in steps:
        trials = tuple(trial for trial in table if step in table[trial])
        replicates = [draws[trial, step] for trial in trials]
        known = [] if any(values is None for values in replicates) else replicates
        values = np.array([table[trial][step] for trial in trials])
        by_step[step] = Seeds(trials, values, known, tuple(trainings[trial] for trial in trials))
    names = {name: None if pd.isna(rows[name][0]) else rows[name][0] for name in _METHOD}
    return Method(names, by_step, steps[-1], int(rows["lost_seeds"][0])), unusable
