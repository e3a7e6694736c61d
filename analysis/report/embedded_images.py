"""The sample grids of a page as data URIs, in the best quality in which all of them fit into a budget of bytes."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.store import Store
from bench.store.grids import open_grid
from bench.store.store import READERS

#: How a grid is embedded: the quality of a JPEG and the factor by which it is shrunk, or None for the stored file.
Form = tuple[int, int] | None

FORMS: tuple[Form, ...] = (None, (90, 1), (75, 1), (50, 1), (30, 1), (50, 2))

#: Number of grids whose mean size decides the form, and the share of the budget to fill, as the other grids may be larger.
_SAMPLED, _SHARE = 24, 0.92


class Album:
    """The grids of a page, by path."""

    def __init__(self, store: Store, wanted: Sequence[str], budget: int, forms: Sequence[Form] = FORMS) -> None:
        """Embed all grids in the first of `forms` in which they fit into `budget` bytes, or in the last as many as fit.

        Missing files and files that are no images are left out. A path that is `wanted` twice counts twice.
        """
        self._uris: dict[str, str] = {}
        times = Counter(wanted)
        paths = list(times)
        with ThreadPoolExecutor(READERS) as pool:
            sample = [*pool.map(lambda path: _read(store, path), paths[:: max(1, len(paths) // _SAMPLED)])]
            for form in forms:
                sizes = [len(uri) for data in sample if (uri := _uri(data, form))]
                mean = sum(sizes) / max(1, len(sizes))
                if mean * len(wanted) <= _SHARE * budget:
                    break
            self.compressed = form is not None
            fitting = paths[: int(budget / mean)] if mean else paths
            for path, uri in zip(fitting, pool.map(lambda path: _uri(_read(store, path), form), fitting), strict=True):
                cost = times[path] * (len(path) + len(uri) + 8)  # with the markup around them
                if uri and cost <= budget:
                    self._uris[path] = uri
                    budget -= cost

    def uri(self, path: str | None) -> str | None:
        """Return a grid's data URI; None where the page does not have it."""
        return self._uris.get(path or "")


def _read(store: Store, path: str) -> bytes:
    """Return a grid's file, empty if it is missing."""
    try:
        return store.read_file(path)
    except OSError:
        return b""


def _uri(data: bytes, form: Form) -> str:
    """Return the data URI of an image's file, empty if the file is broken."""
    try:
        with open_grid(data) as image:
            image.load()
            kind = "png"
            if form is not None:
                quality, shrunk = form
                stream = io.BytesIO()
                # Subsampled colours would be visible in images this small.
                image.convert("RGB").reduce(shrunk).save(stream, "JPEG", quality=quality, subsampling=0)
                if stream.tell() < len(data):
                    data, kind = stream.getvalue(), "jpeg"
    except (OSError, SyntaxError, ValueError):
        return ""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def at_step(path: str, last: int, step: int) -> str | None:
    """Return the path of a trial's grid at `step`, from that of its grid at step `last`; None if the store keeps only that one.

    The name of a grid contains its step if the store keeps all grids.
    """
    if step == last:
        return path
    stem, _, number = path.removesuffix(".png").rpartition("-")
    return f"{stem}-{step:08d}.png" if stem and number == f"{last:08d}" else None
