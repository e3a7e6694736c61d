"""Merging stores: everything that the target lacks is copied once, and the result has no fault."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.store import Store, open_store
from bench.store.schema import KEYS, SCHEMAS
from bench.upkeep.check import check
from bench.upkeep.merge import merge
from tests.support import tiny


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "target"), create=True)


def files(store: Store) -> dict[str, bytes]:
    return {name: store.read_file(name) for name in store.files(below=True)}


def kept(store: Store) -> dict[str, bytes]:
    """Return the files that are not parts of tables."""
    return {name: data for name, data in files(store).items() if name.partition("/")[0] not in SCHEMAS}


def rows(store: Store, table: str) -> pd.DataFrame:
    return store.read(table).sort_values(KEYS[table], ignore_index=True)  # type: ignore[index,arg-type]


def test_an_empty_store_becomes_equal_and_a_second_merge_copies_nothing(finished: Store, empty: Store):
    before = files(finished)
    done = merge(finished, empty)
    assert done.left_out == []
    assert done.rows == {table: len(finished.read(table)) for table in SCHEMAS}
    for table in SCHEMAS:
        pd.testing.assert_frame_equal(rows(empty, table), rows(finished, table))
    assert kept(empty) == kept(finished)
    assert check(empty) == []
    after = files(empty)
    again = merge(finished, empty)
    assert (set(again.rows.values()), again.files, again.left_out) == ({0}, 0, [])
    assert files(empty) == after
    assert files(finished) == before
    assert set(merge(finished, finished).rows.values()) == {0}


@pytest.mark.parametrize("at", range(0, 12, 2))
def test_a_killed_merge_can_be_repeated(finished: Store, empty: Store, monkeypatch: pytest.MonkeyPatch, at: int):
    writes = 0
    write = Store.write_file

    def dying(self: Store, name: str, data: bytes) -> None:
        nonlocal writes
        if writes == at:
            raise KeyboardInterrupt
        writes += 1
        write(self, name, data)

    monkeypatch.setattr(Store, "write_file", dying)
    with pytest.raises(KeyboardInterrupt):
        merge(finished, empty)
    monkeypatch.setattr(Store, "write_file", write)
    assert check(empty) == []
    merge(finished, empty)
    assert check(empty) == []
    pd.testing.assert_frame_equal(rows(empty, "trials"), rows(finished, "trials"))
    assert kept(empty) == kept(finished)


def test_the_targets_rows_are_kept_except_for_trials_that_the_source_continued(finished: Store, empty: Store):
    last = finished.read("trials").iloc[-1]
    own = last.drop(["sweep", "recorded_at"]).where(last.notna(), None).to_dict()
    empty.append("trials", "mine", [{**own, "status": "stopped", "steps": 2, "checkpoint": None}])
    measured = finished.read("measurements")
    value = measured[(measured["trial"] == own["key"]) & (measured["step"] == 0)].iloc[0]
    mine = value.drop(["sweep", "recorded_at"]).to_dict()
    empty.append("measurements", "mine", [{**mine, "value": 77.0}])
    done = merge(finished, empty)
    assert done.rows["measurements"] == len(measured) - 1
    found = empty.read("measurements").set_index(KEYS["measurements"])["value"]
    assert found[tuple(mine[name] for name in KEYS["measurements"])] == 77.0
    assert empty.read("trials").set_index("key").loc[own["key"], "status"] == "done"


def test_a_different_plan_of_the_same_name_is_copied_under_another(finished: Store, empty: Store):
    planned = finished.read_sweep("sweeps/small.json")
    empty.write_sweep("small", {**planned, "trials": planned["trials"][:1]})
    merge(finished, empty)
    sweeps = empty.read_sweeps()
    assert set(sweeps) == {"small", "small-2"}
    assert len(sweeps["small"]["trials"]) == 1
    assert sweeps["small-2"]["trials"] == planned["trials"]
    assert sweeps["small-2"]["spec"]["name"] == "small-2"
    assert merge(finished, empty).files == 0
    assert check(empty) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("pattern", [
    "checkpoints/*/*", "samples/*", "references/*", "measurements/*/*", "environments/*/*", "trials/*/*", "sweeps/*",
])  # fmt: skip
def test_damaged_files_are_left_out_and_reported(finished: Store, empty: Store, pattern: str):
    damaged = sorted(Path(finished.root).glob(pattern))[0]
    cut(damaged)
    before = files(finished)
    done = merge(finished, empty)
    name = str(damaged.relative_to(finished.root))
    assert name in done.left_out[0]
    assert check(empty) == []
    assert files(finished) == before, "no file is moved in a store that is only read"


def test_a_checkpoint_older_than_the_targets_is_not_copied(finished: Store, empty: Store):
    path = sorted(finished.files("checkpoints", below=True))[0]
    empty.write_file(path.replace("0000000", "9000000"), finished.read_file(path))
    merge(finished, empty)
    assert not empty.has_file(path)
    assert check(empty) == []


def test_the_verb_creates_the_store_and_prints_what_it_copied(finished: Store, tmp_path: Path):
    cut(sorted(Path(finished.root).glob("samples/*"))[0])
    result = CliRunner().invoke(
        app, ["store", "merge", finished.root, "--store", str(tmp_path / "new")], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "is left out: not a complete image" in result.stderr
    assert f"{len(tiny.make().trials)} of trials" in result.stdout
    assert json.loads((tmp_path / "new" / "store.json").read_text())
