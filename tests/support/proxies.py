"""A proxy before an S3 server that answers 500 and 503 now and then, as a busy one does."""

import http.client
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_REFUSAL = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>Please reduce your request rate.</Message></Error>'

#: Headers that are about one connection and not about the request.
_HOPS = {"content-length", "connection", "transfer-encoding", "expect"}


class Refusals:
    """How many requests came, and how many were refused."""

    requests = 0
    refused = 0


@contextmanager
def refusing(port: int, share: float, seed: int, listening: socket.socket | None = None) -> Iterator[tuple[int, Refusals]]:
    """Refuse a share of the requests to the server at a port, and pass on the others.

    Args:
        port: the server's, on loopback.
        share: of the requests that are refused, from 0 to 1.
        seed: of the dice.
        listening: where the proxy hears requests, if not on loopback.

    Yields:
        the proxy's port, and its counts.
    """
    counts, dice, lock = Refusals(), random.Random(seed), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.body()
            with lock:
                counts.requests += 1
                status = dice.choice((500, 503)) if dice.random() < share else 0
                counts.refused += bool(status)
            if status:
                code = {500: b"InternalError", 503: b"SlowDown"}[status]
                self.reply(status, {"Content-Type": "application/xml"}, _REFUSAL % code)
                return
            server = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
                server.request(self.command, self.path, body, kept)
                answer = server.getresponse()
                self.reply(answer.status, dict(answer.headers), answer.read())
            finally:
                server.close()

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in _HOPS:
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" and status < 300 else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - the base class names them so

    listening = listening or socket.create_server(("127.0.0.1", 0))
    server = ThreadingHTTPServer(listening.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket, server.daemon_threads = listening, True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield listening.getsockname()[1], counts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
