"""Generated images compared with real ones: the functions that compute the metrics, by name.

A new metric is a line of `METRICS` and a record in `trainers.config.metrics`; or a plug-in, whose record has its function.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from trainers.common.seeds import derive_seed
from trainers.config.metrics import metrics
from trainers.evaluation.metrics.diversity import diversity
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.fid import fid_estimate, fid_infinity
from trainers.evaluation.metrics.memorisation import memorisation
from trainers.evaluation.metrics.prdc import Prdc, kid_and_prdc
from trainers.evaluation.references import Reference

#: Neighbours that reach to the rim of a ball of precision, recall, density and coverage; fewer where a set has no more.
NEIGHBOURS = 5

#: Real images that every generated one is paired with, at most: a fixed choice of them where there are more.
PAIRED = 10_000


class Comparison:
    """Features of generated images beside a reference; what several metrics need is computed once, when the first asks."""

    def __init__(self, reference: Reference, generated: np.ndarray, training: np.ndarray | None = None) -> None:
        """Compare.

        Args:
            reference: features of the real images, 2 or more (KID takes 4).
            generated: features float32 (M, D).
            training: features float32 (L, D) of the images that the generator was trained on, where they are known.
        """
        self.reference = reference
        self.generated = generated
        self.training = training

    @cached_property
    def paired(self) -> np.ndarray:
        """Features of the real images for all that looks at pairs."""
        features = self.reference.features
        if len(features) <= PAIRED:
            return features
        chosen = np.random.default_rng(derive_seed("paired")).permutation(len(features))[:PAIRED]
        return features[np.sort(chosen)]

    @cached_property
    def kid_and_prdc(self) -> tuple[Estimate, Prdc]:
        """See `trainers.evaluation.kid` and `trainers.evaluation.prdc`."""
        k = min(NEIGHBOURS, len(self.paired) - 1, len(self.generated) - 1)
        return kid_and_prdc(self.paired, self.generated, k)

    def fid(self) -> Estimate:
        """See `trainers.evaluation.fid`."""
        return fid_estimate(self.reference.features, self.generated, self.reference.statistics)

    def fid_infinity(self) -> Estimate:
        """See `trainers.evaluation.fid`."""
        return fid_infinity(self.reference.statistics, self.generated, seed=0)

    def memorisation(self) -> Estimate:
        """See `trainers.evaluation.memorisation`."""
        assert self.training is not None
        return memorisation(self.training, self.paired, self.generated)


METRICS: dict[str, Callable[[Comparison], Estimate]] = {
    "fid": Comparison.fid,
    "fid_infinity": Comparison.fid_infinity,
    "kid": lambda pair: pair.kid_and_prdc[0],
    "precision": lambda pair: pair.kid_and_prdc[1].precision,
    "recall": lambda pair: pair.kid_and_prdc[1].recall,
    "density": lambda pair: pair.kid_and_prdc[1].density,
    "coverage": lambda pair: pair.kid_and_prdc[1].coverage,
    "diversity": lambda pair: diversity(pair.paired, pair.generated),
    "memorisation": Comparison.memorisation,
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
