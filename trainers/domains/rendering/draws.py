"""Random draws of the parameters of rendered images, with adjustable variation."""

from typing import Any

import numpy as np


class Draws:
    """A random generator whose draws are moved towards a typical value.

    With a spread of 1 draws are unchanged, to the bit; with a spread of 0 every draw is the typical value.

    Attributes:
        plain: the underlying generator.
    """

    def __init__(self, plain: np.random.Generator, spread: float = 1.0) -> None:
        self.plain = plain
        self._spread = spread

    def uniform(self, low: float, high: float, size: Any) -> np.ndarray:
        """Draw from the uniform distribution on [low, high); typical is the middle."""
        return self.towards((low + high) / 2, self.plain.uniform(low, high, size))

    def normal(self, mean: float, deviation: float, size: Any) -> np.ndarray:
        """Draw from a normal distribution; typical is the mean."""
        return self.towards(mean, self.plain.normal(mean, deviation, size))

    def integers(self, low: int, high: int, size: Any) -> np.ndarray:
        """Draw integers from [low, high); typical is the middle."""
        drawn = self.towards((low + high - 1) / 2, self.plain.integers(low, high, size))
        return np.floor(drawn + 0.5).astype(np.int64)

    def towards(self, typical: float, drawn: np.ndarray) -> np.ndarray:
        """Return drawn values with their distance from the typical value multiplied by the spread."""
        return drawn if self._spread == 1 else typical + self._spread * (drawn - typical)
