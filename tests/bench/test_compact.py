"""Compaction: equal rows in fewer files, on a directory and on an S3 server, also with concurrent writers and readers."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.store import Store, open_store
from bench.upkeep import small_parts
from bench.upkeep.check import check
from bench.upkeep.compact import ABANDONED, compact
from bench.upkeep.small_parts import SmallParts
from tests.bench.test_store import measurement


def rows(store: Store) -> pd.DataFrame:
    return store.read("measurements").sort_values(["trial", "step"], ignore_index=True)


def test_each_table_and_sweep_becomes_one_part_and_reads_as_before(store: Store):
    for step in range(4):
        store.append("measurements", "a", [measurement(step=step, value=1.0), measurement("u", step)])
    store.append("measurements", "b", [measurement(step=0, value=3.0)])
    store.append("measurements", "a", [measurement(step=1, value=2.0)])
    store.append("environments", "a", [{"environment": "e", "details": None}])
    before = rows(store)
    (done,) = compact(store)
    assert (done.table, done.sweep, done.parts, done.rows) == ("measurements", "a", 5, 8)
    assert len(store.list_parts("measurements")) == 2
    pd.testing.assert_frame_equal(rows(store), before)
    assert list(before["value"][:2]) == [3.0, 2.0], "the newest of all sweeps"
    assert compact(store) == []
    store.append("measurements", "a", [measurement(step=9)])
    assert [each.parts for each in compact(store)] == [2]
    assert len(rows(store)) == 9


def test_a_compaction_killed_before_it_deletes_parts_duplicates_no_rows(store: Store):
    for step in range(3):
        store.append("measurements", "a", [measurement(step=step)])
    before = rows(store)
    former = {name: store.read_file(name) for name in store.list_parts("measurements")}
    compact(store)
    for name, data in former.items():
        store.write_file(name, data)
    assert len(store.list_parts("measurements")) == 4
    pd.testing.assert_frame_equal(rows(store), before)
    compact(store)
    assert len(store.list_parts("measurements")) == 1
    pd.testing.assert_frame_equal(rows(store), before)


def test_old_temporary_files_of_writers_are_deleted_and_nothing_else(tmp_path: Path):
    store = open_store(str(tmp_path), create=True)
    old, young = f"trials/.{'0' * 32}.tmp", f"trials/.{'1' * 32}.tmp"
    others = [
        ".gitignore", ".DS_Store", "trials/.DS_Store", ".git/HEAD", f".git/.{'0' * 32}.tmp", "trials/.notes.tmp",
        "trials/.nfs0000000000000001", ".stfolder/x",
    ]  # fmt: skip
    then = (datetime.now(UTC) - 2 * ABANDONED).timestamp()
    for name in (old, young, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        if name != young:
            os.utime(tmp_path / name, (then, then))
    compact(store)
    assert {name for name in (old, young, *others) if (tmp_path / name).exists()} == {young, *others}
    assert [fault.where for fault in check(store)] == [young], "what a user or another program leaves is no fault"


@pytest.mark.slow
def test_concurrent_readers_and_a_writer_miss_no_rows(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A read contains all rows that were written before it began, also while a driver merges small parts."""
    monkeypatch.setattr(small_parts, "MANY", 3)
    monkeypatch.setattr(small_parts, "MANY_MERGED", 2)
    monkeypatch.setattr(small_parts, "GRACE", timedelta(seconds=0.1))
    written, done, errors = [0], threading.Event(), []

    def repeat(action: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                action()
        except BaseException as error:
            errors.append(error)

    def write() -> None:
        while not done.is_set():
            store.append("measurements", "a", [measurement(step=written[0])])
            written[0] += 1

    merging = SmallParts(store, "measurements", "a")
    actions = (lambda: compact(store), lambda: compact(store), merging.look)
    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    end, reads = time.monotonic() + 1.5, 0
    try:
        while time.monotonic() < end:
            least = written[0]
            steps = store.read("measurements")["step"]
            assert steps.is_unique
            assert set(range(least)) <= set(steps)
            reads += 1
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert reads
    assert len(store.read("measurements")) == written[0]


def test_the_verb_prints_what_it_merged(tmp_path: Path):
    store = open_store(str(tmp_path), create=True)
    for step in range(3):
        store.append("measurements", "quick", [measurement(step=step)])
    result = CliRunner().invoke(app, ["store", "compact", "--store", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (0, "measurements of quick: 3 parts merged into one of 3 rows\n")
