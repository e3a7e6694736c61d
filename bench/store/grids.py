"""Opening the sample grids of a store, whose bytes may come from elsewhere."""

import io
import warnings

from PIL import Image

#: Pixels of the largest grid: of 64 images of 1024 pixels, 8 in a row, with the gaps between them.
MOST_PIXELS = 8200 * 8200


def open_grid(data: bytes) -> Image.Image:
    """Return the PNG in bytes, of which only the header has been read.

    Only PNG is decoded: transfergan writes no other grids, and some of the other formats run programs. A picture of a few
    kilobytes may claim billions of pixels, so that its size is checked first.

    Raises:
        OSError, SyntaxError, ValueError: the bytes are no PNG, or one with too many pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
        try:
            image = Image.open(io.BytesIO(data), formats=["PNG"])
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width:,} x {image.height:,} pixels, and a sample grid at most {MOST_PIXELS:,}")
    return image
