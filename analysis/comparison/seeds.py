"""The seeds of a method at one step, and the variance between them.

The **units** of a method are what varies independently of each other: its trials if all of them start from one training of the
source, or from none; the trainings if there are several, each with the mean of the trials that start from it. Three
trainings of one source differ more than three adaptations of one training, so adaptations of one training count once.
Comparisons of methods with one training are about that training of the source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby

import numpy as np

#: A variance and its degrees of freedom; (NaN, 0) if unknown.
Spread = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Seeds:
    """The seeds of a method at one step.

    Attributes:
        trials: their keys.
        values: log2 of their values, (N,).
        replicates: their values on other draws of the reference images, (B,) of each seed; empty where not stored.
        trainings: keys of the training of the source that each starts from; None for scratch.
    """

    trials: tuple[str, ...]
    values: np.ndarray
    replicates: list[np.ndarray]
    trainings: tuple[str | None, ...]

    @cached_property
    def units(self) -> tuple[str, ...]:
        """What varies independently: keys of trainings of the source if there are several, else of trials."""
        trainings = dict.fromkeys(name for name in self.trainings if name is not None)
        return tuple(sorted(trainings)) if len(trainings) > 1 else self.trials

    @cached_property
    def logs(self) -> np.ndarray:
        """Mean of `values` of each unit, (U,)."""
        if self.units == self.trials:
            return self.values
        named = list(zip(self.values, self.trainings, strict=True))
        return np.array([np.mean([value for value, name in named if name == unit]) for unit in self.units])

    @cached_property
    def mean(self) -> float:
        """Mean of `logs`."""
        return float(self.logs.mean())


def pooled_variance(groups: Iterable[Seeds]) -> Spread:
    """Return the variance between units within each group, pooled over the groups, and its degrees of freedom.

    Groups with the same units, which are methods that start from the same trainings of a source, are correlated by what these
    have in common, so that they tell less about the variance than as many independent groups. By the method of Satterthwaite
    (1946) their degrees of freedom are divided by ``1 + (number of groups - 1) * correlation**2``.
    """
    groups = list(groups)
    residuals = [group.logs - group.mean for group in groups]
    freedom = sum(len(values) - 1 for values in residuals)
    if not freedom:
        return np.nan, 0
    variance = sum(float(values @ values) for values in residuals) / freedom
    products, shared = 0.0, 0
    for (first, a), (second, b) in combinations(zip(groups, residuals, strict=True), 2):
        if first.units == second.units:
            products += float(a @ b)
            shared += len(a) - 1
    correlation = products / shared / variance if shared and variance else 0.0
    return variance, freedom**2 / (freedom + 2 * shared * min(correlation**2, 1.0))


def blocked_variance(groups: Sequence[Seeds]) -> Spread:
    """Return half the variance of the difference of two groups with the same units, and its degrees of freedom.

    What the methods of one training have in common cancels in their difference: the residuals are those of a randomised
    complete block design, in which the trainings are the blocks.
    """
    squares, freedom = 0.0, 0
    for _, same in groupby(sorted(groups, key=lambda group: group.units), key=lambda group: group.units):
        table = np.array([group.logs for group in same])
        residuals = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        squares += float(np.square(residuals).sum())
        freedom += (table.shape[0] - 1) * (table.shape[1] - 1)
    return (squares / freedom if freedom else np.nan), freedom
