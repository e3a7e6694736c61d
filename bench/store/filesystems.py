"""Filesystems by URI, with the patience that a store on one needs; and files that appear whole or not at all."""

import time
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from trainers.common.files import replacing

#: How often a request is made before it counts as failed: of a sweep's many, one in a hundred may be turned away by a busy
#: server, and none of them may end the sweep. Between two of them the wait doubles.
ATTEMPTS = 8

#: What a URI may say of an S3 server and we can pass on.
_OPTIONS = {"region", "scheme", "endpoint_override"}


def connect(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem that a URI names, and the path on it. Raises pyarrow's errors and OSError."""
    filesystem, root = pafs.FileSystem.from_uri(uri)
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if not isinstance(filesystem, pafs.S3FileSystem) or not _OPTIONS.issuperset(options):
        return filesystem, root
    patient = pafs.S3FileSystem(
        access_key=unquote(parts.username) if parts.username else None,
        secret_key=unquote(parts.password) if parts.password else None,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        **{**options, "region": filesystem.region},  # which pyarrow may have asked the bucket for
    )
    return patient, root


def read(filesystem: pafs.FileSystem, path: str, size: int | None = None) -> bytes:
    """Return a file's bytes, or the first `size` of them.

    Where a server's refusal is longer than the file that was asked for, pyarrow finds no room for it and tries no more; we do.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
    """
    for attempt in range(ATTEMPTS):
        try:
            with filesystem.open_input_stream(path) as stream:
                data: bytes = stream.read(size)
        except OSError as error:
            if attempt + 1 == ATTEMPTS or "Failed to flush response stream" not in str(error):
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            break
    return data


def write(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """Publish a file whole: a reader sees either nothing (or the former file) or all of it. Raises OSError."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        with replacing(Path(path)) as file:
            file.write(data)
    else:
        with filesystem.open_output_stream(path) as stream:  # object stores publish on close
            stream.write(data)
