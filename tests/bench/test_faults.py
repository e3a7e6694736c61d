"""Faults injected into a real store: nothing is lost or duplicated, and the same command finishes the rest."""

import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.driver.ledger import Ledger
from bench.run.status import progressing
from bench.store import Store, open_store
from bench.store.environments import record_environment
from bench.store.trial_files import checkpoint_paths, last_checkpoint
from bench.sweeps.rows import outcome_row
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from bench.worker import distances
from bench.worker.trial import task, train
from tests.bench.test_check import cut, file, spoil
from tests.bench.test_store import measurement
from tests.conftest import s3_uri
from tests.support import tiny
from tests.support.endurance import repeats
from tests.support.proxies import Refusals, refusing
from tests.support.victims import SERVER, compacts, dies_before_publishing
from trainers.common.errors import UserError

pytestmark = pytest.mark.slow

#: Compactions that are killed. Of three kills, two come while it publishes or deletes, and one at any moment.
KILLS = repeats(3, full=24)


def faults(store: Store) -> list[str]:
    """Return all faults but the temporary files that a killed writer leaves."""
    return [str(fault) for fault in check(store) if fault.kind != "temporary"]


def table(store: Store) -> pd.DataFrame:
    return store.read("measurements").sort_values(["trial", "step", "metric", "view"], ignore_index=True)


def same_outcomes(store: Store, other: Store) -> None:
    """Check that two stores hold the same trials, measurements and distances, each once."""
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(other), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(other))
    assert tiny.values(store).index.is_unique


# -- killed -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scattered_once(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `scattered`; tests must not change it."""
    folder = tmp_path_factory.mktemp("scattered") / "store"
    shutil.copytree(finished_once, folder)
    store = open_store(str(folder))
    rows = store.read("measurements").drop(columns=["sweep", "recorded_at"])
    compact(store)
    records: list[Any] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    for start in 2 * list(range(len(records))):
        store.append("measurements", "small", records[start : start + 3])
    return folder


@pytest.fixture
def scattered(scattered_once: Path, tmp_path: Path) -> Store:
    """The finished sweep with its measurements in hundreds of parts, each several times."""
    shutil.copytree(scattered_once, tmp_path / "scattered")
    return open_store(str(tmp_path / "scattered"))


@pytest.mark.endurance
def test_a_compaction_killed_at_any_moment_loses_and_duplicates_nothing(scattered: Store, tmp_path: Path):
    dice = random.Random(6)
    before, values = table(scattered), tiny.values(scattered)
    many = len(scattered.list_parts("measurements"))

    def start(copy: Path) -> Any:
        shutil.copytree(scattered.root, copy)
        ready = SERVER.Event()
        process = SERVER.Process(target=compacts, args=(str(copy), ready))
        process.start()
        assert ready.wait(tiny.PATIENCE)
        return process

    durations = []
    for name in ("first", "second", "third")[: repeats(1, full=3)]:
        process = start(tmp_path / name)
        began = time.perf_counter()
        process.join()
        durations.append(time.perf_counter() - began)
    counts = []
    for i in range(KILLS):
        copy = tmp_path / f"copy{i}"
        process = start(copy)
        if i % 3:  # while it publishes or deletes, the shortest part of its run
            folder, ends = copy / "measurements" / "sweep=small", ("", ".parquet")[i % 3 - 1]
            while sum(name.endswith(ends) for name in os.listdir(folder)) == many:  # noqa: PTH208 - the quickest there is
                pass
            time.sleep(dice.uniform(0, 0.002))
        else:
            time.sleep(dice.uniform(0, statistics.median(durations)))
        process.kill()
        process.join()
        store = open_store(str(copy))
        counts.append(len(store.list_parts("measurements")))
        pd.testing.assert_frame_equal(table(store), before)
        assert faults(store) == []
        compact(store)
        assert len(store.list_parts("measurements")) == 1
        pd.testing.assert_series_equal(tiny.values(store), values, check_exact=True)
        shutil.rmtree(copy)
    print(f"parts after each kill: {counts}, of {many} and the merged one")
    assert set(counts) - {1, many}, "no kill came in the middle"


def test_a_writer_killed_between_the_write_and_the_publishing_of_a_part_leaves_no_part(finished: Store):
    before = table(finished)
    for _ in range(3):
        process = SERVER.Process(target=dies_before_publishing, args=(finished.root,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert [fault.kind for fault in check(finished)] == ["temporary"] * 3
    pd.testing.assert_frame_equal(table(finished), before)


# -- damaged ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "left"), [
    ("trials", 0.5), ("measurements", 0), ("measurements", -1), ("environments", 0.5), ("checkpoints", 0), ("checkpoints", -1),
    ("merged", 0.5),
])  # fmt: skip
def test_a_truncated_file_is_set_aside_and_its_content_is_computed_again(
    finished: Store, finished_once: Path, caplog: pytest.LogCaptureFixture, where: str, left: float
):
    if where == "merged":
        compact(finished)
    paths = sorted(
        Path(finished.root).glob({"checkpoints": "checkpoints/*/*", "merged": "measurements/*/*"}.get(where, f"{where}/*/*"))
    )
    damaged = paths[len(paths) // 2]
    data = damaged.read_bytes()
    damaged.write_bytes(data[: int(left * len(data))] if left >= 0 else data[:-1])
    short = damaged.read_bytes()
    assert len(faults(finished)) >= 1
    list(progressing(finished))
    finished.read("distances")
    lines = tiny.run_here(tiny.make(), finished)
    assert bool(lines) == (where not in ("trials", "environments"))
    (aside,) = (path for path in (Path(finished.root) / "damaged").rglob("*") if path.is_file() and path.read_bytes() == short)
    assert damaged.name in aside.name
    assert sum(damaged.name in line for line in caplog.messages) == 1
    assert faults(finished) == []
    same_outcomes(finished, open_store(str(finished_once)))
    assert tiny.run_here(tiny.make(), finished) == []


def test_a_trial_whose_checkpoint_is_truncated_starts_again(finished_once: Path, tmp_path: Path):
    plan, store = tiny.make(), open_store(str(tmp_path / "store"), create=True)
    trial = plan.trials[0]
    first = train(task(plan, store, trial.key))
    assert next(first)["steps"] == 2
    first.close()
    (name,) = checkpoint_paths(store, trial.key)
    cut(store, name)
    again = train(task(plan, store, trial.key))
    assert [report["steps"] for report in again] == [2, 4]
    expected = tiny.values(finished_once)[trial.key]
    pd.testing.assert_series_equal(tiny.values(store)[trial.key], expected, check_exact=True)
    (row,) = store.read("trials").itertuples()
    assert row.status == "done"


def test_a_source_whose_checkpoint_has_a_flipped_bit_is_trained_again_before_its_children_start(
    finished: Store, finished_once: Path, caplog: pytest.LogCaptureFixture
):
    source, _, child = tiny.make().trials
    assert child.parent == source.key
    for path in Path(finished.root).glob("trials/*/*"):  # the child's end is lost, with its checkpoint
        if child.key in pq.read_table(path)["key"].to_pylist():
            path.unlink()
    file(finished, f"checkpoints/{child.key}/*").unlink()
    spoil(finished, f"checkpoints/{source.key}/*")
    (line,) = tiny.run_here(tiny.make(), finished)
    assert line == f"trial {source.key} restarts: the store has lost its last checkpoint"
    assert any("checksum" in message for message in caplog.messages)
    assert faults(finished) == []
    same_outcomes(finished, open_store(str(finished_once)))


def test_a_checkpoint_with_a_flipped_bit_is_not_returned(finished: Store):
    trial = tiny.make().trials[0]
    spoil(finished, f"checkpoints/{trial.key}/*")
    assert last_checkpoint(finished, trial.key) is None
    assert list((Path(finished.root) / "damaged").rglob("*.safetensors.*"))


def test_lost_distances_are_measured_again(tmp_path: Path):
    plan, store = tiny.make(), open_store(str(tmp_path / "store"), create=True)
    embedding, resolution = plan.spec.evaluation.embedding, plan.spec.gan.resolution
    distances.measure(store.address, "small", embedding, resolution, 64, tiny.NUMERALS, None, ("digits",))
    ledger = Ledger.open(plan, store)
    assert distances.missing(plan, ledger, store) == []
    cut(store, "distances/*/*")
    assert distances.missing(plan, ledger, store) == [(tiny.NUMERALS, None, ("digits",))]
    assert check(store) == []


def test_a_clock_that_jumps_by_hours_changes_no_outcome(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A source fails and its child is blocked while the clock is fast; the clock then jumps while the trials run again."""
    plan, store = tiny.make(), open_store(str(tmp_path / "store"), create=True)
    dice = random.Random(9)

    class Jumping(datetime):
        hours = 12.0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=cls.hours)

    monkeypatch.setattr("bench.store.store.datetime", Jumping)
    source, _, child = plan.trials
    for trial, status in ((source, "failed"), (child, "blocked")):
        store.append("trials", "small", [outcome_row(trial, status, record_environment(store, "small"), steps=0, error="x")])
    Jumping.hours = -12.0
    real = store.append
    jumps = 0

    def append(self: Store, *arguments: Any) -> None:
        nonlocal jumps
        real(*arguments)
        Jumping.hours, jumps = dice.uniform(-12, 12), jumps + 1

    monkeypatch.setattr(Store, "append", append)
    tiny.run_here(plan, store, retry_failed=True)
    assert jumps >= 3 * len(plan.trials)
    for _ in range(2):
        pd.testing.assert_series_equal(tiny.values(store), tiny.values(finished_once), check_exact=True)
        pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(finished_once))
        assert faults(store) == []
        assert not Ledger.open(plan, store).is_open()
        compact(store)


# -- refused ------------------------------------------------------------------------------------------------------------


def _at_most(size: int) -> None:
    """Limit the size of files, also of compiled modules: Python would publish these cut."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_compaction_on_a_full_disk_is_one_line_and_changes_nothing(scattered: Store):
    before = table(scattered)
    verb = tiny.command("store", "compact", "--store", scattered.root)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        verb, preexec_fn=lambda: _at_most(2000), env=environment, capture_output=True, text=True, timeout=tiny.PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "accepts no more data: File too large; run the same command" in line
    pd.testing.assert_frame_equal(table(scattered), before)
    assert check(scattered) == []
    tiny.transfergan("store", "compact", "--store", scattered.root, cwd=Path(scattered.root))
    pd.testing.assert_series_equal(tiny.values(scattered), before.set_index(["trial", "step", "metric", "view"])["value"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is full when a sweep has just begun."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_one_line_and_the_same_sweep_finishes_when_there_is_room(
    small_disk: Path, finished_once: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spec = tiny.write_spec(small_disk.parent, **{**tiny.SMALL, "strategies": ["scratch"]})
    verb = ("run", spec, "--store", small_disk / "store", "--address", "here")  # for Ray, see test_on_ray
    monkeypatch.setattr("sys.argv", ["transfergan", *map(str, verb)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("transfergan: ")] == [said.splitlines()[-1]]
    assert "accepts no more data: No space left on device; run the same command" in said
    store = open_store(str(small_disk / "store"))
    assert check(store) == []
    assert "failed" not in set(store.read("trials")["status"])
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    tiny.run_here(tiny.make(), store)
    assert check(store) == []
    same_outcomes(store, open_store(str(finished_once)))


def test_an_s3_server_that_refuses_one_request_in_five_loses_and_duplicates_nothing(s3_port: int, s3_keys: None):
    with refusing(s3_port, 0.2, seed=3) as (port, counts):
        store = open_store(s3_uri(port), create=True)
        for step in range(3):
            store.append("measurements", "a", [measurement(step=step, value=float(step))])
        store.write_file("notes/1.bin", b"one" * 1000)
        assert list(store.read("measurements")["step"]) == list(range(3))
        compact(store)
        assert len(store.list_parts("measurements")) == 1
        assert list(store.read("measurements")["value"]) == [float(step) for step in range(3)]
        assert store.read_file("notes/1.bin") == b"one" * 1000
        store.write_file("notes/2.bin", b"two")  # shorter than a refusal
        assert [store.read_file("notes/2.bin") for _ in range(20)] == [b"two"] * 20
        assert {fault.kind for fault in check(store)} == {"unknown"}
    print(f"{counts.refused} of {counts.requests} requests refused")
    assert counts.refused > 5


@pytest.fixture
def outage(s3_port: int, s3_keys: None) -> Iterator[tuple[str, Refusals]]:
    """The URI of a new store behind a proxy, and what the proxy refuses."""
    with refusing(s3_port, 0, seed=3) as (port, refusals):
        yield s3_uri(port), refusals


def test_a_server_that_does_not_answer_is_waited_for(outage: tuple[str, Refusals], caplog: pytest.LogCaptureFixture):
    uri, refusals = outage
    store = open_store(uri, create=True)
    store.write_file("notes/1.bin", b"one")
    refusals.share = 1
    with pytest.raises(OSError, match=r"has not answered for 0 minutes: .*; run the same command again"):
        replace(store, patience=0.1).has_file("notes/1.bin")
    with pytest.raises(UserError, match="cannot be opened"):
        open_store(uri)
    caplog.clear()
    timer = threading.Timer(6, setattr, (refusals, "share", 0))
    timer.start()
    with ThreadPoolExecutor() as pool:
        opened = pool.submit(open_store, uri, known=True)
        written = pool.submit(store.append, "measurements", "a", [measurement(step=1, value=1.0)])
        assert store.read_file("notes/1.bin") == b"one"
        written.result()
        assert list(opened.result().read("measurements")["value"]) == [1.0]
    assert refusals.refused > 10
    first, *_, last = (record.message for record in caplog.records)
    assert re.search(r"does not answer: AWS Error \w+ .*; waiting for it", first)
    assert re.search(r"answers again after \d+ s", last)
    assert len(caplog.records) == 2, "one line for all requests that wait"


@pytest.mark.endurance(only=True)
def test_two_drivers_wait_for_a_server_that_is_out_of_reach_for_longer_than_their_leases(
    outage: tuple[str, Refusals], tmp_path: Path, finished_once: Path
):
    uri, refusals = outage
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    drivers = [tiny.start("run", spec, "--store", uri, "--address", "here", cwd=tmp_path) for _ in range(2)]
    tiny.wait_for(lambda: refusals.requests > 100)
    refusals.share = 1
    time.sleep(90)
    refusals.share = 0
    for driver in drivers:
        output, _ = driver.communicate(timeout=tiny.PATIENCE)
        assert driver.returncode == 0, output
        assert "does not answer" in output
    store = open_store(uri)
    assert faults(store) == []
    assert tiny.claimed(uri) == []
    same_outcomes(store, open_store(str(finished_once)))
