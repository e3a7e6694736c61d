"""A report that is served on loopback while its sweep runs: it is written anew as results come, and the browser shows it."""

import errno
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trainers.common.errors import UserError

#: Names of this machine in requests. Others come from pages that have given their own name this machine's address.
LOOPBACK = ("127.0.0.1", "localhost")

#: Shows the report in a frame, and loads it again when its number changes, at the same place.
FRAME = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>transfergan</title><meta name="viewport" content="width=device-width">
<style>html, body, iframe { margin: 0; border: 0; width: 100%; height: 100%; display: block }</style>
<iframe title="report" src="report"></iframe>
<script>
const frame = document.querySelector("iframe");
let shown = null;
async function look() {
  try {
    const number = await (await fetch("number", { cache: "no-store" })).text();
    if (shown !== null && number !== shown) {
      const { scrollY, location } = frame.contentWindow;
      frame.addEventListener("load", () => frame.contentWindow.scrollTo(0, scrollY), { once: true });
      frame.src = "report?" + number + location.hash;
    }
    shown = number;
    document.title = "transfergan";
  } catch {
    document.title = "transfergan (ended)";
  }
  setTimeout(look, 1000);
}
look();
</script></html>"""


def serve(
    write: Callable[[], bytes], changed: Callable[[], object], port: int, tell: Callable[[str], None],
    ended: threading.Event, pause: float = 5.0,
) -> None:  # fmt: skip
    """Serve a page on 127.0.0.1 until `ended` is set or the process is interrupted.

    Args:
        write: returns the page.
        changed: returns another value when the page is to be written anew; called every `pause` seconds.
        port: 0 for any free one.
        tell: called with the address once the page can be opened.

    Raises:
        UserError: the port is in use, or may not be used.
    """
    number, page = 0, write()
    seen = changed()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the frame, the page or its number."""
            if (self.headers.get("Host") or "").partition(":")[0] not in LOOPBACK:
                self.send_error(403)
                return
            contents = {"/": FRAME, "/report": page, "/number": str(number).encode()}
            content = contents.get(self.path.partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain" if self.path == "/number" else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: requests come every second."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise UserError(f"--port {port} {why}; name another, or 0 for any free one") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        tell(f"http://127.0.0.1:{server.server_address[1]}/")
        while not ended.wait(pause):
            if (now := changed()) != seen:
                seen, page, number = now, write(), number + 1
    finally:
        server.shutdown()
        server.server_close()
