"""Filesystems by URI with requests that are repeated while a server does not answer, and files that are published whole.

pyarrow reads and writes. Only a file that must not replace another one is written to S3 by obstore, if that is installed:
pyarrow has no conditional writes. It is given the address and the credentials that pyarrow has, and asks no proxy, as pyarrow.

A store may come from elsewhere, so a name in it may not lead to a file outside it: neither by its text nor by a link.
"""

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from trainers.common.errors import first_line
from trainers.common.files import create, replacing
from trainers.common.heartbeat import beat

#: Attempts of a request by the client itself, with a wait that doubles each time: a busy server may refuse one in a hundred.
ATTEMPTS = 4

#: Seconds for which a request to a server that does not answer is repeated.
PATIENCE = 600.0

#: Seconds between two such requests, at most.
PAUSE = 10.0

#: In pyarrow's errors of a server that cannot be reached or is too busy.
_TRANSIENT = (
    "NETWORK_CONNECTION", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "INTERNAL_FAILURE", "SLOW_DOWN", "THROTTLING",
    "HTTP status 5", "UNAVAILABLE", "DEADLINE_EXCEEDED",
)  # fmt: skip

_log = logging.getLogger("transfergan")

#: Stores that this process waits for.
_silent: set[str] = set()

T = TypeVar("T")

#: Raises an error if the writer of a file may publish no more.
Held = Callable[[], None]

#: Stores whose conditional writes have failed in this process.
_unconditional: set[str] = set()

#: Hosts that give credentials to machines and containers; with that of the store, those that no proxy stands before.
_NEAR = "169.254.169.254,169.254.170.2,169.254.170.23,localhost,amazonaws.com"

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


def patiently(request: Callable[[], T], uri: str, patience: float) -> T:
    """Return the result of a request to a store's server; repeat it while the server does not answer.

    So a server that restarts, or a network that is down for minutes, ends no run. One line is logged when the wait begins, and
    one when it ends.

    Args:
        request: can be repeated.
        uri: of the store, for messages.
        patience: seconds after which an error is raised.

    Raises:
        OSError: the server has not answered for so long; at once, any other error of the request.
    """
    began, pause, waited = time.monotonic(), 1.0, False
    while True:
        try:
            result = request()
        except OSError as error:
            if not patience or not any(text in str(error) for text in _TRANSIENT):
                raise
            waited = True
            why = first_line(error)
            why = why[max(0, why.find("AWS Error")) :]  # before it stands the path of the file
            if time.monotonic() - began >= patience:
                message = f"store {uri!r} has not answered for {patience / 60:.0f} minutes: {why}; run the same command again"
                raise OSError(message) from error
            if uri not in _silent:  # another thread has said it otherwise
                _silent.add(uri)
                _log.warning("store %r does not answer: %s; waiting for it", uri, why)
            beat()  # to wait is not to hang
            time.sleep(pause)
            pause = min(2 * pause, PAUSE)
        else:
            if waited and uri in _silent:
                _silent.discard(uri)
                _log.warning("store %r answers again after %.0f s", uri, time.monotonic() - began)
            return result


def read(filesystem: pafs.FileSystem, path: str, size: int | None = None) -> bytes:
    """Return a file's bytes, or the first `size` of them.

    pyarrow does not repeat a request if the server's error response is longer than the requested file; this function does.
    Raises FileNotFoundError, or OSError if the file cannot be read.
    """
    if isinstance(filesystem, pafs.LocalFileSystem) and not stat.S_ISREG(Path(path).stat().st_mode):
        raise FileNotFoundError(f"{path} is not a regular file")  # a read from a pipe would wait
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


def write(filesystem: pafs.FileSystem, path: str, data: bytes, uri: str = "", held: Held | None = None) -> None:
    """Publish a file whole: a reader sees either the previous state or the complete file. Raises OSError.

    `held` is called at first, and again before a file of that name is replaced. So what another writer publishes after the
    first call is replaced only with leave of the second one, where a file is created in one step (see `creator`, which `uri` is
    for).
    """
    if held is not None:
        held()
        create_new = creator(filesystem, uri)
        if create_new is not None:
            if create_new(path, data):
                return
            held()
    if isinstance(filesystem, pafs.LocalFileSystem):
        with replacing(Path(path)) as file:
            file.write(data)
    else:
        with filesystem.open_output_stream(path) as stream:  # object stores publish on close
            stream.write(data)


def creator(filesystem: pafs.FileSystem, uri: str) -> Callable[[str, bytes], bool] | None:
    """Return a function that publishes a file, given its path and bytes, unless there is one of its name.

    It looks and publishes in one step, and returns False if it may not have published. None where this cannot be done: on
    Google Cloud Storage, without obstore, with credentials that obstore does not find, and once a server has refused it. A
    server that does not know ``If-None-Match`` replaces the file.
    """
    if isinstance(filesystem, pafs.LocalFileSystem):
        return lambda path, data: create(Path(path), data)
    if not isinstance(filesystem, pafs.S3FileSystem) or uri in _unconditional:
        return None
    try:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError
    except ImportError:
        return None
    if not _is_shared(uri):
        return None

    def put(path: str, data: bytes) -> bool:
        bucket, _, name = path.partition("/")
        try:
            obstore.put(_client(uri, bucket, filesystem.region), name, data, mode="create")
        except AlreadyExistsError:
            return False
        except (BaseError, ValueError, OSError) as error:
            _unconditional.add(uri)
            _log.info("store %r: no conditional writes, %s", uri, first_line(error))
            return False
        return True

    return put


@cache
def _client(uri: str, bucket: str, region: str) -> Any:
    """Return obstore's client for a bucket of an S3 URI, with what `connect` gives pyarrow."""
    from obstore.store import S3Store

    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    host, scheme = options.get("endpoint_override", ""), options.get("scheme", "https")
    config: Any = {"region": region}
    if host:
        config |= dict.fromkeys(("endpoint", "aws_endpoint_url_s3"), f"{scheme}://{host}")
    keys: Any = {"access_key_id": unquote(parts.username or ""), "secret_access_key": unquote(parts.password or "")}
    return S3Store(
        bucket,
        config=config,
        client_options={
            "allow_http": scheme == "http",
            "timeout": f"{PATIENCE:g}s",
            "proxy_url": "http://127.0.0.1:9",  # in place of that of the environment, which pyarrow does not use either
            "proxy_excludes": f"{host.rpartition(':')[0] or host},{_NEAR}",
        },
        retry_config={"max_retries": ATTEMPTS - 1},
        credential_provider=(lambda: keys | {"token": None, "expires_at": None}) if parts.username else None,
    )


def _is_shared(uri: str) -> bool:
    """Return whether obstore finds the same server and credentials as pyarrow; it reads no files with AWS profiles."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    servers = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}.isdisjoint(os.environ) or "endpoint_override" in options
    if not _OPTIONS.issuperset(options) or not servers:
        return False
    if parts.username or "AWS_ACCESS_KEY_ID" in os.environ:
        return True
    files = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    return not any(Path(os.environ.get(name, usual)).expanduser().exists() for name, usual in files.items())


def is_outside(filesystem: pafs.FileSystem, root: str, name: str) -> bool:
    """Return whether a path in a folder leads out of the folder or, by a link on a local disk, to nothing."""
    names = name.split("/")
    if name.startswith("/") or ".." in names or "\0" in name:
        return True
    if isinstance(filesystem, pafs.LocalFileSystem):
        path = root
        for part in names:
            path = f"{path}/{part}"
            if Path(path).is_symlink():
                return not _leads_below(path, root)
    return False


def list_files(filesystem: pafs.FileSystem, root: str, folder: str, *, below: bool) -> list[pafs.FileInfo]:
    """Return the files in a folder of `root`, with `below` also those in the folders below it. A missing folder is empty.

    On a local disk, hidden folders, links to folders, and links that lead out of `root` are left out.
    """
    if is_outside(filesystem, root, folder):
        return []
    path = f"{root}/{folder}".rstrip("/")
    if isinstance(filesystem, pafs.LocalFileSystem):
        return [info for entry in _entries(path, below=below) if (info := _info(entry, root)) is not None]
    selector = pafs.FileSelector(path, allow_not_found=True, recursive=below)
    return [info for info in filesystem.get_file_info(selector) if info.is_file]


def links_out(filesystem: pafs.FileSystem, root: str) -> list[str]:
    """Return the links below a folder that lead out of it or to nothing, as sorted paths in it; an object store has none."""
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return []
    links = (entry.path for entry in _entries(root, below=True) if entry.is_symlink())
    return sorted(link[len(root) + 1 :] for link in links if not _leads_below(link, root))


def _entries(path: str, *, below: bool) -> Iterator["os.DirEntry[str]"]:
    """Yield the files and links in a local folder, and with `below` in the folders below it that are not hidden."""
    folders = [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield entry
                    elif below and not entry.name.startswith("."):
                        folders.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # missing, or deleted meanwhile
            continue


def _info(entry: "os.DirEntry[str]", root: str) -> pafs.FileInfo | None:
    """Return a file's size and time; None if it is no regular file, leads out of `root`, or has been deleted meanwhile."""
    if entry.is_symlink() and not _leads_below(entry.path, root):
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return pafs.FileInfo(entry.path, pafs.FileType.File, mtime=status.st_mtime, size=status.st_size)


def _leads_below(link: str, root: str) -> bool:
    """Return whether a link leads to something that exists below a folder."""
    inside = os.path.realpath(link).startswith(f"{os.path.realpath(root)}/")
    return inside and Path(link).exists()
