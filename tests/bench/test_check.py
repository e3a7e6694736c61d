"""The check of a store: no faults in an undamaged one, and every kind of fault reported."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.driver.ledger import Ledger
from bench.store import Store, open_store
from bench.sweeps.rows import outcome_row
from bench.upkeep.check import check
from bench.upkeep.repair import reopen
from tests.support import tiny
from tests.support.shapes import check_output


def file(store: Store, pattern: str) -> Path:
    return sorted(Path(store.root).glob(pattern))[0]


def cut(store: Store, pattern: str) -> None:
    path = file(store, pattern)
    path.write_bytes(path.read_bytes()[:-20])


def spoil(store: Store, pattern: str) -> None:
    path = file(store, pattern)
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def rename(store: Store, pattern: str, name: str) -> None:
    path = file(store, pattern)
    path.rename(path.with_name(name))


def foreign(store: Store, **columns: list[object]) -> None:
    pq.write_table(pa.table(columns), Path(store.root) / "trials" / "sweep=small" / "foreign.parquet")


def measured(store: Store, **changes: object) -> None:
    row = store.read("measurements").iloc[0].drop(["sweep", "recorded_at"]).to_dict()
    store.append("measurements", "small", [{**row, **changes}])


def recorded(store: Store, **changes: object) -> None:
    store.append("trials", "small", [{**outcome_row(tiny.make().trials[0], "blocked", ""), "environment": None, **changes}])


def edited(store: Store) -> None:
    trial = tiny.make().trials[0]
    recorded(store, status="done", steps=4, config=trial.model_copy(update={"seed": 5}).canonical_json())


TEMPORARY = f".{'0' * 32}.tmp"
NOW = [pa.scalar(0, pa.timestamp("us", tz="UTC"))]
FAULTS: dict[str, tuple[Callable[[Store], None], str, str]] = {
    "a part cut short": (lambda s: cut(s, "trials/*/*.parquet"), "part", "is not the one in its name"),
    "a part with another bit": (lambda s: spoil(s, "measurements/*/*.parquet"), "part", "is not the one in its name"),
    "an old part cut short": (
        lambda s: (cut(s, "trials/*/*.parquet"), rename(s, "trials/*/*.parquet", "f00.parquet"))[0],
        "part", "f00.parquet: not a complete Parquet file",
    ),
    "a part of something else": (lambda s: foreign(s, colour=["red"]), "part", "no column recorded_at"),
    "a part of other types": (lambda s: foreign(s, recorded_at=NOW, steps=["many"]), "part", "have this table's schema"),
    "a part with fewer columns": (lambda s: foreign(s, recorded_at=NOW), "schema", "missing or unknown"),
    "a key of nothing": (lambda s: recorded(s, key="0" * 16), "key", f"trials, {'0' * 16}: its configuration's key is"),
    "an edited configuration": (edited, "key", "its configuration's key is"),
    "no configuration": (lambda s: recorded(s, status="done", steps=4, config="{}"), "key", "its configuration cannot be read"),
    "a lost rung": (lambda s: file(s, "measurements/*/*.parquet").unlink(), "rung", "not measured at step"),
    "a name in two lines": (lambda s: measured(s, trial="no\nbody"), "unknown", r"measurements, trial no\nbody: no sweep"),
    "a measurement of nothing": (lambda s: measured(s, trial="nobody"), "unknown", "measurements, trial nobody"),
    "a lost environment": (lambda s: file(s, "environments/*/*").unlink(), "unknown", "no row of table environments"),
    "another value": (lambda s: measured(s, value=-1.0), "differing", "2 different values of value"),
    "a lost checkpoint": (lambda s: file(s, "checkpoints/*/*").unlink(), "file", ": missing, but named by trial"),
    "a checkpoint cut short": (lambda s: cut(s, "checkpoints/*/*"), "file", "bytes instead of"),
    "a checkpoint with another bit": (lambda s: spoil(s, "checkpoints/*/*"), "file", "its bytes do not match its checksum"),
    "a lost picture": (lambda s: file(s, "samples/real-*").unlink(), "file", ": missing, but named by trial"),
    "a picture cut short": (lambda s: cut(s, "samples/*"), "file", "not a complete image"),
    "a reference with another bit": (lambda s: spoil(s, "references/*"), "file", "do not match its checksum"),
    "a temporary file": (lambda s: (Path(s.root) / "trials" / TEMPORARY).touch(), "temporary", f"trials/{TEMPORARY}: a temp"),
    "a plan cut short": (lambda s: cut(s, "sweeps/*"), "sweep", "sweeps/small.json: damaged (it is no JSON); `"),
    "a plan of nothing": (lambda s: file(s, "sweeps/*").write_text("[]") and None, "sweep", "sweeps/small.json: damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(finished: Store, name: str):
    assert check(finished) == []
    damage, kind, said = FAULTS[name]
    damage(finished)
    before = {path: path.stat().st_mtime_ns for path in Path(finished.root).rglob("*")}
    faults = check(finished)
    assert any(fault.kind == kind and said in str(fault) for fault in faults), faults
    assert all("\n" not in str(fault) for fault in faults)
    assert {path: path.stat().st_mtime_ns for path in Path(finished.root).rglob("*")} == before


def test_files_of_older_versions_are_no_fault(finished: Store):
    """Parts with random names, checkpoints without a checksum."""
    from safetensors.torch import load, save

    rename(finished, "trials/*/*.parquet", "0123456789abcdef0123456789abcdef.parquet")
    path = file(finished, "checkpoints/*/*")
    header = path.read_bytes()[8:]
    metadata = json.JSONDecoder().raw_decode(header.decode("latin-1"))[0]["__metadata__"]
    del metadata["sha256"]
    path.write_bytes(save(load(path.read_bytes()), metadata))
    assert check(finished) == []


def test_the_verb_prints_faults_as_lines_or_json_and_exits_with_1(finished: Store):
    def call(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["store", "check", "--store", finished.root, *options])
        return result.exit_code, result.stdout

    assert call() == (0, "no faults\n")
    assert call("--json") == (0, "[]\n")
    cut(finished, "samples/*")
    (Path(finished.root) / TEMPORARY).touch()
    code, said = call()
    assert code == 1
    assert len(said.splitlines()) == 2
    code, said = call("--json")
    assert code == 1
    assert [fault["kind"] for fault in json.loads(said)] == ["file", "temporary"]
    check_output(["store", "check"], said)


def test_the_check_reads_a_store_on_s3(store: Store):
    tiny_row = {"trial": "nobody", "step": 0, "metric": "fid", "embedding": "e", "view": "e/1000", "version": "1", "value": 1.0}
    store.append("measurements", "a", [tiny_row])
    assert [fault.where for fault in check(open_store(store.uri))] == ["measurements, trial nobody"]


def test_results_that_another_driver_publishes_meanwhile_do_not_count_as_lost(
    finished: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its trial reaches a rung between the reading of outcomes and the listing of checkpoints, and replaces a checkpoint."""
    plan = tiny.make()
    key = plan.trials[0].key
    store = open_store(str(tmp_path / "shared"), create=True)
    (name,) = [name for name in finished.files("checkpoints", below=True) if f"/{key}/" in name]
    older = f"checkpoints/{key}/00000001.safetensors"
    rows = finished.read("measurements").drop(columns=["sweep", "recorded_at"])
    original = Store.files

    def beside(self: Store, folder: str = "", **how: bool) -> dict[str, pafs.FileInfo]:
        if folder != "checkpoints":
            return original(self, folder, **how)
        store.append("measurements", "small", rows[rows["trial"] == key].to_dict("records"))
        store.write_file(name, finished.read_file(name))
        listed = original(self, folder, **how)
        return {older: listed[name], **listed}

    monkeypatch.setattr(Store, "files", beside)
    assert list(reopen(plan, Ledger.open(plan, store), store)) == []
    assert store.has_file(name)
    assert not store.list_files("damaged")
