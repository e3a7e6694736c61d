"""Generated images compared with real ones: every metric by its name."""

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from trainers.evaluation.diversity import diversity
from trainers.evaluation.estimate import Estimate
from trainers.evaluation.fid import fid_estimate, fid_infinity
from trainers.evaluation.kid import kid_and_prdc
from trainers.evaluation.memorisation import memorisation
from trainers.evaluation.prdc import Prdc
from trainers.evaluation.references import Reference

#: Neighbours that reach to the rim of a ball of precision, recall, density and coverage; fewer where a set has no more.
NEIGHBOURS = 5


class Comparison:
    """Features of generated images beside a reference, and what follows from them; each metric is computed when asked for."""

    def __init__(self, reference: Reference, features: np.ndarray, training: np.ndarray | None = None) -> None:
        """Compare.

        Args:
            reference: features of the real images.
            features: float32 (N, D), of the generated images.
            training: float32 (M, D), of the images that the generator was trained on, where they are known.
        """
        self.reference = reference
        self.features = features
        self.training = training

    @cached_property
    def fid(self) -> Estimate:
        """See `trainers.evaluation.fid`."""
        return fid_estimate(self.reference.features, self.features)
