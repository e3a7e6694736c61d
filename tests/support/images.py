"""Image files for the tests of domains."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, side: int = 20) -> Image.Image:
    """Return a random smooth image, a different one for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def files(count: int, *, side: int = 20) -> dict[str, bytes]:
    """Return image files by name, alternately in the classes "a" and "b"."""
    return {f"{'ab'[i % 2]}/{i:05}.png": encoded(picture(i, side)) for i in range(count)}


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    """Write files by name into a folder; return the folder."""
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pictures(folder: Path, count: int, *classes: str) -> Path:
    """Write `count` different images into a folder, or into each of its class folders; return the folder."""
    random = np.random.default_rng(0)
    for name in classes or ("",):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / name / f"{i:02d}.png")
    return folder
