"""Random draws of a rendered image's parameters, all of them drawn towards what is typical where less variation is wanted."""

from typing import Any

import numpy as np


class Draws:
    """A random generator that varies less: with a spread of 1 as drawn, to the bit; of 0 not at all.

    Attributes:
        plain: the generator itself.
    """

    def __init__(self, plain: np.random.Generator, spread: float = 1.0) -> None:
        self.plain = plain
        self._spread = spread

    def uniform(self, low: float, high: float, size: Any) -> np.ndarray:
        """Draw from [low, high)."""
        return self.towards((low + high) / 2, self.plain.uniform(low, high, size))

    def normal(self, mean: float, deviation: float, size: Any) -> np.ndarray:
        """Draw from a normal distribution."""
        return self.towards(mean, self.plain.normal(mean, deviation, size))

    def integers(self, low: int, high: int, size: Any) -> np.ndarray:
        """Draw whole numbers from [low, high)."""
        drawn = self.towards((low + high - 1) / 2, self.plain.integers(low, high, size))
        return np.floor(drawn + 0.5).astype(np.int64)

    def towards(self, typical: float, drawn: np.ndarray) -> np.ndarray:
        """Return values as far from the typical one as the spread leaves them."""
        return drawn if self._spread == 1 else typical + self._spread * (drawn - typical)
