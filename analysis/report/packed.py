"""Data of the page as compressed text: JSON of many trials and figures repeats itself, and shrinks to a tenth.

The page's script unpacks it with the browser's own `DecompressionStream` (templates/packed.js), without a request. Packed text
has no character that HTML gives a meaning, whatever it was made from.
"""

import base64
import gzip
import json
from typing import Any


def packed(text: str) -> str:
    """Return text compressed by gzip, in base64; the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def packed_json(data: Any) -> str:
    """Return data as packed JSON."""
    return packed(json.dumps(data, separators=(",", ":"), allow_nan=False))


def unpacked(text: str) -> str:
    """Return the text that was packed."""
    return gzip.decompress(base64.b64decode(text)).decode()
