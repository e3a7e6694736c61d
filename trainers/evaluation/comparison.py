"""Generated images compared with real ones: the functions that compute the metrics, by name.

A new metric is a line of `METRICS` and a record in `trainers.config.metrics`; or a plug-in, whose record has its function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainers.common.seeds import derive_seed
from trainers.config.metrics import metrics
from trainers.evaluation.metrics.diversity import diversity, intra_diversity
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.fid import fid_estimate, fid_infinity
from trainers.evaluation.metrics.memorisation import memorisation
from trainers.evaluation.metrics.prdc import Prdc, kid_and_prdc
from trainers.evaluation.references import Reference

#: The k of precision, recall, density and coverage: a ball reaches to the k-th nearest neighbour. Less for smaller sets.
NEIGHBOURS = 5

#: Most real images that are paired with every generated image; of more, a fixed random choice.
PAIRED = 10_000


@dataclass(eq=False)
class Comparison:
    """Features of generated images and of a reference; intermediate results that metrics share are computed once, on demand."""

    reference: Reference
    """Features of the real images, 2 or more (KID takes 4)."""
    generated: np.ndarray
    """Features float32 (M, D)."""
    training: np.ndarray | None = None
    """Features float32 (L, D) of the generator's training images, if known."""
    held_out: Reference | None = None
    """Features of real images that no generator trains on, for memorisation; None: the reference consists of such images."""

    @cached_property
    def paired(self) -> np.ndarray:
        """Features of the real images for the metrics of pairs, at most `PAIRED`."""
        return _at_most_paired(self.reference.features)

    @cached_property
    def kid_and_prdc(self) -> tuple[Estimate, Prdc]:
        """See `trainers.evaluation.metrics.kid` and `trainers.evaluation.metrics.prdc`."""
        k = min(NEIGHBOURS, len(self.paired) - 1, len(self.generated) - 1)
        return kid_and_prdc(self.paired, self.generated, k)

    @property
    def intra_diversity(self) -> Estimate:
        """See `trainers.evaluation.metrics.diversity`; needs `training`."""
        assert self.training is not None
        return intra_diversity(self.training, self.paired, self.generated)

    @property
    def memorisation(self) -> Estimate:
        """See `trainers.evaluation.metrics.memorisation`; needs `training`."""
        assert self.training is not None
        fresh = self.paired if self.held_out is None else _at_most_paired(self.held_out.features)
        return memorisation(self.training, fresh, self.generated)


def _at_most_paired(features: np.ndarray) -> np.ndarray:
    if len(features) <= PAIRED:
        return features
    chosen = np.random.default_rng(derive_seed("paired")).permutation(len(features))[:PAIRED]
    return features[np.sort(chosen)]


METRICS: dict[str, Callable[[Comparison], Estimate]] = {
    "fid": lambda pair: fid_estimate(pair.reference.features, pair.generated, pair.reference.statistics),
    "fid_infinity": lambda pair: fid_infinity(pair.reference.statistics, pair.generated, seed=0),
    "kid": lambda pair: pair.kid_and_prdc[0],
    "precision": lambda pair: pair.kid_and_prdc[1].precision,
    "recall": lambda pair: pair.kid_and_prdc[1].recall,
    "density": lambda pair: pair.kid_and_prdc[1].density,
    "coverage": lambda pair: pair.kid_and_prdc[1].coverage,
    "diversity": lambda pair: diversity(pair.paired, pair.generated),
    "intra_diversity": lambda pair: pair.intra_diversity,
    "memorisation": lambda pair: pair.memorisation,
    **{name: metric.compute for name, metric in metrics().items() if metric.compute is not None},
}


def interval(metric: str, estimate: Estimate) -> dict[str, float]:
    """Return a metric's `value` and the ends `low` and `high` of its 95 % interval, 1.96 standard errors either way.

    The ends are clipped to the metric's range; a quantity that is no metric, such as a domain's spacing, has no range.
    """
    margin, record = 1.96 * estimate.standard_error, metrics().get(metric)
    limits = (-np.inf, np.inf) if record is None else (record.low, record.high)
    low, high = np.clip([estimate.value - margin, estimate.value + margin], *limits)
    return {"value": estimate.value, "low": float(low), "high": float(high)}
