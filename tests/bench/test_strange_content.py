"""Damaged, foreign and newer content of a store: it is left out or set aside, a line names it, and every verb goes on."""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.store import SCHEMAS, Store, open_store
from bench.store.content import parse_json
from bench.store.environments import record_environment
from bench.store.references import StoredReferences
from bench.store.trial_files import checkpoint_path, last_checkpoint, samples_path
from bench.sweeps.rows import outcome_row
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from tests.bench.test_check import file
from tests.support.command_line import call, sweep_store, tree
from tests.support.endurance import TIMES
from tests.support.synthetic import grid
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError, UserError
from trainers.evaluation.metrics.fid import Statistics
from trainers.evaluation.references import Reference, dump
from trainers.trial import checkpoints

NOW = datetime.now(UTC)
DEEP = "[" * 100_000

#: A column of texts with one byte that is no UTF-8.
NOT_TEXT = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("<ii", 0, 1)), pa.py_buffer(b"\xff"))


def part(store: Store, table: str, rows: list[dict[str, Any]]) -> None:
    """Write a part with rows of the table's schema as another program would."""
    path = Path(store.root, table, "sweep=foreign", f"{table}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    dated = [{"recorded_at": NOW, **row} for row in rows]
    pq.write_table(pa.Table.from_pylist(dated, schema=SCHEMAS[table]), path)  # type: ignore[index]


def changed(store: Store, **changes: Any) -> None:
    """Record a trial again, done at a later step and with some columns changed."""
    rows = store.read("trials").drop(columns=["sweep", "recorded_at"])
    row = rows.astype(object).where(rows.notna(), None).iloc[-1].to_dict()
    part(store, "trials", [{**row, "key": "0" * 16, **changes}])


def table(store: Store, columns: list[str], values: list[Any]) -> None:
    path = Path(store.root, "trials", "sweep=foreign", "foreign.parquet")
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(values, names=columns), path)


def plan(store: Store, **changes: Any) -> None:
    planned = store.read_sweep("sweeps/small.json")
    first = {**planned["trials"][0], **changes}
    text = json.dumps({**planned, "trials": [first, *planned["trials"][1:]]})
    Path(store.root, "sweeps", "foreign.json").write_text(text)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tensors(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def replace(store: Store, pattern: str, data: bytes) -> None:
    file(store, pattern).write_bytes(data)


#: By name, what is done to a store, and what the check then says of it.
STRANGE: dict[str, tuple[Callable[[Store], None], str]] = {
    "an unknown status": (lambda s: changed(s, status="paused-by-a-newer-version"), "1 row lacks a key, or a status"),
    "no status": (lambda s: changed(s, status=None), "1 row lacks a key, or a status"),
    "no key": (lambda s: changed(s, key=None), "1 row lacks a key, or a status"),
    "an unknown kind": (lambda s: changed(s, kind="distil"), "1 row lacks a key, or a status"),
    "no budget": (lambda s: changed(s, budget=None), "its configuration's key is"),
    "no steps": (lambda s: changed(s, steps=None), "its configuration's key is"),
    "no time": (lambda s: changed(s, recorded_at=None), "its configuration's key is"),
    "the largest numbers": (lambda s: changed(s, steps=2**63 - 1, budget=2**63 - 1, size=2**63 - 1), "configuration's key is"),
    "negative numbers": (lambda s: changed(s, steps=-5, budget=-5, size=-5), "its configuration's key is"),
    "no numbers": (lambda s: changed(s, seconds=float("nan"), images_per_second=float("inf")), "configuration's key is"),
    "no JSON in a configuration": (lambda s: changed(s, config="{'kind': 1"), "1 row lacks a key, or a status"),
    "deep JSON in a configuration": (lambda s: changed(s, config=DEEP), "1 row lacks a key, or a status"),
    "infinity in a configuration": (lambda s: changed(s, config='{"training": {"steps": Infinity}}'), "1 row lacks a key"),
    "a list as a section": (lambda s: changed(s, config='{"training": [1]}'), "1 row lacks a key, or a status"),
    "another configuration": (lambda s: changed(s, config='{"training": {}}'), "its configuration cannot be read"),
    "a measurement of no trial": (
        lambda s: part(s, "measurements", [{"step": 2, "metric": "fid", "embedding": "e", "value": 1.0}]),
        "1 row lacks a trial, step",
    ),
    "a measurement of no metric": (
        lambda s: part(s, "measurements", [{"trial": "t", "step": 2, "embedding": "e", "value": 1.0}] * 2),
        "2 rows lack a trial, step",
    ),
    "a distance of no source": (
        lambda s: part(s, "distances", [{"target": "digits", "kind": "fid", "embedding": "e"}]), "1 row lacks a source",
    ),
    "no details of a machine": (lambda s: part(s, "environments", [{"environment": "e", "details": DEEP}]), "details in JSON"),
    "a column twice": (lambda s: table(s, ["key", "key", "recorded_at"], [["a"], ["b"], [NOW]]), "column key occurs twice"),
    "a number beyond its column": (
        lambda s: table(s, ["steps", "recorded_at"], [pa.array([2**64 - 1], pa.uint64()), [NOW]]),
        "not have this table's schema",
    ),
    "a text that is not UTF-8": (lambda s: table(s, ["key", "recorded_at"], [NOT_TEXT, [NOW]]), "not a complete Parquet file"),
    "a plan that is deep": (lambda s: s.write_file("sweeps/foreign.json", DEEP.encode()), "it is no JSON"),
    "a plan with infinity": (lambda s: plan(s, size=float("inf")), "it is no JSON"),
    "a plan with a number beyond its column": (lambda s: plan(s, size=10**30), "trials.0.size: "),
    "a plan with a text for a number": (lambda s: plan(s, seed="one"), "trials.0.seed: "),
    "a plan with a number for a text": (lambda s: plan(s, target=7), "trials.0.target: "),
    "a plan with a configuration that is no JSON": (lambda s: plan(s, config="}"), "trials.0.config: "),
    "metadata that is no mapping": (
        lambda s: replace(s, "checkpoints/*/*", tensors({"__metadata__": [1]})), "its metadata is no mapping to texts",
    ),
    "metadata with numbers": (
        lambda s: replace(s, "checkpoints/*/*", tensors({"__metadata__": {"a": 1}})), "its metadata is no mapping to texts",
    ),
    "a deep header": (lambda s: replace(s, "checkpoints/*/*", tensors(DEEP.encode())), "not a safetensors file"),
    "an infinite length": (
        lambda s: replace(s, "checkpoints/*/*", tensors(b'{"a": {"data_offsets": [0, Infinity]}}')), "not a safetensors file",
    ),
    "tensors of another program": (lambda s: replace(s, "checkpoints/*/*", tensors({})), "it is no checkpoint"),
    "a reference of another program": (lambda s: replace(s, "references/*", tensors({})), "not a complete reference"),
    "a bomb": (lambda s: replace(s, "samples/*", png(60_000, 60_000)), "not a complete image: "),
    "a smaller bomb": (lambda s: replace(s, "samples/*", png(12_000, 12_000)), "it has 12,000 x 12,000 pixels"),
    "a picture of another kind": (lambda s: replace(s, "samples/*", b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not a complete image"),
}  # fmt: skip


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with a sweep whose trials are recorded as done, with values of a formula and files of each kind."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    store, plan = sweep_store(folder, sources=["letters"], sizes=[10], evaluation={"samples": 64})
    environment = record_environment(store, "small")
    outcomes: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for number, trial in enumerate(plan.trials):
        steps = trial.training.steps
        files = {"checkpoint": checkpoint_path(trial.key, steps), "samples": samples_path(trial.key, steps)}
        store.write_file(files["checkpoint"], checkpoints.pack({}, trial, steps, {}, {"fid": 1.0}))
        store.write_file(files["samples"], grid(8, number, 0.5))
        outcomes.append(outcome_row(trial, "done", environment, {"seconds": 1.0}, steps=steps, **files))
        for step in (0, *trial.rungs):
            row = {
                "trial": trial.key,
                "step": step,
                "embedding": "builtin:1",
                "samples": 64,
                "view": trial.evaluation.view,
                "version": "1",
            }
            values += [{**row, "metric": metric, "value": 10.0 + number - step / 400} for metric in ("fid", "kid")]
    store.append("trials", "small", outcomes)
    store.append("measurements", "small", values)
    features = np.zeros((2, 3), np.float32)
    for name in ("a", "b"):
        path = f"references/{name}.safetensors"
        reference = dump(Reference(features, None, Statistics(np.zeros(3), np.eye(3), 2)))
        store.write_file(path, sealed_tensors.label(reference, reference=path))
    return folder


@pytest.fixture
def whole(once: Path, tmp_path: Path) -> Store:
    """A store without a fault, which tests may change."""
    shutil.copytree(once, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


def test_the_store_has_no_fault_before(whole: Store):
    assert check(whole) == []


@pytest.mark.endurance  # the suite writes one report, of a store with all of them
@pytest.mark.parametrize("name", STRANGE)
def test_every_verb_goes_on(whole: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str):
    change, said = STRANGE[name]
    change(whole)
    before = tree(Path(whole.root))
    faults = [str(fault) for fault in check(whole)]
    assert tree(Path(whole.root)) == before
    assert any(said in fault for fault in faults), faults
    assert all("\n" not in fault and len(fault) < 400 for fault in faults)
    for verb in (
        ("status", "--store", whole.root),
        *((("report", "--store", whole.root, "--out", tmp_path / "report.md"),) if TIMES else ()),
        ("store", "merge", whole.root, "--store", tmp_path / "merged"),
        ("store", "compact", "--store", whole.root),
    ):
        result = call(*verb)
        assert result.exception is None, f"{verb}: {result.exception!r}"
    for row in whole.read("trials")["key"]:
        if (kept := last_checkpoint(whole, row)) is not None:
            checkpoints.load(kept[1], kept[0])
    assert all("\n" not in message for message in caplog.messages)


def test_the_page_and_a_comparison_of_a_store_with_all_of_them(whole: Store, tmp_path: Path):
    for number, (change, _) in enumerate(STRANGE.values()):
        change(whole)
        for foreign in ("trials", "measurements", "distances", "environments"):
            for path in Path(whole.root, foreign, "sweep=foreign").glob("*.parquet"):
                if not path.stem.isdigit():
                    path.rename(path.with_name(f"{number}.parquet"))
        if (plan := Path(whole.root, "sweeps", "foreign.json")).exists():
            plan.rename(plan.with_name(f"{number}.json"))
    for verb in (("report", "--store", whole.root, "--out", tmp_path / "report.html"), ("compare", whole.root, whole.root)):
        result = call(*verb)
        assert result.exception is None, f"{verb}: {result.exception!r}"
    result = call("generate", "--store", whole.root, "--trial", whole.read("trials")["key"][0], "--out", tmp_path / "images")
    assert isinstance(result.exception, UserError)


def test_what_is_left_out_is_said_once(whole: Store, caplog: pytest.LogCaptureFixture):
    changed(whole, status="paused")
    assert len(whole.read("trials")) == len(whole.read("trials")) == 3
    assert [message for message in caplog.messages if "1 row lacks a key, or a status" in message] == caplog.messages[:1]
    assert len(caplog.messages) == 1


def test_a_compaction_keeps_rows_and_columns_that_only_a_newer_version_knows(whole: Store, caplog: pytest.LogCaptureFixture):
    changed(whole, status="paused")
    newer = Path(whole.root, "trials", "sweep=small", "newer.parquet")
    pq.write_table(pa.table({"key": ["n"], "status": ["done"], "recorded_at": [NOW], "colour": ["red"]}), newer)
    before = newer.read_bytes()
    compact(whole)
    assert newer.read_bytes() == before
    assert any("trials/sweep=small/newer.parquet is left as it is" in message for message in caplog.messages)
    rows = pd.concat(pd.read_parquet(path) for path in Path(whole.root, "trials").rglob("*.parquet"))
    assert sorted(rows["status"]) == ["done"] * 4 + ["paused"]


def test_rows_without_a_time_count_as_the_oldest(whole: Store):
    last = whole.read("trials").iloc[-1]["key"]
    changed(whole, key=last, steps=8, recorded_at=None, error="of another program")
    rows = whole.read("trials").set_index("key")
    assert pd.isna(rows.loc[last, "error"])


@pytest.mark.parametrize("text", [DEEP, "[" * 60 + "]" * 60, "Infinity", '{"a": 1e999}', "NaN", "{", "\udcff", ""])
def test_json_that_is_not_read(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are those of several parsers
        parse_json(text)


def test_json_that_is_read():
    assert parse_json('{"a": [1, 2.5, null, "x"]}') == {"a": [1, 2.5, None, "x"]}


def test_a_label_is_sealed_and_read():
    data = sealed_tensors.seal(tensors({"__metadata__": {"a": "b"}}))
    labelled = sealed_tensors.label(data, reference="x")
    sealed_tensors.check(labelled)
    assert {"a": "b", "reference": "x"}.items() <= sealed_tensors.metadata(labelled).items()
    with pytest.raises(DamagedError):
        sealed_tensors.check(labelled.replace(b'"x"', b'"y"'))


def test_the_reference_of_another_domain_is_a_fault_and_not_read(whole: Store):
    names = whole.list_files("references")
    whole.write_file(names[0], whole.read_file(names[1]))
    (fault,) = check(whole)
    assert str(fault) == f"{names[0]}: it is the reference of another domain, resolution or embedding"
    references = StoredReferences(whole)
    assert references._read(names[0]) is None
    assert references._read(names[1]) is not None


def test_a_checkpoint_without_a_trial_is_set_aside(whole: Store):
    key = whole.read("trials")["key"][0]
    replace(whole, f"checkpoints/{key}/*", tensors({}))
    assert last_checkpoint(whole, key) is None


def test_a_store_with_a_version_that_is_deep_is_refused(tmp_path: Path):
    (tmp_path / "store.json").write_text(DEEP)
    with pytest.raises(UserError, match="damaged"):
        open_store(str(tmp_path))
