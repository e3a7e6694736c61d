"""The prepared cache: images decoded and resized once, packed as bytes, and mapped into memory whenever they are read again.

Below TRANSFERGAN_CACHE, or ~/.cache/transfergan/prepared:

* ``index/LISTING.json``: which items of a listing of files are images, and the fingerprint of those;
* ``images/FINGERPRINT/SPLIT-RESOLUTION.u8``: uint8 (N, H, W, 3), row by row, with its size and checksum in a ``.json`` beside;
* ``partial/``: chunks of what is being prepared. Whoever prepares it again after a crash goes on from the last chunk.

All of it may be deleted at any time. A cluster may share one such folder; with TRANSFERGAN_LOCAL_CACHE set, each machine copies
what it reads to a disk of its own first. Needs no torch.
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

#: To be raised whenever the way an image is decoded changes.
VERSION = 1


@dataclass(frozen=True)
class Index:
    """What decoding has found of a listing.

    Attributes:
        fingerprint: identity of the images that can be read.
        unreadable: which items those are not, ascending.
    """

    fingerprint: str
    unreadable: tuple[int, ...]


def cache_root() -> Path:
    """Return the folder of all that is prepared."""
    return Path(os.environ.get("TRANSFERGAN_CACHE") or "~/.cache/transfergan/prepared").expanduser().absolute()


# -- reading ----------------------------------------------------------------------------------------------------------------


def read_index(listing: str) -> Index | None:
    """Return what has been found of a listing, None if it was never decoded."""
    try:
        found = json.loads(_index_file(listing).read_text())
        return Index(found["fingerprint"], tuple(found["unreadable"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def mapped(fingerprint: str, split: Split, name: str) -> np.ndarray | None:
    """Return a split's images uint8 (N, H, W, 3), mapped from disk and read-only; None where they are not prepared.

    Args:
        fingerprint: of the domain.
        split: which.
        name: of the variant, see `variant`.
    """
    data = images_file(fingerprint, split, name)
    try:
        about = json.loads(data.with_suffix(".json").read_text())
        shape = (about["count"], about["side"], about["side"], 3)
        if data.stat().st_size != np.prod(shape, dtype=np.int64):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return np.memmap(_nearby(data, str(about["sha256"])), np.uint8, "r", shape=shape).view(np.ndarray)


def damaged(fingerprint: str, split: Split, name: str) -> bool:
    """Say whether a prepared split is not what was written, by its checksum; reads all of it."""
    data = images_file(fingerprint, split, name)
    with data.open("rb") as file:
        written = json.loads(data.with_suffix(".json").read_text())["sha256"]
        return bool(hashlib.file_digest(file, "sha256").hexdigest() != written)


def discard(fingerprint: str, split: Split, name: str) -> None:
    """Forget a prepared split, so that it is prepared again."""
    images_file(fingerprint, split, name).with_suffix(".json").unlink(missing_ok=True)


def kept(fingerprint: str, name: str, find: Callable[[], int]) -> int:
    """Return a number that was found of a domain before, or find it and keep it."""
    file = cache_root() / "images" / _slug(fingerprint) / f"{name}.json"
    try:
        return int(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        found = find()
        write_json(file, found)
        return found


def variant(side: int, fit: Fit) -> str:
    """Return what images of a side and a fit are called in the cache."""
    return f"{side}" if fit == "crop" else f"{side}-{fit}"


# -- preparing --------------------------------------------------------------------------------------------------------------


@contextmanager
def preparing(listing: str, name: str) -> Iterator[Path]:
    """Hold the lock on what is to be prepared, and give the folder for its chunks; it goes when the block ends well.

    Raises:
        UserError: the cache cannot be written.
    """
    partial = cache_root() / "partial" / f"{_slug(listing)}-{name}"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock"):  # let go by the system when its holder is killed
            partial.mkdir(exist_ok=True)
            yield partial
            shutil.rmtree(partial)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"the cache {cache_root()} cannot be written: {reason}; make room, or set TRANSFERGAN_CACHE") from error


def write_index(listing: str, index: Index) -> None:
    """Keep what has been found of a listing."""
    write_json(_index_file(listing), asdict(index))


# -- files ------------------------------------------------------------------------------------------------------------------


def _slug(identity: str) -> str:
    return hashlib.sha256(f"{VERSION}\0{identity}".encode()).hexdigest()[:32]


def _index_file(listing: str) -> Path:
    return cache_root() / "index" / f"{_slug(listing)}.json"


def images_file(fingerprint: str, split: Split, name: str) -> Path:
    """Return where a split's prepared images lie, by the domain's fingerprint and the variant's name."""
    return cache_root() / "images" / _slug(fingerprint) / f"{split}-{name}.u8"


@cache
def _nearby(data: Path, checksum: str) -> Path:
    """Return a copy on this machine's own disk where one is asked for, else the file itself.

    The copy is named by the checksum, so that one of a damaged file is not taken for the file that was made anew.
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
