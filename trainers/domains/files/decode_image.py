"""Decodes an image file of any format to a square RGB image."""

import io
import math
import zlib
from pathlib import Path
from textwrap import shorten
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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


#: The chunks of a PNG file that hold texts and the colour profile. Pillow refuses the file if one is larger than 1 MiB.
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")

#: A file's first bytes, by which PNG is recognised.
_PNG = b"\x89PNG\r\n\x1a\n"


def opened(content: bytes | Path) -> Image.Image:
    """Return the first frame of an image file, decoded and upright. Pillow may warn, for example of odd metadata.

    Raises:
        One of `UNREADABLE`: the file is not a complete image, or the image is far too large.
    """
    data = content if isinstance(content, bytes) else content.read_bytes()
    if not data:
        raise OSError("empty")
    if data.startswith(_PNG):
        _check_pixels(data)
    try:
        return _decoded(data)
    except ValueError:
        if not data.startswith(_PNG):
            raise
        return _decoded(_without_texts(data))
    except (*UNREADABLE, MemoryError):  # another machine may have the memory, and must not have other images
        raise
    # Pillow's readers raise any exception for damaged content: AVIF's RuntimeError, others' IndexError.
    except Exception as error:
        raise OSError(f"damaged: {error}") from error


def reason(error: Exception) -> str:
    """Return in a few words why an image cannot be read, given one of `UNREADABLE`."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or in a format that Pillow does not read"
    if isinstance(error, Image.DecompressionBombError):
        return str(error).partition(", could be")[0]
    text = (error.strerror if isinstance(error, OSError) else "") or " ".join(str(error).split())
    return "truncated" if "truncated" in text.lower() else shorten(text, 100) or type(error).__name__


def _decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        most = Image.MAX_IMAGE_PIXELS or math.inf
        if image.width * image.height > most:  # Pillow only warns up to twice this limit
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, more than {most:,}")
        image.load()
        transposition = _transposition(image)
        return image if transposition is None else image.transpose(transposition)


def _transposition(image: Image.Image) -> Image.Transpose | None:
    """Return what makes an image upright; None for nothing, also if its metadata is damaged."""
    # Reading the orientation takes a tenth as long as decoding a small image.
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return None
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # Pillow raises any exception for it, of JPEG files none
        return None


def _without_texts(png: bytes) -> bytes:
    """Return a PNG file without its texts and its colour profile, neither of which changes the decoded pixels."""
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] not in _TEXTS:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def _check_pixels(png: bytes) -> None:
    """Raise OSError for a PNG file whose compressed pixels have another checksum than it says.

    Pillow does not look at this one. zlib's is in the last of the pixels' bytes, which a damaged file may end without.
    """
    at = len(_PNG)
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        whole = png[at + 4 : at + 8] == b"IDAT" and end + 4 <= len(png)
        if whole and zlib.crc32(memoryview(png)[at + 4 : end]) != int.from_bytes(png[end : end + 4]):
            raise OSError("damaged: wrong checksum of its pixels")
        at = end + 4


def square(image: Image.Image, side: int, fit: Fit = "crop") -> np.ndarray:
    """Return an image of any size and mode as uint8 (side, side, 3), made square.

    Transparent pixels become white. Resizing is Pillow's bicubic with antialiasing, as in clean-fid (Parmar et al. 2022).

    Raises:
        ValueError: the range of the pixels' values is not known.
    """
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    colour = image if image.mode == "RGB" else image.convert("RGB")
    if fit == "crop":
        return np.asarray(ImageOps.fit(colour, (side, side), Image.Resampling.BICUBIC))
    if round(min(colour.size) / max(colour.size) * side) == 0:  # Pillow would make it 0 pixels wide
        colour = colour.resize((1, side) if colour.height > colour.width else (side, 1), Image.Resampling.BICUBIC)
    return np.asarray(ImageOps.pad(colour, (side, side), Image.Resampling.BICUBIC, color="white"))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of more than 8 bits with the values 0 to 255; 16 bits are divided by 257, the same in every image.

    Raises:
        ValueError: the values are not of 16 bits, or may be of 8 bits.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; convert to 8 or 16 bits")
    values = np.asarray(image)
    # Pillow gives the 16 bits of PNG and PGM as 32 in the mode "I"; of other formats that mode has 32 bits.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError("integer pixels of 32 bits have no fixed range; convert to 8 or 16 bits")
    if 0 < values.max() <= 255:
        raise ValueError("its 16-bit values are at most 255: black, or 8 bits stored as 16; convert to 8 bits")
    return Image.fromarray((values // 257).clip(0, 255).astype(np.uint8))
