"""Moves images away from what they were, by any amount: turned, tinted, and before another ground.

A knob for experiments on distance: the further the shift, the greater the distance, and nothing else about a domain changes.
"""

import numpy as np

#: At a shift of 1: the turn in radians, and the share of the new ground in each pixel.
TURN, GROUND = np.deg2rad(40), 0.55

#: What red, green and blue are multiplied by at a shift of 1.
TINT = np.array([1.0, 0.55, 0.25])

#: Images turned at once; bounds the memory.
CHUNK = 500


def shifted(images: np.ndarray, amount: float) -> np.ndarray:
    """Return images uint8 (N, H, H, 3) shifted by an amount in [0, 1]; 0 leaves them as they are."""
    if amount == 0:
        return images
    side = images.shape[1]
    x, y = np.meshgrid((np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side)
    # A smooth ground that is light where images tend to be dark: at the corners, each of another colour.
    ground = 255 * np.stack([0.5 + 0.5 * np.cos(np.pi * x), y, 1 - 0.5 * (x + y)], axis=-1)
    tint = 1 + amount * (TINT - 1)
    share = amount * GROUND
    found = [
        ((1 - share) * tint * _turned(images[start : start + CHUNK], amount * TURN) + share * ground).round().astype(np.uint8)
        for start in range(0, len(images), CHUNK)
    ]
    return np.concatenate(found)


def _turned(images: np.ndarray, angle: float) -> np.ndarray:
    """Return images turned about their middle, float (N, H, H, 3), bilinear; what comes in from beyond is mirrored."""
    side = images.shape[1]
    rows, columns = np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 2, indexing="ij")
    cos, sin = np.cos(angle), np.sin(angle)
    places = [_mirrored(each + (side - 1) / 2, side - 1) for each in (cos * rows - sin * columns, sin * rows + cos * columns)]
    first = [np.floor(place).astype(int) for place in places]
    next_ = [np.minimum(each + 1, side - 1) for each in first]
    down, right = ((place - each)[..., None] for place, each in zip(places, first, strict=True))
    wide = images.astype(np.float32)
    upper = (1 - right) * wide[:, first[0], first[1]] + right * wide[:, first[0], next_[1]]
    lower = (1 - right) * wide[:, next_[0], first[1]] + right * wide[:, next_[0], next_[1]]
    turned: np.ndarray = (1 - down) * upper + down * lower
    return turned


def _mirrored(place: np.ndarray, last: float) -> np.ndarray:
    """Return places brought into [0, last] by mirroring at both ends."""
    mirrored: np.ndarray = np.abs(np.mod(place + last, 2 * last) - last)
    return mirrored
