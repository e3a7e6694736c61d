"""Seals: a checksum inside a safetensors file, over all else in it, so that who reads the file knows that it is whole.

Any safetensors reader reads a sealed file as before: the seal is one more entry of its metadata. Needs no torch.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from trainers.common.errors import DamagedError

#: Where the seal stands in a file's metadata.
_SEAL = "sha256"

#: Beyond this a header's length is no length but part of something else (safetensors' own limit).
_LONGEST_HEADER = 100_000_000


def seal(data: bytes) -> bytes:
    """Return the bytes of a safetensors file, which has metadata, with a seal in it."""
    header, start = _header(data)
    body = memoryview(data)[start:]
    header["__metadata__"][_SEAL] = _checksum(header, body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return b"".join([len(text).to_bytes(8, "little"), text, body])


def check(data: bytes) -> None:
    """Look whether a safetensors file is as it was written; one without a seal, whether it is as long.

    Raises:
        DamagedError: it is not.
    """
    header, start = _header(data)
    length = start + _body_length(header)
    if len(data) != length:
        raise DamagedError(f"{len(data):,} of its {length:,} bytes are there")
    written = header.get("__metadata__", {}).get(_SEAL)
    if written is not None and written != _checksum(header, memoryview(data)[start:]):
        raise DamagedError("its bytes are not those that its seal was made of")


def length(read: Callable[[int], bytes]) -> int:
    """Return how many bytes a safetensors file should have, by its first ones, which `read(count)` returns.

    Raises:
        DamagedError: these are no safetensors header.
    """
    header, start = _header(read(8 + _header_length(read(8))))
    return start + _body_length(header)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return a file's header and where its tensors begin."""
    start = 8 + _header_length(data)
    try:
        header = json.loads(data[8:start])
    except ValueError as error:
        raise DamagedError("not a safetensors file, or cut short in its header") from error
    if not isinstance(header, dict):
        raise DamagedError("not a safetensors file")
    return header, start


def _header_length(data: bytes) -> int:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > _LONGEST_HEADER:
        raise DamagedError("not a safetensors file, or cut short in its header")
    return length


def _body_length(header: Mapping[str, Any]) -> int:
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return int(max(ends, default=0))
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise DamagedError("not a safetensors file") from error


def _checksum(header: Mapping[str, Any], body: memoryview) -> str:
    metadata = {name: value for name, value in header["__metadata__"].items() if name != _SEAL}
    digest = hashlib.sha256(json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()
