"""The knob `shift`: images rotated, tinted and blended with another background, by any amount.

It is meant for experiments on distance: a larger shift gives a larger distance, and changes nothing else about a domain.
"""

import numpy as np

#: At a shift of 1: the rotation in radians, and the share of the new background in each pixel.
ROTATION, BACKGROUND = np.deg2rad(40), 0.55

#: Factors of red, green and blue at a shift of 1.
TINT = np.array([1.0, 0.55, 0.25])

#: Images rotated at once; limits the memory needed.
CHUNK = 500


def shifted(images: np.ndarray, amount: float) -> np.ndarray:
    """Return images uint8 (N, H, H, 3) shifted by an amount in [0, 1]; 0 leaves them unchanged."""
    if amount == 0:
        return images
    side = images.shape[1]
    x, y = np.meshgrid((np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side)
    # A smooth background, light at the corners, where images tend to be dark; each corner has another colour.
    background = 255 * np.stack([0.5 + 0.5 * np.cos(np.pi * x), y, 1 - 0.5 * (x + y)], axis=-1)
    tint = 1 + amount * (TINT - 1)
    share = amount * BACKGROUND
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    angle = amount * ROTATION
    return np.concatenate(
        [((1 - share) * tint * _rotated(chunk, angle) + share * background).round().astype(np.uint8) for chunk in chunks]
    )


def _rotated(images: np.ndarray, angle: float) -> np.ndarray:
    """Return images rotated about their centre, float (N, H, H, 3), bilinear; beyond its edges an image is mirrored."""
    side = images.shape[1]
    rows, columns = np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 2, indexing="ij")
    cos, sin = np.cos(angle), np.sin(angle)
    offsets = (cos * rows - sin * columns, sin * rows + cos * columns)
    positions = [_mirrored(offset + (side - 1) / 2, side - 1) for offset in offsets]
    top, left = (np.floor(position).astype(int) for position in positions)
    bottom, right = (np.minimum(index + 1, side - 1) for index in (top, left))
    down, across = ((position - index)[..., None] for position, index in zip(positions, (top, left), strict=True))
    pixels = images.astype(np.float32)
    upper = (1 - across) * pixels[:, top, left] + across * pixels[:, top, right]
    lower = (1 - across) * pixels[:, bottom, left] + across * pixels[:, bottom, right]
    rotated: np.ndarray = (1 - down) * upper + down * lower
    return rotated


def _mirrored(position: np.ndarray, last: float) -> np.ndarray:
    """Return positions mapped into [0, last] by mirroring at both ends."""
    mirrored: np.ndarray = np.abs(np.mod(position + last, 2 * last) - last)
    return mirrored
