"""A sweep on a real cluster with a token: as a job, and from outside; the messages for a wrong address, token or job."""

import math
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench.on_ray.jobs import Job, entrypoint, find, recorded
from bench.store import open_store
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def own_address() -> str:
    """Return an address of this machine that is not on the loopback network."""
    with socket.socket(type=socket.SOCK_DGRAM) as unsent:
        unsent.connect(("192.0.2.1", 9))
        return str(unsent.getsockname()[0])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Head:
    """Addresses of a head node: of its job server, for drivers in the cluster, for Ray's client outside."""

    jobs: str
    drivers: str
    client: str


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head node with one CPU; child processes have its token."""
    with (
        tempfile.TemporaryDirectory(prefix="head-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        token = Path(folder, "token")
        token.write_text(secrets.token_hex(32))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # as in the files that start clusters
        port, jobs, agent, client = (free_port() for _ in range(4))
        options = {
            "port": port,
            "dashboard-port": jobs,
            "dashboard-agent-listen-port": agent,
            "ray-client-server-port": client,
            "num-cpus": 1,
            "temp-dir": folder,
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--dashboard-host=127.0.0.1",
             "--no-monitor", "--include-log-monitor=false",
             *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def answers() -> bool:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{jobs}/api/version", timeout=10)
            except urllib.error.HTTPError as error:
                return error.code == 401  # a request without a token
            except OSError:
                return False
            return False

        try:
            tiny.wait_for(answers)
            tiny.wait_for(lambda: listens(client))
            yield Head(f"http://127.0.0.1:{jobs}", f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}")
        finally:
            process.terminate()
            process.wait()


#: Makes the tiny sweep one trial that takes hours.
LONG: dict[str, Any] = {
    "sources": [],
    "strategies": ["scratch"],
    "conditional": [False],
    "training": {"steps": 1_000_000, "batch": 8},
}

#: Runs several verbs in one process, so that Ray is imported only once.
VERBS = """
import sys
from bench.cli import main
for command in sys.argv[1:]:
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        print("exit status", end.code, flush=True)
"""


def transfergan(*commands: str, cwd: Path) -> list[str]:
    """Return the output of each of several verbs, with the exit status as its last line."""
    done = subprocess.run(
        [sys.executable, "-c", VERBS, *commands],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    outputs = re.findall(r"(.*?exit status \d)\n", done.stdout, re.DOTALL)
    assert len(outputs) == len(commands), done.stdout
    return outputs


def test_a_job_is_watched_and_cancelled_with_the_store_only(tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch):
    """The job runs the submitted code and sweep, and writes to the store, after the submitting process has ended."""
    url, address = head.jobs, head.drivers
    tiny.write_spec(tmp_path, **LONG)
    submit = f"submit tiny.yaml --store store --address {url}"
    (submitted,) = transfergan(submit, cwd=tmp_path)
    assert "submitted: tiny-" in submitted
    store = tmp_path / "store"
    # Long, for a job that is left running would keep the head's only core from the next test.
    tiny.wait_for(lambda: bool(list(store.glob("measurements/**/*.parquet"))))
    (job,) = recorded(open_store(str(store))).values()
    verbs = "status --store store", submit, "cancel --store store", "logs --store store", "status --store store --sweep tiny"
    before, refused, cancelled, printed, after = transfergan(*verbs, cwd=tmp_path)
    assert f"job {job.id} at {url}: running" in before
    assert f"sweep tiny: job {job.id} at {url}: running; stop it first with `transfergan cancel`" in refused
    assert refused.endswith("exit status 2")
    assert cancelled == f"{job.id}: stopped\nexit status 0"
    assert "interrupted: the same command goes on from here" in printed
    assert f"job {job.id} at {url}: stopped" in after
    assert tiny.claimed(store) == []

    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    verbs = "logs --store store", f"run tiny.yaml --store store --address {address}", "status --store store"
    for output, status in zip(transfergan(*verbs, cwd=tmp_path), (2, 2, 0), strict=True):
        assert "the cluster refuses the token" in output
        assert output.endswith(f"exit status {status}")


def test_a_verb_runs_on_the_cluster_from_outside(tmp_path: Path, head: Head):
    """Its output is printed here, by stream, Ctrl-C here interrupts it there, and its exit status is returned."""
    tiny.write_spec(tmp_path, **LONG)
    store = tmp_path / "store"
    command = tiny.command("run", "tiny.yaml", "--store", store, "--address", head.client)
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        lines = []
        while (line := run.stderr.readline()) and "running  scratch digits" not in line:
            lines.append(line)
        assert line, lines
        run.send_signal(signal.SIGINT)
        output, errors = run.communicate(timeout=tiny.PATIENCE)
    assert run.returncode == 130, errors
    assert output == f"report: {store}/report.html\n"
    assert errors.endswith("interrupted: the same command goes on from here\n")
    assert tiny.claimed(store) == []


@pytest.mark.parametrize(("address", "store", "message"), [
    ("127.0.0.1:8265", "store", "--address '127.0.0.1:8265': give the address of the cluster's job server, http://HOST:8265"),
    ("http://127.0.0.1:1", "store", "at http://127.0.0.1:1: no job server of a Ray cluster answers"),
    ("http://me:secret@127.0.0.1:1", "store", "--address: leave the password out"),
])  # fmt: skip
def test_a_missing_job_server_is_an_error_of_the_user(
    address: str, store: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # so that what is set there is undone
    failed = call("submit", "quickstart", "--store", store, "--address", address)
    assert isinstance(failed.exception, UserError)
    assert message in str(failed.exception)
    assert "secret" not in f"{failed.output}{failed.exception}"


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", ["/api/version"]), (None, [])])
def test_a_proxy_is_not_asked_for_this_machine_and_named_for_another(
    host: str | None, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A tunnel's end on this machine is reached directly; the address of another machine goes to the proxy, which is absent."""
    paths: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    for name in ("no_proxy", "NO_PROXY", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that what is set there is undone
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    host = host or own_address()
    with HTTPServer((host, 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{host}:{server.server_port}"
        failed = call("submit", "quickstart", "--store", tmp_path / "store", "--address", address)
        server.shutdown()
    assert isinstance(failed.exception, UserError)
    assert paths == asked
    message = "no job server of a Ray cluster answers (" if asked else f"set no_proxy={host} to reach it directly"
    assert message in str(failed.exception)


def test_a_job_is_found_by_its_sweep(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    with pytest.raises(UserError, match="has no job; start one with `transfergan submit`"):
        find(store)
    for sweep in ("one", "two"):
        store.write_file(f"jobs/{sweep}.json", f'{{"sweep": "{sweep}", "id": "{sweep}-1", "address": "http://h:1"}}'.encode())
    assert find(store, "two") == Job("two", "two-1", "http://h:1")
    with pytest.raises(UserError, match="name the sweep, --sweep one or two"):
        find(store)
    with pytest.raises(UserError, match="unknown submitted sweep 'three'"):
        find(store, "three")
    store.write_file("jobs/one.json", b'{"sweep": 1')
    with pytest.raises(UserError, match=r"jobs/one.json in store .* is damaged; delete it"):
        recorded(store)


def test_a_job_runs_the_sweep_as_it_was_submitted(tmp_path: Path):
    store = open_store(str(tmp_path / "a store"), create=True)
    run = f"python -m bench.cli run sweep.yaml --store '{store.address}'"
    assert entrypoint(store, retry_failed=False, max_hours=math.inf) == f"{run} --address auto"
    assert entrypoint(store, retry_failed=True, max_hours=2.5) == f"{run} --retry failed --max-hours 2.5 --address auto"
