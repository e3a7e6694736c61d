"""Decodes an image file of any format to a square RGB image."""

import math
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

#: How an image is made square: cropped to its middle, or padded with two white bars.
Fit = Literal["crop", "pad"]

#: What Pillow raises for files that are not complete images, and for images that are far too large (decompression bombs).
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

#: The transposition that makes an image upright, by EXIF orientation. `ImageOps.exif_transpose` also rewrites the metadata, so
#: it fails on complete images with damaged metadata.
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
    """Return the first frame of an image file, decoded and upright. Pillow may warn, for example of odd metadata.

    Raises:
        One of `UNREADABLE`: the file is not a complete image, or the image is far too large.
    """
    with Image.open(file) as image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):  # Pillow only warns up to twice this limit
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
        image.load()
        # Reading the orientation takes a tenth as long as decoding a small image.
        plain = image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys()
        transposition = None if plain else _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        return image if transposition is None else image.transpose(transposition)


def square(image: Image.Image, side: int, fit: Fit = "crop") -> np.ndarray:
    """Return an image of any size and mode as uint8 (side, side, 3), made square.

    Transparent pixels become white. Resizing is Pillow's bicubic with antialiasing, as in clean-fid (Parmar et al. 2022).
    """
    if image.mode.startswith(("I", "F")):  # 16 bits or more: scale to 0 to 255
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray((values * (255 / top)).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    make_square = ImageOps.fit if fit == "crop" else partial(ImageOps.pad, color="white")
    colour = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(make_square(colour, (side, side), Image.Resampling.BICUBIC))
