"""What an embedding is, and images in batches."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainers.common.heartbeat import beat


class Embedding(Protocol):
    """Maps images to features.

    Attributes:
        identity: part of every metric's key; two embeddings with equal identities give equal features.
        licence: of the weights.
    """

    identity: str
    licence: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, D) of images uint8 (N, H, W, 3), whatever the batches they are computed in."""


def in_batches(compute: Callable[[np.ndarray], Tensor], images: np.ndarray, batch: int) -> np.ndarray:
    """Return the features float32 (N, D) that `compute` gives of images uint8 (n, H, W, 3), a batch at a time.

    In full float32 on a GPU too, where convolutions would round to TF32: a metric must not depend on the device.
    """
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        found = []
        for start in range(0, len(images), batch):
            found.append(compute(images[start : start + batch]).float().cpu())
            beat()
    return torch.cat(found).numpy()
