"""A sweep as a detached job of a real cluster that wants a token; and what is said where address, token or job are wrong."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.jobs import Job, find, recorded
from bench.store import open_store
from tests import tiny
from trainers.errors import UserError


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The addresses of a head node, for jobs and for drivers; processes that are started from here know its token."""
    with tempfile.TemporaryDirectory(prefix="head-", ignore_cleanup_errors=True) as folder:
        token = Path(folder, "token")
        token.write_text(secrets.token_hex(32))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        port, jobs, agent = free_port(), free_port(), free_port()
        options = {
            "port": port,
            "dashboard-port": jobs,
            "dashboard-agent-listen-port": agent,
            "num-cpus": 2,
            "temp-dir": folder,
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--dashboard-host=127.0.0.1",
             *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def answers() -> bool:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{jobs}/api/version", timeout=10)
            except urllib.error.HTTPError as error:
                return error.code == 401  # who asks without a token
            except OSError:
                return False
            return False

        try:
            tiny.wait_for(answers)
            yield f"http://127.0.0.1:{jobs}", f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def test_a_job_is_watched_cancelled_and_taken_up_again_by_the_store_alone(
    tmp_path: Path, head: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    url, address = head
    store = tmp_path / "store"

    def status() -> str:
        return tiny.transfergan("status", "--store", store, cwd=tmp_path).stdout

    def submit(steps: int) -> str:
        spec = tiny.write_spec(tmp_path, **tiny.SMALL)
        changes = "--set", f"training.steps={steps}"
        return tiny.transfergan("submit", spec, *changes, "--store", "store", "--address", url, cwd=tmp_path).stdout

    assert "submitted: small-" in submit(1_000_000)
    job = find(open_store(str(store)))
    tiny.wait_for(lambda: len(list(store.glob("measurements/**/*.parquet"))) > 1)
    assert f"job {job.id} at {url}: running" in status()
    spec = tmp_path / "tiny.yaml"
    again = tiny.transfergan("submit", spec, "--store", store, "--address", url, cwd=tmp_path, expect=2)
    assert f"{job.id} of sweep small is running at {url}; `transfergan cancel` ends it first" in again.stderr
    assert tiny.transfergan("cancel", "--store", store, cwd=tmp_path).stdout == f"{job.id}: stopped\n"
    assert "interrupted: the same command goes on from here" in tiny.transfergan("logs", "--store", store, cwd=tmp_path).stdout
    assert tiny.claimed(store) == []

    submit(8)
    job = find(open_store(str(store)))
    tiny.wait_for(lambda: f"job {job.id} at {url}: succeeded" in status())
    assert (tiny.outcomes(store)["status"] == "done").all()
    assert len(tiny.outcomes(store)) == len(tiny.make().trials)

    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    for command in (["logs"], ["run", spec, "--set", "seeds=[1]", "--address", address]):
        refused = tiny.transfergan(*command, "--store", store, cwd=tmp_path, expect=2)
        assert "the cluster refuses the token" in refused.stderr.splitlines()[-1]
    assert "the cluster refuses the token" in status()


@pytest.mark.parametrize(("address", "store", "said"), [
    ("127.0.0.1:8265", "store", "--address '127.0.0.1:8265': give that of the cluster's job server, http://HOST:8265"),
    ("http://127.0.0.1:1", "store", "--address 'http://127.0.0.1:1': no job server of a Ray cluster answers there"),
    ("http://me:secret@127.0.0.1:1", "store", "--address: leave the password out"),
])  # fmt: skip
def test_a_job_server_that_is_not_there_is_the_users_mistake(address: str, store: str, said: str, tmp_path: Path):
    failed = tiny.transfergan("submit", "quickstart", "--store", store, "--address", address, cwd=tmp_path, expect=2)
    assert said in failed.stderr.splitlines()[-1]
    assert "secret" not in failed.stderr


def test_a_job_is_found_by_its_sweep(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    with pytest.raises(UserError, match="knows of no job; `transfergan submit` starts one"):
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
