"""The prepared cache: images decoded and resized once, packed as bytes, and mapped into memory whenever they are read again.

Below TRANSFERGAN_CACHE, or ~/.cache/transfergan/prepared:

* ``index/LISTING.json``: which items of a listing of files are images, and the fingerprint of those;
* ``images/FINGERPRINT/SPLIT-RESOLUTION.u8``: uint8 (N, H, W, 3), row by row, with its size and checksum in a ``.json`` beside;
* ``partial/``: chunks of what is being prepared. Whoever prepares it again after a crash goes on from the last chunk.

All of it may be deleted at any time. A cluster may share one such folder; with TRANSFERGAN_LOCAL_CACHE set, each machine copies
what it reads to a disk of its own first. Needs no torch.
"""

import hashlib
import io
import json
import os
import shutil
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock
from PIL import Image

from trainers.domains.domain import Split, Tell
from trainers.domains.images import UNREADABLE, Fit, opened, square
from trainers.errors import UserError

#: Images to a chunk: what is lost when the process is killed, and the step of the progress bar.
CHUNK = 256

#: Up to so many images are decoded in this process alone: others take half a second to start.
ALONE = 1024

#: To be raised whenever the way an image is decoded changes.
VERSION = 1


class Records(Protocol):
    """What is to be decoded. Picklable, for other processes decode it."""

    def __len__(self) -> int:
        """Return how many images it may hold."""

    def read(self, i: int) -> bytes | Image.Image:
        """Return an image file's content, or an image.

        Raises:
            UserError: all of it is of no use.
            one of UNREADABLE: this one is to be left out.
        """


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
    data = _images_file(fingerprint, split, name)
    try:
        about = json.loads(data.with_suffix(".json").read_text())
        shape = (about["count"], about["side"], about["side"], 3)
        if data.stat().st_size != np.prod(shape, dtype=np.int64):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return np.memmap(_nearby(data), np.uint8, "r", shape=shape).view(np.ndarray)


def damaged(fingerprint: str, split: Split, name: str) -> bool:
    """Say whether a prepared split is not what was written, by its checksum; reads all of it."""
    data = _images_file(fingerprint, split, name)
    with data.open("rb") as file:
        written = json.loads(data.with_suffix(".json").read_text())["sha256"]
        return bool(hashlib.file_digest(file, "sha256").hexdigest() != written)


def discard(fingerprint: str, split: Split, name: str) -> None:
    """Forget a prepared split, so that it is prepared again."""
    _images_file(fingerprint, split, name).with_suffix(".json").unlink(missing_ok=True)


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


def decode(records: Records, side: int, fit: Fit, partial: Path, tell: Tell) -> list[str]:
    """Decode all records to chunks in a folder, on all cores; those that are there already are not decoded again.

    Returns:
        the sha256 of each record's content, "" where it is no image; of one that is read as an image, of its pixels.

    Raises:
        UserError: the records are of no use, or a process was killed.
    """
    starts = range(0, len(records), CHUNK)
    waiting = [start for start in starts if not _about(partial, start).exists()]
    job, before = _Job(records, side, fit, partial), len(starts) - len(waiting)
    tell(min(before * CHUNK, len(records)), len(records))
    for ended, _ in enumerate(_each(job, waiting), before + 1):
        tell(min(ended * CHUNK, len(records)), len(records))
    hashes: list[str] = []
    for start in starts:
        hashes += _hashes(job, start)
    return hashes


def publish(records: Records, side: int, fit: Fit, partial: Path, fingerprint: str, splits: Mapping[Split, np.ndarray]) -> None:
    """Put together each split's images from the chunks; `splits` has their rows, int64 (N,), ascending."""
    job = _Job(records, side, fit, partial)
    for split, rows in splits.items():
        data = _images_file(fingerprint, split, variant(side, fit))
        digest = hashlib.sha256()
        with _replacing(data) as file:
            for start in range(0, len(records), CHUNK):
                mine = rows[slice(*np.searchsorted(rows, (start, start + CHUNK)))] - start
                if len(mine):
                    block = np.ascontiguousarray(_pixels(job, start)[mine])
                    digest.update(block.data)
                    file.write(block.data)
        write_json(data.with_suffix(".json"), {"count": len(rows), "side": side, "sha256": digest.hexdigest()})


def write_index(listing: str, index: Index) -> None:
    """Keep what has been found of a listing."""
    write_json(_index_file(listing), asdict(index))


# -- one chunk --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    records: Records
    side: int
    fit: Fit
    partial: Path


def _each(job: _Job, starts: list[int]) -> Iterator[None]:
    """Decode the chunks that begin at `starts`, yielding after each: in this process from the end, in others from the front."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2 or len(starts) * CHUNK <= ALONE:
        for start in starts:
            _write_chunk(job, start)
            yield
        return
    pool = ProcessPoolExecutor(cores - 1, get_context("spawn"), initializer=_begin, initargs=(job,))
    try:
        waiting = deque((start, pool.submit(_write_chunk_of_job, start)) for start in starts)
        while waiting:
            if waiting[-1][1].cancel():
                _write_chunk(job, waiting.pop()[0])
                yield
            else:  # all are begun
                waiting[0][1].result()
            while waiting and waiting[0][1].done():
                waiting.popleft()[1].result()
                yield
    except BrokenProcessPool as error:
        raise UserError("a process that decodes images was killed, perhaps for memory; run the command again") from error
    finally:
        pool.shutdown(cancel_futures=True)


_job: _Job | None = None


def _begin(job: _Job) -> None:
    """Set up a process that decodes; it ends with the one that started it, however that ends."""
    global _job
    _job = job

    def follow() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _write_chunk_of_job(start: int) -> None:
    assert _job is not None
    _write_chunk(_job, start)


def _write_chunk(job: _Job, start: int) -> None:
    size = min(CHUNK, len(job.records) - start)
    pixels, hashes = np.zeros((size, job.side, job.side, 3), np.uint8), [""] * size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether the pixels decode is what counts
        for k in range(size):
            try:
                read = job.records.read(start + k)
                image = opened(io.BytesIO(read)) if isinstance(read, bytes) else read
                pixels[k] = square(image, job.side, job.fit)
            except UserError:
                raise
            except UNREADABLE:
                continue
            hashes[k] = hashlib.sha256(read if isinstance(read, bytes) else pixels[k].data).hexdigest()
    with _replacing(_chunk(job.partial, start)) as file:
        file.write(pixels.data)
    # Last, for it tells that the chunk is done.
    write_json(_about(job.partial, start), {"hashes": hashes, "sha256": hashlib.sha256(pixels.data).hexdigest()})


def _hashes(job: _Job, start: int) -> list[str]:
    """Return the hashes of a chunk's records; one that is damaged, as by a power cut, is decoded again."""
    try:
        found: list[str] = json.loads(_about(job.partial, start).read_text())["hashes"]
        if len(found) == min(CHUNK, len(job.records) - start):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _write_chunk(job, start)
    return _hashes(job, start)


def _pixels(job: _Job, start: int) -> np.ndarray:
    """Return a chunk's images uint8 (N, H, W, 3); one that is damaged is decoded again."""
    shape = (len(_hashes(job, start)), job.side, job.side, 3)
    with suppress(OSError, ValueError):
        found = np.fromfile(_chunk(job.partial, start), np.uint8).reshape(shape)
        if hashlib.sha256(found.data).hexdigest() == json.loads(_about(job.partial, start).read_text())["sha256"]:
            return found
    _write_chunk(job, start)
    return _pixels(job, start)


# -- files ------------------------------------------------------------------------------------------------------------------


def _slug(identity: str) -> str:
    return hashlib.sha256(f"{VERSION}\0{identity}".encode()).hexdigest()[:32]


def _index_file(listing: str) -> Path:
    return cache_root() / "index" / f"{_slug(listing)}.json"


def _images_file(fingerprint: str, split: Split, name: str) -> Path:
    return cache_root() / "images" / _slug(fingerprint) / f"{split}-{name}.u8"


def _chunk(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.u8"


def _about(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.json"


@cache
def _nearby(data: Path) -> Path:
    """Return a copy on this machine's own disk where one is asked for, else the file itself."""
    local = os.environ.get("TRANSFERGAN_LOCAL_CACHE")
    if not local:
        return data
    copy = Path(local).expanduser().absolute() / data.relative_to(cache_root())
    if not copy.exists() or copy.stat().st_size != data.stat().st_size:
        with data.open("rb") as source, _replacing(copy) as file:
            shutil.copyfileobj(source, file, 2**24)
    return copy


@contextmanager
def _replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """Give a file to write that takes its name, and another's place, once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a file that is there whole or not at all."""
    with _replacing(path) as file:
        file.write(json.dumps(content).encode())
