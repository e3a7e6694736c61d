"""Embeddings: the networks whose features FID and its kin are computed in."""

from functools import cache
from typing import Protocol

import numpy as np

from trainers.evaluation.names import EMBEDDINGS, embedding_identity


class Embedding(Protocol):
    """Maps images to features.

    Attributes:
        identity: part of every metric's key; two embeddings with equal identities give equal features.
        dimensions: D.
        licence: of the weights.
    """

    identity: str
    dimensions: int
    licence: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, D) of images uint8 (N, H, W, 3), whatever the batches they are computed in."""


@cache
def load_embedding(name: str, device: str = "cpu") -> Embedding:
    """Return the embedding of that name on a device, loaded once per process.

    Raises:
        UserError: there is no embedding of that name.
    """
    identity = embedding_identity(name)
    assert name in EMBEDDINGS
    from trainers.evaluation.builtin import Builtin

    return Builtin(identity, device)
