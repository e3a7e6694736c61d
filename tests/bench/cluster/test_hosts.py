"""A sweep on hosts that share only an S3 server: one is cut off, one is late; one is drained."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest

import bench.on_ray  # noqa: F401 - sets the environment that the processes of the cluster inherit
from bench.store import Store, open_store
from bench.upkeep.check import check
from tests.conftest import s3_uri
from tests.support import tiny
from tests.support.hosts import Host, NotPermittedError, Switch, network
from tests.support.proxies import refusing
from trainers.config.metrics import distances

pytestmark = pytest.mark.slow

TOKEN = "right" * 10

#: With these, the head notices the loss of a host within seconds.
WATCHFUL = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}

#: Part of the command line of a process that trains.
TRAINS = "ray::ImplicitFunc.train"


@pytest.fixture
def switch() -> Iterator[Switch]:
    """A switch with no hosts on it yet."""
    try:
        with network() as hosts:
            yield hosts
    except NotPermittedError as error:
        pytest.skip(str(error))


def test_hosts_share_only_a_network(switch: Switch, tmp_path: Path):
    one, other = switch.add(), switch.add()
    with switch.listen() as listening:
        listening.settimeout(10)
        address, port = listening.getsockname()
        asks = f"import socket; socket.create_connection(({address!r}, {port}), timeout=%s).sendall(b'.')"
        for host in (one, other):
            with subprocess.Popen(host.command(sys.executable, "-S", "-c", asks % 10)):
                connection, (who, _) = listening.accept()
                with connection:
                    assert (who, connection.recv(1)) == (host.address, b".")
        other.unplug()
        cut = subprocess.run(other.command(sys.executable, "-S", "-c", asks % 0.2), capture_output=True, text=True, check=False)
        assert "timed out" in cut.stderr
    for folder in (one.folder, Path("/dev/shm")):
        subprocess.run(one.command("touch", folder / "own"), check=True)
        assert subprocess.run(one.command("ls", folder), capture_output=True, text=True, check=True).stdout == "own\n"
        assert subprocess.run(other.command("ls", folder), capture_output=True, text=True, check=True).stdout == ""
        assert not (folder / "own").exists()
    assert subprocess.run(one.command("touch", tmp_path / "shared"), capture_output=True, check=False).returncode
    assert other.processes("cat")
    other.kill()
    assert not other.processes("")


def test_hosts_end_with_the_process_that_made_them_even_if_it_is_killed(switch: Switch):
    script = "from tests.support.hosts import network\nwith network() as made: print(made.add().folder, flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        folder = maker.stdout.readline().strip()
        assert tiny.processes(folder)
        maker.kill()
    tiny.wait_for(lambda: not tiny.processes(folder))
    Path(folder).rmdir()  # fails unless it is empty


def start(host: Host, *arguments: object) -> "subprocess.Popen[str]":
    """Start a command in the folder of a host, with a token for the cluster in a file there."""
    subprocess.run(host.command("sh", "-c", f"umask 077; cat >{host.folder}/token"), input=TOKEN, text=True, check=True)
    folders = dict.fromkeys(("HOME", "TMPDIR", "RAY_TMPDIR", "TRANSFERGAN_CACHE"), str(host.folder))
    authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{host.folder}/token"}
    return subprocess.Popen(
        host.command("env", f"--chdir={host.folder}", *arguments), env={**os.environ, **WATCHFUL, **folders, **authentication},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def start_node(host: Host, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Ray node on a host; the process ends when the node is up."""
    ray = [Path(sys.prefix) / "bin" / "ray", "start", "--node-ip-address", host.address, "--object-store-memory", 80 * 2**20]
    return start(host, *ray, "--include-log-monitor=false", *arguments)


def end(process: "subprocess.Popen[str]") -> str:
    """Wait for the successful end of a process and return its output."""
    output, _ = process.communicate(timeout=tiny.PATIENCE)
    assert process.returncode == 0, output
    return output


def recorded(store: Store) -> int:
    """Return the number of recorded outcomes, duplicates included."""
    return int(ds.dataset(store.path("trials"), filesystem=store.filesystem, format="parquet").count_rows())


def test_hosts_that_are_cut_off_or_late_lose_nothing(
    switch: Switch, tmp_path: Path, s3_port: int, s3_keys: None, finished_once: Path
):
    """A host is unplugged while it trains, and plugged in again while its trial runs on one that joined later.

    One request to S3 in a hundred is refused.
    """
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    head, cut, late = (switch.add() for _ in range(3))
    with refusing(s3_port, 0.01, seed=9, listening=switch.listen()) as (port, counts):
        store = s3_uri(s3_port)
        address = f"{head.address}:6379"
        join = ("--address", address, "--num-cpus", 1)
        seen = store.replace(f"127.0.0.1%3A{s3_port}", f"10.0.0.1%3A{port}")
        run = tiny.command("run", spec, "--store", seen, "--address", address)
        end(start_node(head, "--head", "--port", 6379, "--num-cpus", 0, "--include-dashboard=false", "--no-monitor"))
        end(start_node(cut, *join))
        driver = start(head, *run)
        tiny.wait_for(lambda: bool(cut.processes(TRAINS)))
        cut.unplug()
        end(start_node(late, *join))
        tiny.wait_for(lambda: bool(late.processes(TRAINS)))
        cut.plug()
        output = end(driver)
        assert "Traceback" not in output

    remote, undisturbed = open_store(store), open_store(str(finished_once))
    pd.testing.assert_frame_equal(tiny.outcomes(remote), tiny.outcomes(undisturbed))
    pd.testing.assert_series_equal(tiny.values(remote), tiny.values(undisturbed), check_exact=True)
    assert len(remote.read("distances")) == 2 * len(distances()), "of the source, by real and by generated images"
    assert check(remote) == []
    assert tiny.claimed(store) == []
    ended, again = len(tiny.outcomes(remote)), recorded(remote) - len(tiny.outcomes(remote))
    print(
        f"1 host cut off, 1 late, {counts.refused} of {counts.requests} requests to S3 refused: "
        f"{ended} of {len(tiny.outcomes(undisturbed))} trials ended, {again} recorded twice and read once"
    )
    assert again <= 1, "only the trial of the lost host may be recorded twice"


@pytest.mark.endurance(only=True)
def test_a_host_that_the_cloud_takes_back_hands_its_trial_on(switch: Switch, tmp_path: Path, s3_port: int, s3_keys: None):
    """By our own command for spot machines, in the middle of a rung; the rest is trained by a host that joins then."""
    changes: dict[str, Any] = {
        "sources": [], "strategies": ["scratch"], "training": {"steps": 4000, "batch": 8, "critic_steps": 1},
        "evaluation": {"samples": 64, "first_rung": 4000}, "resources": {"retries": 0},
    }  # fmt: skip
    spec = tiny.write_spec(tmp_path, **{**tiny.SMALL, **changes})
    plan = tiny.make(**changes)
    (key,) = plan.by_key
    head, taken_back, late = (switch.add() for _ in range(3))
    with refusing(s3_port, 0, seed=9, listening=switch.listen()) as (port, _):
        store = s3_uri(s3_port)
        open_store(store, create=True)
        address = f"{head.address}:6379"
        join = ("--address", address, "--num-cpus", 1)
        seen = store.replace(f"127.0.0.1%3A{s3_port}", f"10.0.0.1%3A{port}")
        end(start_node(head, "--head", "--port", 6379, "--num-cpus", 0, "--include-dashboard=false", "--no-monitor"))
        end(start_node(taken_back, *join))
        driver = start(head, *tiny.command("run", spec, "--store", seen, "--address", address))
        tiny.wait_for(lambda: not tiny.values(store).empty)  # step 0 is measured
        time.sleep(5)
        notice = "from bench.worker.spot_notice import drain; drain('%s')"
        path = f"PATH={Path(sys.prefix) / 'bin'}:/usr/bin:/bin"
        noticed = time.monotonic()
        end(start(taken_back, path, sys.executable, "-c", notice % address))
        tiny.wait_for(lambda: bool(open_store(store).list_files(f"checkpoints/{key}")))
        handed_on = time.monotonic() - noticed
        assert handed_on < 60
        end(start_node(late, *join))
        output = end(driver)
    assert "Traceback" not in output
    step = re.search(r"is being taken back; goes on elsewhere from step (\d+), not counted as a retry", output)
    assert step is not None, output
    assert 0 < int(step[1]) < 4000
    undisturbed = open_store(str(tmp_path / "undisturbed"), create=True)
    tiny.run_here(plan, undisturbed)
    pd.testing.assert_frame_equal(tiny.outcomes(open_store(store)), tiny.outcomes(undisturbed))
    pd.testing.assert_series_equal(tiny.values(open_store(store)), tiny.values(undisturbed), check_exact=True)
    print(f"drained in mid-rung at step {step[1]} of 4000; its checkpoint was in the store after {handed_on:.1f} s")
