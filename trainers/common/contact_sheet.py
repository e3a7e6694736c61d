"""Contact sheets: many images in one PNG."""

import io

import numpy as np
from PIL import Image

#: A grey on which both dark and light images stand out.
BACKGROUND = 128


def png_grid(images: np.ndarray, columns: int = 8, gap: int = 1) -> bytes:
    """Return PNG bytes of images uint8 (N, H, W, 3) in rows of `columns`, `gap` pixels apart."""
    count, height, width, _ = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), BACKGROUND, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    data = io.BytesIO()
    Image.fromarray(sheet).save(data, "PNG")
    return data.getvalue()
