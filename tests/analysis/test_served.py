"""The report on loopback: it is renewed while the store changes, at the place where the reader is."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

import pytest

from analysis.report.served import serve
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = "<!doctype html><html><body style='height: 5000px'><h1>%d results</h1></body></html>"


@contextmanager
def served(results: list[int]) -> Iterator[str]:
    """Serve a page with the number of results, and yield its address."""
    addresses: Queue[str] = Queue()
    ended = threading.Event()
    arguments = (lambda: (PAGE % len(results)).encode(), lambda: len(results), 0, addresses.put, ended, 0.05)
    thread = threading.Thread(target=serve, args=arguments)
    thread.start()
    try:
        yield addresses.get(timeout=300)
    finally:
        ended.set()
        thread.join()


def ask(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=300)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_page_is_written_anew_when_results_come():
    results: list[int] = []
    with served(results) as address:
        assert address.startswith("http://127.0.0.1:")
        assert "0 results" in ask(address, "/report")[1]
        assert ask(address, "/number") == (200, "0")
        results.append(1)
        tiny.wait_for(lambda: ask(address, "/number") == (200, "1"))
        assert "1 results" in ask(address, "/report?1")[1]
        assert "<iframe" in ask(address, "/")[1]
        assert ask(address, "/etc/passwd")[0] == 404


def test_a_page_of_another_name_reads_nothing():
    """As one that has given its own name the address 127.0.0.1."""
    with served([]) as address:
        assert ask(address, "/report", "evil.example:80")[0] == 403
        assert ask(address, "/report", "localhost:80")[0] == 200


def test_a_port_in_use_is_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port} is in use; name another, or 0 for any free one"):
            serve(bytes, bool, port, print, threading.Event())
    result = call("report", "--watch", "--format", "md", "--store", tmp_path)
    assert "--watch serves the HTML page" in str(result.exception)


def test_the_browser_shows_new_results_at_the_same_place(browser: "Browser"):
    results: list[int] = []
    with served(results) as address:
        page = browser.new_page()
        page.goto(address)
        report = page.frame_locator("iframe")
        report.get_by_text("0 results").wait_for()
        page.evaluate("frame.contentWindow.scrollTo(0, 1234)")
        page.wait_for_function("shown !== null")
        results.append(1)
        report.get_by_text("1 results").wait_for()
        page.wait_for_function("frame.contentWindow.scrollY === 1234")
        page.close()
