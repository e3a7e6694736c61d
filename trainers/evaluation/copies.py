"""Generated images beside the training images that they are nearest to, to see whether they are copies."""

import numpy as np
import torch

from trainers.evaluation.embeddings.embedding import Embedding

#: Most generated images that are shown.
SHOWN = 32


def nearest(generated: np.ndarray, training: np.ndarray, embedding: Embedding) -> np.ndarray:
    """Return the index int64 (N,) of the training image whose features are nearest to those of each generated image.

    Images are uint8, (N, H, W, 3) and (L, H, W, 3), N and L >= 1; of equally near ones it is the first.
    """
    return nearest_features(embedding(generated), embedding(training))


def nearest_features(generated: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the index int64 (N,) of the row of `training` (L, D) that is nearest to each row of `generated` (N, D)."""
    ours, theirs = (torch.from_numpy(features).double() for features in (generated, training))
    distances = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist")
    indices: np.ndarray = distances.argmin(1).numpy()
    return indices


def side_by_side(generated: np.ndarray, training: np.ndarray, embedding: Embedding) -> np.ndarray:
    """Return each of the first `SHOWN` generated images followed by its nearest training image, uint8 (2N, H, W, 3)."""
    shown = generated[:SHOWN]
    pairs = np.stack([shown, training[nearest(shown, training, embedding)]], 1)
    return pairs.reshape(-1, *shown.shape[1:])
