"""Where a training has reached its plateau."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainers.config.settings import Until
from trainers.trial.plateau import Plateau


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_a_plateau_counts_as_pytorch_does(threshold: float):
    values = 10 * 0.93 ** np.arange(40) * np.random.default_rng(0).uniform(0.9, 1.1, size=40)
    peer = ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)]), patience=1000, threshold=threshold, threshold_mode="rel")
    plateau = Plateau(Until(patience=3, threshold=threshold), {})
    for value in values.tolist():
        peer.step(value)
        assert plateau.reached(value) == (peer.num_bad_epochs >= 3)
        assert (plateau.lowest, plateau.since) == (peer.best, peer.num_bad_epochs)
        plateau = Plateau(plateau.until, plateau.state)
    plateau = Plateau(Until(patience=2, threshold=threshold), {})
    assert any(plateau.reached(value) for value in 0.95 ** np.arange(40)) == (threshold > 0)


def test_a_metric_below_zero_has_a_plateau_too():
    plateau = Plateau(Until(metric="kid", patience=1, threshold=0.5), {})
    assert [plateau.reached(value) for value in (0.01, -0.01, -0.02, -0.025)] == [False, False, False, True]
