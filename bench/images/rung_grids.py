"""The sample grids of a trial's rungs as an animation: how the same latents look as training goes on."""

import re
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.images.animations import enlargement, write_gif
from bench.store import Store
from bench.store.grids import open_grid

#: Milliseconds that a grid is shown, and the last one.
EACH, LAST = 500, 2000

#: Height in pixels of the strip with the step below a grid.
STRIP = 20


def write_progress(store: Store, key: str, path: Path) -> str:
    """Write a trial's sample grids as a GIF, each with its step below; return a line that says which grids it shows.

    Grids that cannot be read are left out and named. Raises OSError if the file cannot be written.
    """
    grids: dict[int, Image.Image] = {}
    damaged = []
    for name in store.list_files("samples"):
        if (match := re.fullmatch(rf"samples/{re.escape(key)}-(\d+)\.png", name)) is None:
            continue
        try:
            grids[int(match[1])] = open_grid(store.read_file(name)).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            damaged.append(f"; {name} is left out: {error}")
    if not grids:
        return f"no progress: the trial has no sample grids yet{''.join(damaged)}"
    size = max(grid.width for grid in grids.values()), max(grid.height for grid in grids.values())
    frames = [_captioned(grid, f"step {step:,}", size) for step, grid in sorted(grids.items())]
    write_gif(path, frames, [*[EACH] * (len(frames) - 1), LAST])
    return f"its sample grids at the steps {', '.join(map(str, sorted(grids)))}: {path}{''.join(damaged)}"


def _captioned(grid: Image.Image, caption: str, size: tuple[int, int]) -> Image.Image:
    """Return a grid, enlarged on a black ground of an enlarged `size`, with a caption in a strip below."""
    by = enlargement(size[1])
    frame = Image.new("RGB", (size[0] * by, size[1] * by + STRIP))
    frame.paste(grid.resize((grid.width * by, grid.height * by), Image.Resampling.NEAREST))
    ImageDraw.Draw(frame).text((4, size[1] * by + 2), caption, "white", ImageFont.load_default(14))
    return frame
