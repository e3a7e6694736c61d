"""What `transfergan status` says of running trials: by the claims and heartbeats of drivers, live, killed and silent."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.run.status import lines, progressing
from bench.store import Store
from bench.sweeps.rows import record
from bench.upkeep.activity import Claimed, claimed, signs
from tests.support.command_line import ROOT, call
from tests.support.several_drivers import ONE, planned

LETTERS, SHAPES, TEXTURES, SCRATCH, *_ = ONE.by_key
LARGE = planned("large", sources=["letters", "shapes", "textures", "numerals"])


def printed(store: Store) -> list[str]:
    result = call("status", "--store", store.uri)
    assert result.exit_code == 0
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def beat(driver: Driver) -> None:
    """Let a driver's heart beat now instead of within ten seconds."""
    assert driver._sharing is not None
    driver._sharing._claims._beat()


def test_what_a_driver_runs_is_shown_with_its_host_and_is_stale_once_the_driver_is_silent(store: Store):
    for plan in (ONE, LARGE):
        store.write_sweep(plan.spec.name, record(plan))
    before = datetime.now(UTC) - timedelta(seconds=2)
    driver = Driver(Ledger.open(ONE, store), store)
    with driver.sharing():
        assert [driver.take() for _ in range(3)] == [LETTERS, SHAPES, TEXTURES]
        driver.start(LETTERS, "node-7")
        driver.start(SHAPES)
        beat(driver)
        assert driver.take() == SCRATCH  # after the heartbeat
        (sign,) = signs(store).values()
        assert (sign.sweep, sign.process, sign.alive) == ("one", os.getpid(), True)
        of = {claim.trial: claim for claim in claimed(store, signs(store))}
        assert {key: (claim.status, claim.host) for key, claim in of.items()} == {
            LETTERS: ("running", "node-7"), SHAPES: ("running", sign.host),
            TEXTURES: ("queued", sign.host), SCRATCH: ("queued", sign.host),
        }  # fmt: skip
        assert all(before < claim.since < datetime.now(UTC) + timedelta(seconds=2) for claim in of.values())
        text = printed(store)
        assert "one: 0 of 7 trials ended" in text
        assert "cell running queued pending best FID so far" in text
        assert "sources 2 1" in text
        assert "sources 2 1 1" in text, "the larger sweep waits for the same trials"
        assert f"one is run on {sign.host}, process {os.getpid()}" in text
        large, one = json.loads(call("status", "--store", store.uri, "--json").stdout)
        assert {(each["trial"], each["host"]) for each in one["now"] if each["status"] == "running"} == {
            (LETTERS, "node-7"), (SHAPES, sign.host),
        }  # fmt: skip
        assert (one["runs"][0]["process"], large["runs"], one["job"]) == (os.getpid(), [], None)
        assert (one["statuses"], one["cells"][0]["statuses"]) == (
            {"running": 2, "queued": 2, "pending": 3}, {"running": 2, "queued": 1},
        )  # fmt: skip
        assert sum(f"(0 min) node-7 {LETTERS} pretrain letters, seed 0" in line for line in text) == 2
        left = {path: store.read_file(path) for path in [*store.list_files("claims"), *store.list_files("drivers")]}

    # A driver that was killed leaves its files; its process is gone, as process 1 has another start time.
    for path, data in left.items():
        dead = json.dumps({**json.loads(data), "process": [1, -1]}).encode() if data else data
        store.write_file(path, dead)
    assert {claim.status for claim in claimed(store, signs(store))} == {"stale"}
    text = printed(store)
    assert sum(line.startswith("stale ") and LETTERS in line for line in text) == 2
    assert not [line for line in text if "is run on" in line]
    assert "cell pending best FID so far" in text
    for path in store.list_files("drivers"):
        store.delete_file(path)
    assert {(claim.status, claim.host) for claim in claimed(store, signs(store))} == {("stale", "")}


@pytest.mark.parametrize(("data", "status"), [(b"{", "queued"), (b'{"trials": {"a": 1}, "process": 3}', "queued")])
def test_a_heartbeat_of_another_version_is_a_sign_of_life(store: Store, data: bytes, status: str):
    store.write_file("claims/a.odd", b"")
    store.write_file("drivers/odd.json", data)
    ((claim,), (sign,)) = claimed(store, signs(store)), signs(store).values()
    assert (sign.alive, sign.sweep, claim.status, claim.host) == (True, "", status, "")


def test_a_driver_elsewhere_that_is_silent_for_a_lease_is_dead(tmp_path: Path, finished: Store):
    finished.write_file("claims/a.far", b"")
    finished.write_file("drivers/far.json", b'{"beats": 1, "machine": "far", "host": "far", "process": [1, 1]}')
    assert signs(finished)["far"].alive
    then = datetime.now(UTC) - timedelta(minutes=3)
    os.utime(f"{finished.root}/drivers/far.json", (then.timestamp(), then.timestamp()))
    (claim,) = claimed(finished, signs(finished))
    assert claim == Claimed("a", "stale", "far", claim.since)
    assert abs(claim.since - then) < timedelta(seconds=1)


RUN = """
import sys, time
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.store import open_store
from bench.sweeps.rows import recorded
store = open_store(sys.argv[1])
driver = Driver(Ledger.open(recorded(store.read_sweeps()["one"]), store), store)
with driver.sharing():
    driver.start(driver.take())
    driver._sharing._claims._beat()
    print("runs", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_another_process_that_runs_is_seen_and_once_killed_is_stale(finished: Store):
    finished.write_sweep("one", record(ONE))
    with subprocess.Popen([sys.executable, "-c", RUN, finished.root], cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"runs\n"
        one, small = progressing(finished)
        assert ([claim.status for claim in one.claims], small.claims) == (["running"], [])
        assert f"process {run.pid}" in next(lines(one))
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    one, small = progressing(finished)
    assert ([claim.status for claim in one.claims], one.runs) == (["stale"], [])
    assert next(lines(one)).startswith("stale: the run that has claimed these trials of one was killed")
    assert list(lines(small)) == []
