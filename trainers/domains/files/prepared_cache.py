"""The prepared cache: images decoded and resized once, stored as raw bytes and mapped into memory.

Files in the folder TRANSFERGAN_CACHE (default ~/.cache/transfergan/prepared):

* ``index/LISTING.json``: the unreadable items of a listing of files, and the fingerprint of the readable ones;
* ``images/FINGERPRINT/SPLIT-RESOLUTION.u8``: uint8 (N, H, W, 3), and a ``.json`` with their number, size and checksum;
* ``partial/``: chunks of images being prepared. After a crash, preparation resumes from the last chunk.

Every file may be deleted at any time. Machines of a cluster may share the folder; if TRANSFERGAN_LOCAL_CACHE is set, each
machine first copies what it reads to that folder. Needs no torch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock

from trainers.common.errors import UserError
from trainers.common.files import replacing, write_json
from trainers.domains.base import Split
from trainers.domains.files.decode_image import Fit

#: To be raised whenever the decoding of images changes.
VERSION = 2


@dataclass(frozen=True)
class Index:
    """The result of decoding a listing: the identity of the images, and the reason for each unreadable item, by its index."""

    fingerprint: str
    unreadable: dict[int, str]


def cache_root() -> Path:
    """Return the folder of the cache."""
    return Path(os.environ.get("TRANSFERGAN_CACHE") or "~/.cache/transfergan/prepared").expanduser().absolute()


def read_index(listing: str) -> Index | None:
    """Return the index of a listing, or None if the listing has not been decoded."""
    try:
        index = json.loads(_index_file(listing).read_text())
        return Index(index["fingerprint"], {int(i): str(reason) for i, reason in index["unreadable"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def mapped(fingerprint: str, split: Split, name: str) -> np.ndarray | None:
    """Return a split's images uint8 (N, H, W, 3), mapped from disk and read-only, or None; `name` is that of a `variant`."""
    data = images_file(fingerprint, split, name)
    try:
        about = json.loads(data.with_suffix(".json").read_text())
        shape = (about["count"], about["side"], about["side"], 3)
        if data.stat().st_size != np.prod(shape, dtype=np.int64):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return np.memmap(_local_copy(data, str(about["sha256"])), np.uint8, "r", shape=shape).view(np.ndarray)


def is_damaged(fingerprint: str, split: Split, name: str) -> bool:
    """Return whether a prepared split differs from its checksum; reads the whole file."""
    data = images_file(fingerprint, split, name)
    with data.open("rb") as file:
        checksum = json.loads(data.with_suffix(".json").read_text())["sha256"]
        return bool(hashlib.file_digest(file, "sha256").hexdigest() != checksum)


def discard(fingerprint: str, split: Split, name: str) -> None:
    """Discard a prepared split, so that it is prepared again."""
    images_file(fingerprint, split, name).with_suffix(".json").unlink(missing_ok=True)


def cached(fingerprint: str, name: str, compute: Callable[[], int]) -> int:
    """Return a domain's number of that name from the cache; if the cache does not have it, compute and store it."""
    file = cache_root() / "images" / _slug(fingerprint) / f"{name}.json"
    try:
        return int(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        number = compute()
        write_json(file, number)
        return number


def variant(side: int, fit: Fit) -> str:
    """Return the name in the cache of images of a side (pixels) and a fit."""
    return f"{side}" if fit == "crop" else f"{side}-{fit}"


@contextmanager
def preparing(listing: str, name: str) -> Iterator[Path]:
    """Yield the folder for the chunks of a preparation and hold its lock; delete the folder if the block succeeds.

    Raises:
        UserError: the cache cannot be written.
    """
    partial = cache_root() / "partial" / f"{_slug(listing)}-{name}"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock"):  # the system releases it if the process is killed
            partial.mkdir(exist_ok=True)
            yield partial
            shutil.rmtree(partial)
    except OSError as error:
        reason, advice = error.strerror or error, "make room, or set TRANSFERGAN_CACHE to another folder"
        raise UserError(f"the cache {cache_root()} cannot be written: {reason}; {advice}") from error


def write_index(listing: str, index: Index) -> None:
    """Store the index of a listing."""
    write_json(_index_file(listing), asdict(index))


def _slug(identity: str) -> str:
    return hashlib.sha256(f"{VERSION}\0{identity}".encode()).hexdigest()[:32]


def _index_file(listing: str) -> Path:
    return cache_root() / "index" / f"{_slug(listing)}.json"


def images_file(fingerprint: str, split: Split, name: str) -> Path:
    """Return the file of a split's prepared images, by the domain's fingerprint and the variant's name."""
    return cache_root() / "images" / _slug(fingerprint) / f"{split}-{name}.u8"


@cache
def _local_copy(data: Path, checksum: str) -> Path:
    """Return a copy of a file in TRANSFERGAN_LOCAL_CACHE, or the file itself if the variable is not set.

    The checksum is part of the copy's name, so a copy of a damaged file is not used for the file that replaced it.
    """
    local = os.environ.get("TRANSFERGAN_LOCAL_CACHE")
    if not local:
        return data
    copy = Path(local).expanduser().absolute() / data.relative_to(cache_root())
    copy = copy.with_stem(f"{copy.stem}-{checksum[:16]}")
    if not copy.exists() or copy.stat().st_size != data.stat().st_size:
        with data.open("rb") as source, replacing(copy) as file:
            shutil.copyfileobj(source, file, 2**24)
    return copy
