"""The sample grids of a page, as data URIs, until they have had their share of its bytes."""

import base64
import io

from PIL import Image

from bench.store import Store

_LARGE_IMAGE = 40 * 2**10  # bytes; a larger PNG is embedded as WebP


class Album:
    """Turns sample grids into data URIs until they have had their share of bytes; a grid asked for again costs nothing."""

    def __init__(self, store: Store, budget: int) -> None:
        """Start with nothing spent of the budget, bytes."""
        self._store = store
        self._left = budget
        self._known: dict[str, str] = {}

    def __contains__(self, path: str) -> bool:
        """Return whether the page has this grid."""
        return path in self._known

    def uri(self, path: str | None) -> str | None:
        """Return a grid's data URI; None where it is missing, no image, or does not fit any more."""
        if path is None or path in self._known:
            return self._known.get(path or "")
        if self._left < _LARGE_IMAGE:  # hardly any would fit: not worth reading them all
            return None
        try:
            data = self._store.read_file(path)
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
        self._known[path] = f"data:image/{kind};base64,{text}"
        return self._known[path]


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
