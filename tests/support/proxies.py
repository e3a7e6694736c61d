"""A proxy for an S3 server that sometimes answers 500 or 503, as a busy server does."""

import http.client
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_REFUSAL = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>Please reduce your request rate.</Message></Error>'

#: Headers of a connection, which are not forwarded.
_HOPS = {"content-length", "connection", "transfer-encoding", "expect"}


class Refusals:
    """The number of requests, of those that were refused, and the share of the next ones to refuse, from 0 to 1.

    Without `conditions`, requests that are to create a file only if there is none are refused as a server does that cannot.
    """

    requests = 0
    refused = 0
    share: float
    conditions = True


@contextmanager
def refusing(port: int, share: float, seed: int, listening: socket.socket | None = None) -> Iterator[tuple[int, Refusals]]:
    """Refuse a share of the requests to a server, and forward the others.

    Args:
        port: of the server, on loopback.
        share: share of the requests to refuse, from 0 to 1.
        seed: decides which.
        listening: the socket of the proxy; by default one on loopback.

    Yields:
        the port of the proxy, and its counts.
    """
    counts, dice, lock = Refusals(), random.Random(seed), threading.Lock()
    counts.share = share

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.body()
            with lock:
                counts.requests += 1
                status = dice.choice((500, 503)) if dice.random() < counts.share else 0
                if not counts.conditions and "If-None-Match" in self.headers:
                    status = 501
                counts.refused += bool(status)
            if status:
                code = {500: b"InternalError", 501: b"NotImplemented", 503: b"SlowDown"}[status]
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
