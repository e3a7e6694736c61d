"""The clouds' notice that a spot machine is taken back, asked of an imitation of their metadata servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from bench.worker.spot_notice import noticed

#: The path of each cloud's notice, the header that it requires, and the answers without and with one (None: no such page).
CLOUDS = {
    "aws": ("/latest/meta-data/spot/instance-action", ("X-aws-ec2-metadata-token", "t"), None, '{"action": "terminate"}'),
    "gcp": ("/computeMetadata/v1/instance/preempted", ("Metadata-Flavor", "Google"), "FALSE", "TRUE"),
}


@contextmanager
def metadata(cloud: str, *, notice: bool) -> Iterator[str]:
    """Serve what a cloud answers to its machines; yield the server's address."""
    path, (header, value), without, with_notice = CLOUDS[cloud]
    answer = with_notice if notice else without

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(answer if (self.path, self.headers[header]) == (path, value) else None)

        def do_PUT(self) -> None:  # AWS gives a token first
            asked = cloud == "aws" and self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.reply("t" if asked else None)

        def reply(self, body: str | None) -> None:
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("notice", [False, True])
def test_a_notice_of_either_cloud_is_seen(cloud: str, notice: bool):
    with metadata(cloud, notice=notice) as server:
        assert noticed(server) == notice


def test_a_machine_without_a_metadata_server_has_no_notice():
    assert not noticed("http://127.0.0.1:1")
