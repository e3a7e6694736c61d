"""Features for the tests of metrics."""

import numpy as np


def normal(n: int, dimensions: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Return correlated features (n, dimensions) whose mean differs from 0 by `shift`."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, dimensions)) @ random.normal(size=(dimensions, dimensions)) + shift


def ill_conditioned(n: int, dimensions: int, seed: int) -> np.ndarray:
    """Return features (n, dimensions) whose standard deviations in rotated directions fall from 1 to a millionth."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dimensions, dimensions)))[0]
    return np.random.default_rng(seed).normal(size=(n, dimensions)) * np.logspace(0, -6, dimensions) @ rotation


def inception_like(n: int, seed: int) -> np.ndarray:
    """Return features float32 (n, 2048) similar to Inception's: non-negative, skewed, with decreasing variances."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(64, 2048)) / 8
    features = np.logspace(0, -1.5, 2048) * np.abs(random.normal(size=(n, 64)) @ mix + 0.5 * random.normal(size=(n, 2048)))
    return features.astype(np.float32)
