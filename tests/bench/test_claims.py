"""Claims of drivers that share a store: at most one holder, and none for ever; on a disk and on an S3 server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.driver import claims
from bench.driver.claims import Claims
from bench.store import Store, open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two(store: Store) -> Iterator[tuple[Claims, Claims]]:
    with Claims(store) as one, Claims(store) as other:
        yield one, other


def left(store: Store) -> list[str]:
    return [*store.list_files("claims"), *store.list_files("drivers")]


def test_a_trial_that_one_driver_holds_the_other_cannot_take_until_it_is_released(two: tuple[Claims, Claims]):
    one, other = two
    assert one.take("a")
    assert not other.take("a")
    assert other.elsewhere() == {"a"}
    assert one.elsewhere() == set()
    assert other.take("b")
    one.free("a")
    assert other.take("a")
    assert (one.held, set(other.held)) == ((), {"a", "b"})


def test_nothing_remains_after_the_block_even_if_it_raises(store: Store):
    def interrupted() -> None:
        with Claims(store) as one:
            assert one.take("a")
            assert len(left(store)) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert left(store) == []


def test_of_many_drivers_that_want_a_trial_at_most_one_holds_it(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    at_work: dict[str, int] = dict.fromkeys("abc", 0)
    worst, taken = [0], [0]
    lock = threading.Lock()

    def work(one: Claims) -> None:
        for _ in range(60):
            for key in at_work:
                if one.take(key):
                    with lock:
                        at_work[key] += 1
                        worst[0], taken[0] = max(worst[0], at_work[key]), taken[0] + 1
                    time.sleep(0.001)
                    with lock:
                        at_work[key] -= 1
                    one.free(key)

    with ExitStack() as stack:
        threads = [threading.Thread(target=work, args=(stack.enter_context(Claims(store)),)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert worst[0] == 1
    assert taken[0] > 20
    assert left(store) == []


def test_a_claim_that_another_driver_deletes_is_noticed_and_stands_while_the_store_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = open_store(str(tmp_path / "store"), create=True)

    def unreachable(*arguments: object) -> bool:
        raise OSError("no route to host")

    with Claims(store) as one:
        assert one.take("a")
        assert one.holds("a")
        store.delete_file(one.path("a"))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "has_file", unreachable)
            assert one.holds("a")
            with pytest.raises(OSError, match="no route to host"):
                store.write_file("result", b"", claims.holding(store, one.path("a")))
        with pytest.raises(claims.LostClaimError):
            store.write_file("result", b"", claims.holding(store, one.path("a")))
        assert not store.has_file("result")
        assert not one.holds("a")
        assert one.held == ()
        assert one.take("a"), "it can be claimed again"


def test_a_driver_whose_heartbeat_was_deleted_writes_it_before_its_next_claim(two: tuple[Claims, Claims], store: Store):
    one, other = two
    store.delete_file(f"drivers/{one._driver}.json")
    assert one.take("a")
    assert not other.take("a")


HOLD = """
import sys, time
from bench.driver.claims import Claims
from bench.store import open_store
with Claims(open_store(sys.argv[1])) as one:
    print(one.take("a"), flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_drivers_trials_are_free_immediately_on_the_same_machine(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder, Claims(store) as one:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not one.take("a")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert one.take("a")
    assert left(store) == []


@pytest.mark.slow
def test_the_heartbeat_of_a_driver_killed_without_claims_is_deleted(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    idle = HOLD.replace('one.take("a")', "True")
    with subprocess.Popen([sys.executable, "-c", idle, str(tmp_path / "store")], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with Claims(store):
            assert len(left(store)) == 2
        assert len(left(store)) == 1, "it lives"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with Claims(store):
        pass
    assert left(store) == []


def test_a_driver_on_another_machine_is_dead_after_a_lease_without_heartbeat_by_the_observers_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = open_store(str(tmp_path / "store"), create=True)
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    store.write_file("claims/a.far", b"")
    store.write_file("drivers/far.json", b'{"beats": 1, "machine": "far", "process": [1, 1]}')
    with Claims(store) as one:
        assert not one.take("a")
        for _ in range(2):
            now[0] += claims.LEASE / 2 - 1
            assert not one.take("a")
        store.write_file("drivers/far.json", b'{"beats": 2, "machine": "far", "process": [1, 1]}')
        now[0] += 2
        assert not one.take("a")
        now[0] += claims.LEASE + 1
        assert not one.take("a"), "nobody looked meanwhile, e.g. because the store did not answer"
        now[0] += 2 * claims.BEAT - 1
        assert not one.take("a")
        now[0] += 2
        assert one.take("a")
        assert store.list_files("drivers") == [f"drivers/{one._driver}.json"]


def test_a_dead_driver_is_noticed_by_an_observer_whose_looks_are_far_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a large store a look takes seconds, and at most a tenth of the time is spent on looks."""
    store = open_store(str(tmp_path / "store"), create=True)
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    store.write_file("claims/a.far", b"")
    store.write_file("drivers/far.json", b'{"beats": 1, "machine": "far", "process": [1, 1]}')
    with Claims(store) as one:
        taken = []
        for _ in range(3):
            taken.append(one.take("a"))
            now[0] += 0.75 * claims.LEASE
    assert taken == [False, False, True]


@pytest.mark.parametrize("beat", [b"", b"{}", b'{"machine": 1, "process": "x"}'])
def test_a_driver_with_an_unreadable_heartbeat_lives_for_its_lease(tmp_path: Path, beat: bytes):
    store = open_store(str(tmp_path / "store"), create=True)
    store.write_file("claims/a.odd", b"")
    store.write_file("drivers/odd.json", beat)
    with Claims(store) as one:
        assert not one.take("a")
