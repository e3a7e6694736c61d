"""Reference images that are, nearly, in the train split too: a generator that memorised those would be praised for it.

Two images are near-duplicates when their luminance differs by little, once a common change of brightness is taken out: copies
at another size, quality or brightness. Crops, mirror images and other views of the same thing are not looked for.
"""

import numpy as np
from numpy.typing import NDArray

#: Of the luminance, root mean square over the pixels: most that a near-duplicate differs by, of 255.
MOST = 8.0

#: ... and as a share of the image's own standard deviation, so that two pale images are not the same for being pale.
SHARE = 0.2

#: Images at a time.
BLOCK = 4096

#: Side of the thumbnails that nearest neighbours are looked for in, pixels.
SIDE = 8


def near_duplicates(train: np.ndarray, reference: np.ndarray) -> NDArray[np.int64]:
    """Return for each reference image its near-duplicate among the train images, -1 for none; int64 (M,).

    Args:
        train: uint8 (N, H, W, 3), 8 pixels a side or more; may be mapped from disk, for it is read a block at a time.
        reference: uint8 (M, H, W, 3). The train image nearest by a thumbnail of 8 x 8 pixels is compared in full.
    """
    wanted = np.concatenate([_thumbnails(reference[start : start + BLOCK]) for start in range(0, len(reference), BLOCK)])
    norms = np.square(wanted).sum(1)
    nearest = np.zeros(len(wanted), np.int64)
    least = np.full(len(wanted), np.inf, np.float32)
    for start in range(0, len(train), BLOCK):
        block = _thumbnails(train[start : start + BLOCK])
        for rows in (slice(first, first + BLOCK) for first in range(0, len(wanted), BLOCK)):
            distances = np.square(block).sum(1) + norms[rows, None] - 2 * wanted[rows] @ block.T
            best = distances.argmin(1)
            found = distances[np.arange(len(best)), best]
            closer = found < least[rows]
            nearest[rows] = np.where(closer, start + best, nearest[rows])
            least[rows] = np.where(closer, found, least[rows])
    return np.array([twin if _alike(train[twin], reference[i]) else -1 for i, twin in enumerate(nearest)], np.int64)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    a, b = (_centred(image[None])[0] for image in (one, other))
    difference = float(np.sqrt(np.square(a - b).mean()))
    return difference <= min(MOST, max(1.0, SHARE * float(b.std())))


def _centred(images: np.ndarray) -> NDArray[np.float32]:
    """Return the luminance (N, H, W) of images, each about its mean."""
    luminance = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    luminance -= luminance.mean((1, 2), keepdims=True)
    return np.asarray(luminance, np.float32)


def _thumbnails(images: np.ndarray) -> NDArray[np.float32]:
    """Return the images' luminance averaged over 8 x 8 areas, (N, 64)."""
    side = images.shape[1]
    edges = np.linspace(0, side, SIDE + 1)
    overlap = np.minimum(edges[1:, None], np.arange(1, side + 1)) - np.maximum(edges[:-1, None], np.arange(side))
    weights = (overlap.clip(0) * SIDE / side).astype(np.float32)  # (8, side): each area's share of each pixel
    thumbnails = weights @ _centred(images) @ weights.T
    return np.asarray(thumbnails.reshape(len(images), -1), np.float32)
