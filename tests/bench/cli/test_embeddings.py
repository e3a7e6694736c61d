"""`transfergan embeddings`, and downloads from a server on this machine that breaks off, continues or lies."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from bench.cli import main
from tests.support.command_line import call
from trainers.common.errors import UserError
from trainers.config.embeddings import PUBLISHED

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several blocks
NAME = "dinov2_vits14_pretrain.pth"


class Server(ThreadingHTTPServer):
    """Serves `CONTENT`; `continues` tells whether from the middle too, `most` after how many bytes it breaks off."""

    continues, most = True, len(CONTENT)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast(Server, self.server)
        server.ranges.append(self.headers["Range"])
        if not self.path.endswith(NAME):
            return self.send_error(404)
        start = int(self.headers["Range"].strip("bytes=-")) if self.headers["Range"] and server.continues else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: server.most])
        return None

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the small DINOv2 one that the server has, and return where its file belongs."""
    network = replace(
        PUBLISHED["dinov2-vits14"], sha256=hashlib.sha256(CONTENT).hexdigest(), folder=lambda: tmp_path / "hub",
        address=f"http://127.0.0.1:{server.server_port}/dinov2/{NAME}",
    )  # fmt: skip
    monkeypatch.setitem(cast(dict, PUBLISHED), "dinov2-vits14", network)
    return network.file


def fetch() -> str:
    result = call("embeddings", "fetch", "dinov2-vits14")
    if result.exception is not None:
        raise result.exception
    return result.stdout


def row() -> dict[str, Any]:
    rows = json.loads(call("embeddings", "--json").stdout)
    return next(row for row in rows if row["name"] == "dinov2-vits14")


def test_weights_are_fetched_once_to_their_usual_place(place: Path, server: Server):
    assert (row()["state"], row()["file"]) == ("missing", str(place))
    assert row()["todo"].startswith("run `transfergan embeddings fetch dinov2-vits14` (88 MB), or place it there, from http")
    assert fetch() == f"dinov2-vits14: {place}\n"
    assert place.read_bytes() == CONTENT
    assert [path.name for path in place.parent.iterdir()] == [NAME]
    assert (row()["state"], row()["todo"]) == ("ready", "")
    assert fetch() == f"dinov2-vits14: {place} is there already\n"
    assert server.ranges == [None]


@pytest.mark.parametrize("continues", [True, False])
def test_an_interrupted_download_continues_or_starts_again(place: Path, server: Server, continues: bool):
    server.most, server.continues = 3_000_000, continues
    with pytest.raises(UserError, match=r"the connection ended after 3,000,000 of 5,120,000 bytes; the same command continues"):
        fetch()
    assert [path.name for path in place.parent.iterdir()] == [f"{NAME}.part"]
    server.most = len(CONTENT)
    fetch()
    assert place.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=3000000-"]


def test_a_download_that_was_only_not_renamed_is(place: Path, server: Server):
    place.parent.mkdir()
    place.with_name(f"{NAME}.part").write_bytes(CONTENT)
    fetch()
    assert place.read_bytes() == CONTENT


def test_a_file_with_another_hash_is_not_kept(place: Path, server: Server):
    place.parent.mkdir()
    part = place.with_name(f"{NAME}.part")
    part.write_bytes(b"of another file")
    with pytest.raises(
        UserError, match=f"has the sha256 [0-9a-f]{{64}} and not the official {hashlib.sha256(CONTENT).hexdigest()}"
    ):
        fetch()
    assert not list(place.parent.iterdir())
    fetch()
    assert place.read_bytes() == CONTENT


def test_a_file_of_ones_own_is_not_replaced(place: Path):
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with pytest.raises(UserError, match="move it elsewhere and use it as dinov2-vits14:PATH, or delete it"):
        fetch()
    assert place.read_bytes() == b"mine"


@pytest.mark.parametrize("how", ["absent", "closed", "no folder"])
def test_without_the_file_or_a_network_one_line_says_what_to_do(
    how: str, place: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    network, reason = PUBLISHED["dinov2-vits14"], "HTTP status 404"
    if how == "absent":
        network = replace(network, address=network.address.replace(NAME, "other"))
    elif how == "closed":
        network, reason = replace(network, address=f"http://127.0.0.1:1/{NAME}"), "Connection refused"
    else:
        place.parent.write_text("a file")
        reason = "File exists"
    monkeypatch.setitem(cast(dict, PUBLISHED), "dinov2-vits14", network)
    monkeypatch.setattr("sys.argv", ["transfergan", "embeddings", "fetch", "dinov2-vits14"])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert (ended.value.code, output.out) == (2, "")
    (line,) = output.err.splitlines()
    assert line.startswith(f"transfergan: {network.address} cannot be downloaded to {str(place.parent)!r}: ")
    assert reason in line
    assert line.endswith(f"the same command continues it, or place {network.file.name} there yourself")


def test_the_embeddings_are_listed_with_what_is_missing(place: Path):
    lines = call("embeddings").stdout.splitlines()
    assert lines[0].split() == ["name", "dimensions", "pixels", "state", "network", "file"]
    assert [line.split()[0] for line in lines[1:6]] == ["builtin", *PUBLISHED]
    assert lines[1].split()[1:4] == ["64", "32", "ready"]
    assert lines[3].startswith("dinov2-vitl14 (dinov2)        1024     224  ")
    assert f"dinov2-vits14: there is no file {str(place)!r}; run `transfergan embeddings fetch dinov2-vits14` (88 MB), or" in (
        "\n".join(lines)
    )
