"""Coloured shapes and textures, computed by formulas on a grid of coordinates, many images of a class at once."""

from collections.abc import Callable

import numpy as np

from trainers.domains.rendering.draws import Draws

#: (coordinates x, y; parameters (N, 1, 1) of a shape or texture) -> float (N, H, W)
Field = Callable[[np.ndarray, np.ndarray, "dict[str, np.ndarray]"], np.ndarray]

#: Images drawn at once; limits the memory needed.
CHUNK = 500

#: Levels of the colours without variation.
TYPICAL_FRONT, TYPICAL_BACK = 190, 65

#: Samples along each side of a pixel, averaged for antialiasing.
SUPERSAMPLE = 3


def _polygon(corners: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance from the centre, scaled so that the edge of a regular polygon is at cos(pi / corners)."""
    sector = 2 * np.pi / corners
    angle = np.mod(np.arctan2(y, x), sector) - sector / 2
    return np.asarray(np.hypot(x, y) * np.cos(angle) / np.cos(sector / 2))


def _star(x: np.ndarray, y: np.ndarray, inner: float = 0.45) -> np.ndarray:
    """Return the field of a five-pointed star whose notches are at radius `inner`."""
    half = np.pi / 5
    angle = np.abs(np.mod(np.arctan2(y, x) + half, 2 * half) - half)
    slope = (1 - inner * np.cos(half)) / (inner * np.sin(half))
    return np.asarray(np.hypot(x, y) * (np.cos(angle) + slope * np.sin(angle)))


#: Each returns a field that is below 1 inside the shape.
SHAPES: dict[str, Field] = {
    "circle": lambda x, y, p: np.hypot(x, y),
    "square": lambda x, y, p: np.maximum(np.abs(x), np.abs(y)) / 0.85,
    "triangle": lambda x, y, p: _polygon(3, x, y),
    "hexagon": lambda x, y, p: _polygon(6, x, y),
    "star": lambda x, y, p: _star(x, y),
    "cross": lambda x, y, p: np.minimum(np.maximum(np.abs(x), np.abs(y) / 0.35), np.maximum(np.abs(y), np.abs(x) / 0.35)),
    "ring": lambda x, y, p: np.abs(np.hypot(x, y) - 0.75) / 0.25,
    "bar": lambda x, y, p: np.maximum(np.abs(x), np.abs(y) / 0.3),
}


def _wave(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * (x * p["frequency"] + p["phase"])))


#: Each returns a field in about [-1, 1] by which two colours are blended.
TEXTURES: dict[str, Field] = {
    "stripes": lambda x, y, p: np.sign(_wave(x, p)),
    "waves": lambda x, y, p: _wave(x + 0.12 * np.sin(2 * np.pi * (2 * y + p["other"])), p),
    "checks": lambda x, y, p: np.sign(_wave(x, p) * _wave(y, p)),
    "dots": lambda x, y, p: np.sign(_wave(x, p) + _wave(y, p) - 0.8),
    "rings": lambda x, y, p: _wave(np.hypot(x - p["other"] + 0.5, y), p),
    "gradient": lambda x, y, p: np.clip(2 * (x + p["phase"] - 0.5), -1, 1),
    "plaid": lambda x, y, p: 0.5 * (_wave(x, p) + _wave(y, {**p, "phase": p["other"]})),
    "clouds": lambda x, y, p: (
        (
            _wave(x + 0.3 * np.sin(5 * y + 6 * p["other"]), {**p, "frequency": 0.35 * p["frequency"]})
            + 0.6 * _wave(y + 0.2 * np.sin(9 * x + 6 * p["phase"]), {**p, "frequency": 0.6 * p["frequency"]})
        )
        / 1.6
    ),
}


def render_shapes(labels: np.ndarray, resolution: int, random: Draws) -> np.ndarray:
    """Return coloured shapes on coloured backgrounds, uint8 (N, resolution, resolution, 3)."""
    n = len(labels)
    parameters = {"radius": random.uniform(0.22, 0.45, n), "turn": random.uniform(0, 2 * np.pi, n)}
    centre = 0.5 + random.uniform(-0.12, 0.12, (n, 2))
    fields = list(SHAPES.values())

    def mask(label: int, x: np.ndarray, y: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
        field = fields[label](x / p["radius"], y / p["radius"], p)
        return (field < 1).astype(np.float32)

    return _paint(labels, resolution, random, mask, parameters, centre)


def render_textures(labels: np.ndarray, resolution: int, random: Draws) -> np.ndarray:
    """Return two-colour patterns that fill the image, uint8 (N, resolution, resolution, 3)."""
    n = len(labels)
    parameters = {
        "frequency": random.uniform(1.5, 4, n),
        "phase": random.uniform(0, 1, n),
        "other": random.uniform(0, 1, n),
        "turn": random.uniform(0, 2 * np.pi, n),
    }
    centre = np.full((n, 2), 0.5)
    fields = list(TEXTURES.values())

    def mask(label: int, x: np.ndarray, y: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
        return 0.5 + 0.5 * fields[label](x, y, p).astype(np.float32)

    return _paint(labels, resolution, random, mask, parameters, centre)


def _contrasting(n: int, random: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours per image, float (N, 3), that clearly differ in at least one channel."""
    front = random.plain.uniform(0, 255, (n, 3))
    back = (front + random.plain.uniform(70, 185, (n, 3))) % 256
    # The spread applies to the final colours: the sum wraps around, so a damped summand could turn light into dark.
    return random.towards(TYPICAL_FRONT, front), random.towards(TYPICAL_BACK, back)


def _paint(
    labels: np.ndarray,
    resolution: int,
    random: Draws,
    mask: Callable[[int, np.ndarray, np.ndarray, dict[str, np.ndarray]], np.ndarray],
    parameters: dict[str, np.ndarray],
    centre: np.ndarray,
) -> np.ndarray:
    front, back = _contrasting(len(labels), random)
    images = np.empty((len(labels), resolution, resolution, 3), np.uint8)
    fine = resolution * SUPERSAMPLE
    axis = ((np.arange(fine) + 0.5) / fine).astype(np.float32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for chosen in np.split(members, range(CHUNK, len(members), CHUNK)):
            drawn = {name: values[chosen, None, None].astype(np.float32) for name, values in parameters.items()}
            dx = axis[None, None, :] - centre[chosen, 0, None, None].astype(np.float32)
            dy = axis[None, :, None] - centre[chosen, 1, None, None].astype(np.float32)
            cos, sin = np.cos(drawn["turn"]), np.sin(drawn["turn"])
            fine_mask = mask(int(label), cos * dx + sin * dy, cos * dy - sin * dx, drawn)
            pixels = fine_mask.reshape(len(chosen), resolution, SUPERSAMPLE, resolution, SUPERSAMPLE)
            blend = pixels.mean((2, 4))[..., None]
            colours = blend * front[chosen, None, None] + (1 - blend) * back[chosen, None, None]
            images[chosen] = colours.round().clip(0, 255).astype(np.uint8)
    return images
