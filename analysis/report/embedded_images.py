"""The sample grids of a page, as data URIs: in the best form in which all that are wanted fit into their share of its bytes."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from bench.store import Store
from bench.store.store import READERS

#: A grid's form in the page: the quality of a JPEG and by how much it is shrunk, or None, as it is stored.
Form = tuple[int, int] | None

FORMS: tuple[Form, ...] = (None, (90, 1), (75, 1), (50, 1), (30, 1), (50, 2))

#: Grids by whose mean size a form is chosen, and the share of the budget that they may take, for the others may be larger.
_LOOKED_AT, _SHARE = 24, 0.92


class Album:
    """The grids that a page has, by path."""

    def __init__(self, store: Store, wanted: Sequence[str], budget: int, forms: Sequence[Form] = FORMS) -> None:
        """Take in the first of `forms` in which all `wanted` fit into `budget`, bytes, or, of the last, the first that do.

        Args:
            store: where the grids are; those that are missing there, or no images, are left out.
            wanted: paths; one that stands in the page twice costs twice.
            budget: bytes of data URIs.
            forms: best first.
        """
        self._uris: dict[str, str] = {}
        times = Counter(wanted)
        paths = list(times)
        with ThreadPoolExecutor(READERS) as pool:
            looked_at = [*pool.map(lambda path: _read(store, path), paths[:: max(1, len(paths) // _LOOKED_AT)])]
            for form in forms:
                sizes = [len(uri) for data in looked_at if (uri := _uri(data, form))]
                mean = sum(sizes) / max(1, len(sizes))
                if mean * len(wanted) <= _SHARE * budget:
                    break
            self.compressed = form is not None
            fitting = paths[: int(budget / mean)] if mean else paths
            for path, uri in zip(fitting, pool.map(lambda path: _uri(_read(store, path), form), fitting), strict=True):
                cost = times[path] * (len(path) + len(uri) + 8)  # with what stands around them
                if uri and cost <= budget:
                    self._uris[path] = uri
                    budget -= cost

    def uri(self, path: str | None) -> str | None:
        """Return a grid's data URI; None where the page does not have it."""
        return self._uris.get(path or "")


def _read(store: Store, path: str) -> bytes:
    """Return a grid's file, nothing where it is missing."""
    try:
        return store.read_file(path)
    except OSError:
        return b""


def _uri(data: bytes, form: Form) -> str:
    """Return the data URI of an image's file, nothing where it is broken."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            kind = str(image.format).lower()
            if form is not None:
                quality, shrunk = form
                stream = io.BytesIO()
                # Of images so small the colours are kept at full resolution.
                image.convert("RGB").reduce(shrunk).save(stream, "JPEG", quality=quality, subsampling=0)
                if stream.tell() < len(data):
                    data, kind = stream.getvalue(), "jpeg"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def at_step(path: str, last: int, step: int) -> str | None:
    """Return where a trial's grid of a step is; None where the store keeps no other grid than the last.

    Args:
        path: its last grid, named by its step in stores that keep all.
        last: that step.
        step: the one that is asked for.
    """
    if step == last:
        return path
    stem, _, number = path.removesuffix(".png").rpartition("-")
    return f"{stem}-{step:08d}.png" if stem and number == f"{last:08d}" else None
