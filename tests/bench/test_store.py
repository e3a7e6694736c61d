"""The store's guarantees, on a directory and on an S3 server, with processes that are killed while writing."""

import json
import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bench.store import SCHEMA_VERSION, Store, open_store
from bench.store.schema import small
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from trainers.common.errors import UserError


def measurement(trial: str = "t", step: int = 0, value: float = 1.0) -> dict[str, object]:
    return {"trial": trial, "step": step, "metric": "fid", "embedding": "e", "view": "e/1000", "version": "1", "value": value}


def test_an_empty_store_has_typed_columns(store: Store):
    frame = store.read("trials")
    assert frame.empty
    assert {"key", "status", "sweep", "recorded_at"} <= set(frame.columns)


def test_the_same_result_written_twice_reads_as_one_row_and_the_newest_wins(store: Store):
    store.append("measurements", "a", [measurement(value=1.0), measurement(step=50)])
    store.append("measurements", "b", [measurement(value=2.0)])
    frame = store.read("measurements").sort_values("step")
    assert list(frame["value"]) == [2.0, 1.0]
    assert list(frame["sweep"]) == ["b", "a"]


def test_large_columns_are_read_on_request_alone(store: Store):
    values = np.linspace(1, 2, 50, dtype=np.float32)
    store.append("measurements", "a", [{**measurement(), "replicates": values}, measurement(step=50)])
    assert "replicates" not in store.read("measurements")
    large = store.read("measurements", large=True)
    np.testing.assert_array_equal(large["replicates"][0], values)
    assert large["replicates"][1] is None


def test_parts_without_a_large_column_are_whole(store: Store):
    """As older versions wrote them. Compaction and merging keep the values of newer parts."""
    old = pa.Table.from_pylist([{**measurement("old"), "recorded_at": datetime.now(UTC)}], schema=small("measurements"))
    store.append_part("measurements", "a", old)
    values = np.linspace(1, 2, 50, dtype=np.float32)
    store.append("measurements", "a", [{**measurement("new"), "replicates": values}])
    assert not [fault for fault in check(store) if fault.kind == "schema"]
    before = store.read("measurements", large=True).sort_values("trial", ignore_index=True)
    np.testing.assert_array_equal(before["replicates"][0], values)
    assert before["replicates"][1] is None
    assert len(pd.read_parquet(f"{store.root}/measurements", filesystem=store.filesystem)) == 2
    compact(store)
    after = store.read("measurements", large=True).sort_values("trial", ignore_index=True)
    pd.testing.assert_frame_equal(after, before)


def test_listing_a_folder_while_it_is_created_raises_no_error(tmp_path: Path):
    store, ended = open_store(str(tmp_path / "store"), create=True), threading.Event()
    folder = tmp_path / "store" / "claims"

    def make() -> None:
        while not ended.is_set():
            folder.mkdir()
            folder.rmdir()

    maker = threading.Thread(target=make)
    maker.start()
    try:
        assert all(store.list_files("claims") == [] for _ in range(5000))
    finally:
        ended.set()
        maker.join()


@pytest.mark.parametrize(("outcomes", "last"), [
    ([("failed", 2), ("done", 8)], ("done", 8)),
    ([("stopped", 2), ("done", 8)], ("done", 8)),
    ([("stopped", 2), ("failed", 4)], ("failed", 4)),
    ([("blocked", None), ("diverged", 3)], ("diverged", 3)),
])  # fmt: skip
def test_the_furthest_outcome_of_a_trial_counts_independent_of_the_clock(
    store: Store, outcomes: list[tuple[str, int | None]], last: tuple[str, int]
):
    for number, order in enumerate((outcomes, outcomes[::-1])):
        for status, steps in order:
            store.append("trials", "a", [{"key": str(number), "status": status, "steps": steps}])
    for table in (store.read("trials"), (compact(store), store.read("trials"))[1]):
        assert list(zip(table["status"], table["steps"], strict=True)) == [last, last]


def test_distances_of_real_images_have_one_row_each_although_their_trial_is_null(store: Store):
    row = {"source": "s", "target": "t", "trial": None, "resolution": 16, "kind": "fid", "embedding": "e"}
    store.append("distances", "a", [{**row, "value": 1.0}])
    store.append("distances", "a", [{**row, "value": 2.0}, {**row, "trial": "k", "value": 3.0}])
    assert sorted(store.read("distances")["value"]) == [2.0, 3.0]


def test_a_column_that_the_schema_lacks_is_refused(store: Store):
    with pytest.raises(AssertionError, match="colour"):
        store.append("measurements", "a", [{**measurement(), "colour": "red"}])


def test_files_are_published_whole_and_listed_without_temporary_ones(store: Store):
    store.write_file("checkpoints/k/2.bin", b"two")
    store.write_file("checkpoints/k/1.bin", b"one")
    with store.filesystem.open_output_stream(store.path("checkpoints/k/.half.tmp")) as half:
        half.write(b"to")
    assert store.list_files("checkpoints/k") == ["checkpoints/k/1.bin", "checkpoints/k/2.bin"]
    assert store.read_file("checkpoints/k/2.bin") == b"two"
    store.delete_file("checkpoints/k/1.bin")
    store.delete_file("checkpoints/k/1.bin")
    assert not store.has_file("checkpoints/k/1.bin")


def test_sweeps_are_read_as_they_were_written(store: Store):
    store.write_sweep("quick", {"spec": {"name": "quick"}, "trials": [{"key": "k"}]})
    assert store.read_sweeps() == {"quick": {"spec": {"name": "quick"}, "trials": [{"key": "k"}]}}


def _write_endlessly(uri: str, ready: "multiprocessing.synchronize.Event") -> None:
    store = open_store(uri)
    step = 0
    while True:
        store.append("measurements", "a", [measurement(step=step, value=float(step)) for _ in range(50)])
        store.write_file("checkpoints/k/last.bin", bytes([step % 256]) * 1_000_000)
        step += 1
        if step == 3:
            ready.set()


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_partial_files(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    spawn = multiprocessing.get_context("spawn")
    for delay in (0.0, 0.003, 0.007):
        ready = spawn.Event()
        writer = spawn.Process(target=_write_endlessly, args=(store.address, ready))
        writer.start()
        assert ready.wait(300)
        time.sleep(delay)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        frame = store.read("measurements")
        assert len(frame) >= 3
        assert (frame["value"] == frame["step"]).all()
        data = store.read_file("checkpoints/k/last.bin")
        assert len(data) == 1_000_000
        assert len(set(data)) == 1


@pytest.mark.parametrize(("version", "remedy"), [
    (SCHEMA_VERSION + 1, "upgrade transfergan or name another store"),
    (SCHEMA_VERSION - 1, "an older one made it, whose results are not read; name another store"),
    ("two", "upgrade transfergan"),
])  # fmt: skip
def test_a_store_of_another_schema_is_refused(tmp_path: Path, version: int | str, remedy: str):
    store = open_store(str(tmp_path), create=True)
    store.write_file("store.json", json.dumps({"schema": version}).encode())
    with pytest.raises(UserError, match=f"has schema {version}.*{remedy}"):
        open_store(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_store_with_a_damaged_version_is_refused(tmp_path: Path, text: str):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        open_store(str(tmp_path))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "f").touch()
    with pytest.raises(UserError, match="is a file"):
        open_store(str(tmp_path / "f"), create=True)
    with pytest.raises(UserError, match="cannot be"):
        open_store(str(tmp_path / "f" / "below"), create=True)


def test_a_missing_store_is_refused_unless_it_may_be_created(tmp_path: Path):
    with pytest.raises(UserError, match="there is no store"):
        open_store(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_no_store_is_created_in_a_directory_with_other_files(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="other files"):
        open_store(str(tmp_path), create=True)


def test_a_store_that_cannot_be_written_is_refused():
    # Not even root can write here, so the test holds for every user.
    with pytest.raises(UserError, match="cannot be"):
        open_store("/proc/transfergan", create=True)


def test_a_uri_of_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="cannot be opened"):
        open_store("gopher://host/store")
