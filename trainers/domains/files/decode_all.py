"""Decodes images for the prepared cache, on all cores and in chunks; an interrupted run resumes from the last chunk."""

import hashlib
import json
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from trainers.common.errors import UserError
from trainers.common.files import replacing, write_json
from trainers.domains.base import Progress, Split
from trainers.domains.files.decode_image import UNREADABLE, Fit, opened, reason, square
from trainers.domains.files.prepared_cache import images_file, variant

#: Images per chunk: the work lost when the process is killed, and the step of the progress bar.
CHUNK = 256

#: Up to this many images are decoded in this process; starting other processes takes half a second.
SINGLE_PROCESS = 1024


class Records(Protocol):
    """Items to decode. It must be picklable, because other processes decode it."""

    def __len__(self) -> int:
        """Return the number of items."""

    def read(self, i: int) -> bytes | Image.Image:
        """Return item i: the content of an image file, or an image.

        Raises:
            UserError: none of the items can be used.
            One of UNREADABLE: this item cannot be read; it is skipped.
        """


def decode(records: Records, side: int, fit: Fit, partial: Path, progress: Progress) -> tuple[list[str], dict[int, str]]:
    """Decode all records on all cores to chunks in a folder; existing chunks are not decoded again.

    Returns:
        The sha256 of each record's content, or of its pixels if `read` returns an image, "" for a record that is not an image;
        and by the index of each of these the reason.

    Raises:
        UserError: the records cannot be used, or a process was killed.
    """
    starts = range(0, len(records), CHUNK)
    missing = [start for start in starts if not _metadata_file(partial, start).exists()]
    job, present = _Job(records, side, fit, partial), len(starts) - len(missing)
    progress(min(present * CHUNK, len(records)), len(records))
    for finished, _ in enumerate(_decode_chunks(job, missing), present + 1):
        progress(min(finished * CHUNK, len(records)), len(records))
    hashes: list[str] = []
    unreadable: dict[int, str] = {}
    for start in starts:
        unreadable |= {start + int(k): why for k, why in _metadata(job, start)["reasons"].items()}
        hashes += _metadata(job, start)["hashes"]
    return hashes, unreadable


def publish(records: Records, side: int, fit: Fit, partial: Path, fingerprint: str, splits: Mapping[Split, np.ndarray]) -> None:
    """Write splits to the cache from the chunks; `splits` has the indices of each split's records, int64 (N,), ascending."""
    job = _Job(records, side, fit, partial)
    for split, rows in splits.items():
        data = images_file(fingerprint, split, variant(side, fit))
        digest = hashlib.sha256()
        with replacing(data) as file:
            for start in range(0, len(records), CHUNK):
                inside = rows[slice(*np.searchsorted(rows, (start, start + CHUNK)))] - start
                if len(inside):
                    block = np.ascontiguousarray(_pixels(job, start)[inside])
                    digest.update(block.data)
                    file.write(block.data)
        write_json(data.with_suffix(".json"), {"count": len(rows), "side": side, "sha256": digest.hexdigest()})


@dataclass(frozen=True)
class _Job:
    records: Records
    side: int
    fit: Fit
    partial: Path


def _decode_chunks(job: _Job, starts: list[int]) -> Iterator[None]:
    """Decode the chunks at `starts` and yield after each. This process starts from the end, the others from the front."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2 or len(starts) * CHUNK <= SINGLE_PROCESS:
        for start in starts:
            _write_chunk(job, start)
            yield
        return
    pool = ProcessPoolExecutor(cores - 1, get_context("spawn"), initializer=_set_up, initargs=(job,))
    try:
        with _deaf_to_ctrl_c():
            waiting = deque((start, pool.submit(_write_chunk_of_job, start)) for start in starts)
        while waiting:
            if waiting[-1][1].cancel():
                _write_chunk(job, waiting.pop()[0])
                yield
            else:  # other processes have started all of them
                waiting[0][1].result()
            while waiting and waiting[0][1].done():
                waiting.popleft()[1].result()
                yield
    except BrokenProcessPool as error:
        raise UserError(
            "a process that decodes images was killed, perhaps for lack of memory; run the command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that start during the block not hear Ctrl-C, which a terminal sends to all: this one ends them."""
    resource_tracker.ensure_running()  # its start would undo this
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_job: _Job | None = None


def _set_up(job: _Job) -> None:
    """Set up a process that decodes images; it exits when the process that started it does, even if that was killed."""
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
    reasons: dict[int, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only whether the pixels can be decoded matters
        for k in range(size):
            try:
                content = job.records.read(start + k)
                image = opened(content) if isinstance(content, bytes) else content
                pixels[k] = square(image, job.side, job.fit)
            except UserError:
                raise
            except UNREADABLE as error:
                reasons[k] = reason(error)
                continue
            hashes[k] = hashlib.sha256(content if isinstance(content, bytes) else pixels[k].data).hexdigest()
    with replacing(_pixels_file(job.partial, start)) as file:
        file.write(pixels.data)
    # Written last, because its existence means that the chunk is finished.
    about = {"hashes": hashes, "reasons": reasons, "sha256": hashlib.sha256(pixels.data).hexdigest()}
    write_json(_metadata_file(job.partial, start), about)


def _metadata(job: _Job, start: int) -> dict[str, Any]:
    """Return the hashes of a chunk's records and the reasons; a chunk damaged by a power cut is decoded again."""
    try:
        about: dict[str, Any] = json.loads(_metadata_file(job.partial, start).read_text())
        if len(about["hashes"]) == min(CHUNK, len(job.records) - start) and isinstance(about["reasons"], dict):
            return about
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _write_chunk(job, start)
    return _metadata(job, start)


def _pixels(job: _Job, start: int) -> np.ndarray:
    """Return a chunk's images uint8 (N, H, W, 3); a damaged chunk is decoded again."""
    shape = (len(_metadata(job, start)["hashes"]), job.side, job.side, 3)
    with suppress(OSError, ValueError):
        pixels = np.fromfile(_pixels_file(job.partial, start), np.uint8).reshape(shape)
        if hashlib.sha256(pixels.data).hexdigest() == json.loads(_metadata_file(job.partial, start).read_text())["sha256"]:
            return pixels
    _write_chunk(job, start)
    return _pixels(job, start)


def _pixels_file(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.u8"


def _metadata_file(partial: Path, start: int) -> Path:
    return partial / f"{start:012}.json"
