"""Characters in the typeface shipped with Pillow, with random size, weight, rotation, position and colour."""

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainers.domains.rendering.draws import Draws

#: Font size of the masters that glyphs are scaled from, pixels.
MASTER = 128

#: Stroke width added around a glyph, in pixels of the master, from regular to heavy.
WEIGHTS = (0, 2, 4, 6)


def render_glyphs(characters: tuple[str, ...]) -> Callable[[np.ndarray, int, Draws], np.ndarray]:
    """Return the renderer of a domain with one class per character."""

    def render(labels: np.ndarray, resolution: int, random: Draws) -> np.ndarray:
        """Return light characters on dark backgrounds, uint8 (N, resolution, resolution, 3)."""
        n = len(labels)
        weight = random.integers(0, len(WEIGHTS), n)
        height = random.uniform(0.72, 0.98, n)  # height of the glyph, in sides of the image
        stretch = random.uniform(0.75, 1.1, n)  # factor of its width
        angle = np.deg2rad(random.normal(0, 8, n))
        shift = random.normal(0, 0.03, (n, 2))
        ink = random.uniform(200, 255, (n, 1)) * (1 - random.uniform(0, 0.12, (n, 3)))
        ground = random.uniform(0, 16, (n, 1)) * (1 - random.uniform(0, 0.5, (n, 3)))

        masks = np.empty((n, resolution, resolution), np.float32)
        for i in range(n):
            master = _master(characters[labels[i]], WEIGHTS[weight[i]], resolution)
            # Scale from pixels of the image to pixels of the master; the glyph fills the master's height.
            scale = master.height / (resolution * height[i])
            cos, sin = np.cos(angle[i]) * scale, np.sin(angle[i]) * scale
            cx, cy = (0.5 + shift[i]) * resolution
            a, b, d, e = cos / stretch[i], sin / stretch[i], -sin, cos
            middle = master.width / 2, master.height / 2
            matrix = (a, b, middle[0] - a * cx - b * cy, d, e, middle[1] - d * cx - e * cy)
            placed = master.transform((resolution, resolution), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            masks[i] = np.asarray(placed, np.float32) / 255
        mask = masks[..., None]
        colours = mask * ink[:, None, None] + (1 - mask) * ground[:, None, None]
        return np.asarray(colours.round(), np.uint8)

    return render


@cache
def _master(character: str, weight: int, resolution: int) -> Image.Image:
    """Return the mask of a character, cropped to its ink, at about 1.25 times the resolution of the image.

    Bilinear sampling is antialiased only if a pixel of the image covers few pixels of the master. So each resolution has its
    own master, scaled down from a large one.
    """
    font = ImageFont.load_default(MASTER)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(character, stroke_width=weight))
    large = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(large).text((-left, -top), character, fill=255, font=font, stroke_width=weight)
    factor = min(1.0, 1.25 * resolution / large.height)
    size = max(1, round(large.width * factor)), max(1, round(large.height * factor))
    small = large.resize(size, Image.Resampling.BOX)
    # A margin of one empty pixel, so that sampling beyond the ink blends to nothing. It changes the size slightly.
    framed = Image.new("L", (size[0] + 2, size[1] + 2))
    framed.paste(small, (1, 1))
    return framed
