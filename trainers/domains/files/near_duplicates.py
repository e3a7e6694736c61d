"""Near-duplicates: reference images that are almost identical to a train image, so memorising them would improve the metrics.

Two images are near-duplicates if their luminance, each about its mean, differs little: copies at another size, quality or
brightness. Crops, mirror images and other views of the same object are not detected.
"""

import numpy as np
from numpy.typing import NDArray

#: The largest root mean square difference of luminance between near-duplicates, on a scale of 255.
LARGEST_DIFFERENCE = 8.0

#: The largest difference as a share of the reference image's standard deviation; without it,
#: all images of low contrast would be near-duplicates.
LARGEST_SHARE = 0.2

#: Images compared at a time; limits the memory needed.
BLOCK = 4096

#: Side of the thumbnails by which nearest neighbours are found, pixels.
SIDE = 8


def near_duplicates(train: np.ndarray, reference: np.ndarray) -> NDArray[np.int64]:
    """Return the index of each reference image's near-duplicate among the train images, or -1; int64 (M,).

    For each reference image only the train image with the nearest thumbnail of 8 x 8 pixels is compared in full. Images are
    uint8 (., H, W, 3), 8 pixels a side or more. `train` may be mapped from disk; it is read in blocks.
    """
    thumbnails = np.concatenate([_thumbnails(reference[start : start + BLOCK]) for start in range(0, len(reference), BLOCK)])
    norms = np.square(thumbnails).sum(1)
    nearest = np.zeros(len(thumbnails), np.int64)
    least = np.full(len(thumbnails), np.inf, np.float32)
    for start in range(0, len(train), BLOCK):
        block = _thumbnails(train[start : start + BLOCK])
        for rows in (slice(first, first + BLOCK) for first in range(0, len(thumbnails), BLOCK)):
            distances = np.square(block).sum(1) + norms[rows, None] - 2 * thumbnails[rows] @ block.T
            best = distances.argmin(1)
            distance = distances[np.arange(len(best)), best]
            closer = distance < least[rows]
            nearest[rows] = np.where(closer, start + best, nearest[rows])
            least[rows] = np.where(closer, distance, least[rows])
    return np.array([match if _alike(train[match], reference[i]) else -1 for i, match in enumerate(nearest)], np.int64)


def _alike(train: np.ndarray, reference: np.ndarray) -> bool:
    a, b = (_centred(image[None])[0] for image in (train, reference))
    difference = float(np.sqrt(np.square(a - b).mean()))
    return difference <= min(LARGEST_DIFFERENCE, max(1.0, LARGEST_SHARE * float(b.std())))


def _centred(images: np.ndarray) -> NDArray[np.float32]:
    """Return the luminance (N, H, W) of images minus its mean over each image."""
    luminance = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    luminance -= luminance.mean((1, 2), keepdims=True)
    return np.asarray(luminance, np.float32)


def _thumbnails(images: np.ndarray) -> NDArray[np.float32]:
    """Return the images' luminance averaged over 8 x 8 areas, (N, 64)."""
    side = images.shape[1]
    edges = np.linspace(0, side, SIDE + 1)
    overlap = np.minimum(edges[1:, None], np.arange(1, side + 1)) - np.maximum(edges[:-1, None], np.arange(side))
    weights = (overlap.clip(0) * SIDE / side).astype(np.float32)  # (8, side): the weight of each pixel in each area's mean
    thumbnails = weights @ _centred(images) @ weights.T
    return np.asarray(thumbnails.reshape(len(images), -1), np.float32)
