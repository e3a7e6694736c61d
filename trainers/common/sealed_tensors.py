"""Seals: a checksum in the metadata of a safetensors file, over the rest of the file, by which damage is detected.

Any safetensors reader can read a sealed file. Needs no torch.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from trainers.common.errors import DamagedError

#: The seal's key in the metadata.
_SEAL = "sha256"

#: The longest header, bytes (safetensors' own limit); a larger number is not a header's length.
_LONGEST_HEADER = 100_000_000


def seal(data: bytes) -> bytes:
    """Return the bytes of a safetensors file with a seal added."""
    header, start = _header(data)
    body = memoryview(data)[start:]
    metadata = header.setdefault("__metadata__", {})
    metadata[_SEAL] = _checksum(header, body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return b"".join([len(text).to_bytes(8, "little"), text, body])


def label(data: bytes, **texts: str) -> bytes:
    """Return the bytes of a safetensors file with texts added to its metadata, sealed."""
    header, start = _header(data)
    header["__metadata__"] = _metadata(header) | texts
    text = json.dumps(header, separators=(",", ":")).encode()
    return seal(b"".join([len(text).to_bytes(8, "little"), text, data[start:]]))


def check(data: bytes) -> None:
    """Check the length of a safetensors file and, if it has a seal, its bytes.

    Raises:
        DamagedError: the file is damaged.
    """
    header, start = _header(data)
    length = start + _body_length(header)
    if len(data) != length:
        raise DamagedError(f"it has {len(data):,} bytes instead of {length:,}")
    checksum = _metadata(header).get(_SEAL)
    if checksum is not None and checksum != _checksum(header, memoryview(data)[start:]):
        raise DamagedError("its bytes do not match its checksum")


def is_sealed(data: bytes) -> bool:
    """Return whether a safetensors file has a seal."""
    return _SEAL in metadata(data)


def metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file, its seal included; empty if it has none. Raises DamagedError."""
    return _metadata(_header(data)[0])


def length(read: Callable[[int], bytes]) -> int:
    """Return the length in bytes that a safetensors file must have by its header; `read(count)` returns its first bytes.

    Raises:
        DamagedError: the file does not start with a safetensors header.
    """
    header, start = _header(read(8 + _header_length(read(8))))
    return start + _body_length(header)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return a file's header and the position of its first tensor."""
    start = 8 + _header_length(data)
    try:
        header = json.loads(data[8:start])
    except (ValueError, RecursionError) as error:
        raise DamagedError("not a safetensors file, or truncated in its header") from error
    if not isinstance(header, dict):
        raise DamagedError("not a safetensors file")
    return header, start


def _header_length(data: bytes) -> int:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > _LONGEST_HEADER:
        raise DamagedError("not a safetensors file, or truncated in its header")
    return length


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    texts = header.get("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise DamagedError("not a safetensors file: its metadata is no mapping to texts")
    return texts


def _body_length(header: Mapping[str, Any]) -> int:
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return int(max(ends, default=0))
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise DamagedError("not a safetensors file") from error


def _checksum(header: Mapping[str, Any], body: memoryview) -> str:
    metadata = {name: value for name, value in header["__metadata__"].items() if name != _SEAL}
    digest = hashlib.sha256(json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()
