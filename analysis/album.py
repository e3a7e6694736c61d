"""The sample grids of a page, as data URIs, until they have had their share of its bytes."""

import base64
import io
from dataclasses import dataclass

import pandas as pd
from PIL import Image

from analysis.frames import records
from analysis.statistics import Analysis
from analysis.transferability import SCRATCH
from analysis.wording import method
from bench.store import Store

_IMAGE_BUDGET = 6 * 2**20  # bytes of sample grids in a page; with plotly and a thousand trials it stays below 15 MB
_LARGE_IMAGE = 40 * 2**10  # bytes; a larger PNG is embedded as WebP


@dataclass(frozen=True)
class Samples:
    """The sample grids of one cell: (caption, alternative text, data URI) each."""

    cell_label: str
    grids: list[tuple[str, str, str]]


class Album:
    """Turns sample grids into data URIs until the page has had its share of bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = _IMAGE_BUDGET

    def uri(self, path: str | None) -> str | None:
        """Return a grid's data URI; None where it is missing, no image, or does not fit any more."""
        try:
            data = self._store.read_file(path) if path else b""
            with Image.open(io.BytesIO(data)) as image:
                kind = str(image.format).lower()
                if len(data) > _LARGE_IMAGE:
                    stream = io.BytesIO()
                    image.convert("RGB").save(stream, "WEBP", quality=85)
                    data, kind = stream.getvalue(), "webp"
        except OSError:  # no such file, or not an image
            return None
        text = base64.b64encode(data).decode()
        if len(text) > self._left:
            return None
        self._left -= len(text)
        return f"data:image/{kind};base64,{text}"


def samples(analysis: Analysis, trials: pd.DataFrame, album: Album) -> tuple[list[Samples], int]:
    """Return each cell's grids (real, best transfer, scratch), and how many grids were left out."""
    found, left_out = [], 0
    known = trials.set_index("key")
    for _, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        with_grid = [row for row in methods if known.at[row["trial"], "samples"]]
        transfer = next((row for row in with_grid if row["strategy"] != SCRATCH), None)
        scratch = next((row for row in with_grid if row["strategy"] == SCRATCH), None)
        wanted: list[tuple[str, str]] = []
        for row in (transfer, scratch):
            if row is not None:
                trial = known.loc[row["trial"]]
                if not wanted and trial["real_samples"]:
                    wanted.append((f"Real images of {trial['target_label']}", trial["real_samples"]))
                name = method(row)
                words = f"{name[0].upper()}{name[1:]}: FID {row['low']:.1f} at step {row['step']:,}"
                wanted.append((words, trial["samples"]))
        grids = []
        for words, path in wanted:
            uri = album.uri(path)
            if uri:
                grids.append((words, f"Grid of images. {words}", uri))
            else:
                left_out += 1
        if grids:
            found.append(Samples(methods[0]["cell_label"], grids))
    return found, left_out
