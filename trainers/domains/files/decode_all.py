"""Decodes images for the prepared cache, on all cores: in chunks, so that whoever was stopped goes on from the last one."""

import hashlib
import io
import json
import os
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from trainers.common.errors import UserError
from trainers.common.files import replacing, write_json
from trainers.domains.base import Split, Tell
from trainers.domains.files.decode_image import UNREADABLE, Fit, opened, square
from trainers.domains.files.prepared_cache import images_file, variant

#: Images to a chunk: what is lost when the process is killed, and the step of the progress bar.
CHUNK = 256

#: Up to so many images are decoded in this process alone: others take half a second to start.
ALONE = 1024


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
        data = images_file(fingerprint, split, variant(side, fit))
        digest = hashlib.sha256()
        with replacing(data) as file:
            for start in range(0, len(records), CHUNK):
                mine = rows[slice(*np.searchsorted(rows, (start, start + CHUNK)))] - start
                if len(mine):
                    block = np.ascontiguousarray(_pixels(job, start)[mine])
                    digest.update(block.data)
                    file.write(block.data)
        write_json(data.with_suffix(".json"), {"count": len(rows), "side": side, "sha256": digest.hexdigest()})


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
    with replacing(_chunk(job.partial, start)) as file:
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


def _chunk(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.u8"


def _about(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.json"
