"""One image: from a file of any kind to a square of colour bytes."""

import math
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

#: How an image that is not square becomes one: its middle, or all of it between two white bars.
Fit = Literal["crop", "pad"]

#: What Pillow raises for files that are not whole images, and for those too large to be honest.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

#: What makes an image upright, by its EXIF orientation. `ImageOps.exif_transpose` would also write the metadata anew, and so
#: fail on a whole image whose metadata is damaged.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def opened(file: Path | BinaryIO) -> Image.Image:
    """Return an image file's first frame, decoded and upright. Pillow may warn, of odd metadata for one.

    Raises:
        One of `UNREADABLE`: the file is not a whole image, or is far too large.
    """
    with Image.open(file) as image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):  # Pillow warns of it, and refuses twice as many
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
        image.load()
        # Looking for it takes a tenth as long as decoding a small image.
        plain = image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys()
        turn = None if plain else _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        return image if turn is None else image.transpose(turn)


def square(image: Image.Image, side: int, fit: Fit = "crop") -> np.ndarray:
    """Return an image of any size and mode as uint8 (side, side, 3): on white, made square, resized with antialiasing.

    The resizing is Pillow's bicubic one, as in clean-fid (Parmar et al. 2022).
    """
    if image.mode.startswith(("I", "F")):  # 16 bits and more: to the range that a screen shows
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray((values * (255 / top)).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    made = ImageOps.fit if fit == "crop" else partial(ImageOps.pad, color="white")
    colour = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(made(colour, (side, side), Image.Resampling.BICUBIC))
