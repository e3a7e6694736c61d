"""Filesystems by URI with repeated requests, and files that are published whole or not at all."""

import time
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from trainers.common.files import replacing

#: Attempts of a request before it fails, with a wait that doubles each time. A busy server may refuse one request in a hundred,
#: and no refusal may end a sweep.
ATTEMPTS = 8

#: Query parameters of an S3 URI that can be passed on.
_OPTIONS = {"region", "scheme", "endpoint_override"}


def connect(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a URI and the path on it. Raises pyarrow's errors and OSError."""
    filesystem, root = pafs.FileSystem.from_uri(uri)
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if not isinstance(filesystem, pafs.S3FileSystem) or not _OPTIONS.issuperset(options):
        return filesystem, root
    patient = pafs.S3FileSystem(
        access_key=unquote(parts.username) if parts.username else None,
        secret_key=unquote(parts.password) if parts.password else None,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        **{**options, "region": filesystem.region},  # pyarrow may have looked it up by the bucket
    )
    return patient, root


def read(filesystem: pafs.FileSystem, path: str, size: int | None = None) -> bytes:
    """Return a file's bytes, or the first `size` of them.

    pyarrow does not repeat a request if the server's error response is longer than the requested file; this function does.
    Raises FileNotFoundError, or OSError if the file cannot be read.
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
    """Publish a file whole: a reader sees either the previous state or the complete file. Raises OSError."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        with replacing(Path(path)) as file:
            file.write(data)
    else:
        with filesystem.open_output_stream(path) as stream:  # object stores publish on close
            stream.write(data)
