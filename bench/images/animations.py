"""Frames as GIF and MP4 files."""

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: Small frames are enlarged by a whole factor, without blur, up to about this height in pixels.
HEIGHT = 256


def enlargement(height: int) -> int:
    """Return the factor by which frames are enlarged.

    >>> enlargement(32), enlargement(1024)
    (8, 1)
    """
    return max(1, HEIGHT // height)


def write_gif(path: Path, frames: Iterable[Image.Image], milliseconds: int | Sequence[int]) -> None:
    """Write RGB frames as a GIF that repeats for ever; `milliseconds` (multiples of 10) of all frames, or of each."""
    first, *others = map(_enlarged, frames)
    first.save(path, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)


def _enlarged(frame: Image.Image) -> Image.Image:
    by = enlargement(frame.height)
    return frame.resize((frame.width * by, frame.height * by), Image.Resampling.NEAREST)


def write_mp4(path: Path, frames: np.ndarray, frame_rate: int) -> str | None:
    """Write frames uint8 (N, H, W, 3) of even size as an MP4 file; return why there is none, or None if it is written."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return "ffmpeg is not on the PATH (apt-get install ffmpeg)"
    _, height, width, _ = frames.shape
    by = enlargement(height)
    done = subprocess.run(  # noqa: S603 - a program of the system, with arguments of our own
        [
            ffmpeg, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", str(frame_rate), "-i", "-", "-vf", f"scale=iw*{by}:ih*{by}:flags=neighbor", "-pix_fmt", "yuv420p",
            str(path.absolute()),
        ],
        input=frames.tobytes(), capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        return f"ffmpeg failed: {lines[-1]}"
    return None
