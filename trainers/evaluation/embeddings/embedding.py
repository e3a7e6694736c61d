"""The base class of the embeddings, and the check of what a network from outside this package returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.common.heartbeat import beat


class Embedding(ABC):
    """Maps images to features.

    Attributes:
        identity: part of every metric's key; embeddings with equal identities give equal features.
        licence: of the weights.
        batch: images whose features are computed at a time.
    """

    licence = "the owner's"
    batch = 100

    def __init__(self, identity: str, device: str) -> None:
        self.identity = identity
        self.device = torch.device(device)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, D) of images uint8 (N, H, W, 3); they do not depend on the batches.

        In full float32 on a GPU too, where convolutions would round to TF32: a metric must not depend on the device.

        Raises:
            UserError: a network from outside this package fails, or does not return finite features (N, D).
        """
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            features = []
            for start in range(0, len(images), self.batch):
                features.append(self._features(images[start : start + self.batch]).float().cpu())
                beat()
        return torch.cat(features).numpy()

    @abstractmethod
    def _features(self, images: np.ndarray) -> Tensor:
        """Return features (N, D) of at most `batch` images uint8 (N, H, W, 3)."""


def checked_features(call: str, network: Callable[[Any], Any], images: Any, count: int) -> Tensor:
    """Return the features, a tensor or an array, that a network from outside this package gives for `count` images.

    Messages begin with the `call` in words: "embedding file 'x.pt', given images uint8 (5, 3, 8, 8),".

    Raises:
        UserError: the network fails, or does not return finite features float (N, D).
    """
    try:
        features = network(images)
    except Exception as error:  # it runs the user's code
        raise UserError(f"{call} fails: {last_line(error)}") from error
    if isinstance(features, np.ndarray):
        features = torch.from_numpy(features)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != count or not features.is_floating_point():
        what = f"{features.dtype} {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{call} returns {what} and must return features float ({count}, D)")
    if not bool(features.isfinite().all()):
        raise UserError(f"{call} returns features that are not finite")
    return features


def last_line(error: Exception) -> str:
    """Return the last line of an error's message that has text; TorchScript's ends with the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
