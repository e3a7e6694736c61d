"""Properties that hold for any content of a store and any sweep file: one line, or a result, and never another exception.

Hypothesis keeps the failures that it has seen in ``.hypothesis`` and tries them again first. For hours instead of seconds:
``make endurance TESTS=tests/bench/test_any_content.py ENDURANCE=50``.
"""

import json
import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from analysis.frames import load
from analysis.report import markdown
from bench.run.status import progressing, tables
from bench.store import SCHEMAS, Store, open_store
from bench.store.grids import open_grid
from bench.store.parts import pack, unpack
from bench.store.schema import Table
from bench.store.trial_files import check_checkpoint
from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.rows import record
from bench.sweeps.spec import SweepSpec
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from bench.upkeep.merge import merge
from tests.support.command_line import SPEC
from tests.support.endurance import TIMES, repeats
from tests.support.synthetic import grid
from trainers.common.errors import DamagedError, UserError, UserErrors
from trainers.trial import checkpoints

pytestmark = pytest.mark.endurance

#: Few examples in the suite, and the same every time, so that it fails only for what has changed; `make endurance` searches.
#: Examples have no deadline, as this machine may be busy.
few = settings(
    max_examples=repeats(30, full=2000), deadline=None, suppress_health_check=list(HealthCheck), derandomize=not TIMES
)
fewer = settings(few, max_examples=repeats(3, full=100))

PLAN = make_plan(SweepSpec.model_validate(SPEC))
PLANNED = json.loads(json.dumps(record(PLAN)))
KEYS = [trial.key for trial in PLAN.trials]

WORDS = ["true", "010", "1e400", "nan", "../x", "\0", "letters", "finetune", "import:x", "folder:/nowhere", "{}", "["]

scalars = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
anything = st.recursive(
    scalars, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=6), parts, max_size=3), max_leaves=6
)


@contextmanager
def new_store() -> Iterator[Store]:
    logging.getLogger("transfergan").disabled = True
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"{folder}/store", create=True)
            store.write_sweep("small", PLANNED)
            yield store
    finally:
        logging.getLogger("transfergan").disabled = False


def read_by_all(store: Store) -> None:
    """Read a store as the verbs do. A UserError is one line; anything else fails the test."""
    for fault in check(store):
        assert "\n" not in str(fault)
    for of in progressing(store):
        assert [*tables(of)]
    markdown.render(load(store), None)
    with tempfile.TemporaryDirectory() as folder:
        merge(store, open_store(f"{folder}/merged", create=True))
    compact(store)
    for of in progressing(store):
        assert [*tables(of)]


def values_of(kind: pa.DataType, name: str) -> st.SearchStrategy[Any]:
    """Return values of a column, that occur in a store or not."""
    if pa.types.is_integer(kind):
        return st.sampled_from([None, 0, 1, 2, 10, 20, 50, -1, 2**31, 2**63 - 1, -(2**63)])
    if pa.types.is_floating(kind):
        return st.none() | st.floats()
    if pa.types.is_boolean(kind):
        return st.none() | st.booleans()
    if pa.types.is_timestamp(kind):
        return st.none() | st.just(datetime(2026, 1, 1, tzinfo=UTC))
    if pa.types.is_list(kind):
        return st.none() | st.lists(st.floats(width=32), max_size=3)
    words = ["done", "stopped", "diverged", "failed", "blocked", "paused", "pretrain", "adapt", "tune", "fid", "kid", "fid/0"]
    words += ["e", "letters", "digits", "letters -> digits", "scratch", "finetune", "c", "", "../x", "{}", "[]", '{"gan": 1}']
    configs = [trial.canonical_json() for trial in PLAN.trials[:2]] if name == "config" else []
    return st.none() | st.sampled_from([*words, *KEYS[:3], *configs]) | st.text(max_size=5)


def rows_of(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {field.name: values_of(field.type, field.name) for field in SCHEMAS[table]}
    return st.lists(st.fixed_dictionaries(columns), max_size=4)


real_trials = st.lists(
    st.tuples(
        st.sampled_from(PLANNED["trials"]),
        st.fixed_dictionaries({"status": st.sampled_from(["done", "stopped", "failed", "x"]), "steps": st.integers(0, 300)}),
        st.sampled_from([field.name for field in SCHEMAS["trials"]]).flatmap(
            lambda name: st.tuples(st.just(name), values_of(SCHEMAS["trials"].field(name).type, name))
        ),
    ).map(lambda parts: {**parts[0], **parts[1], parts[2][0]: parts[2][1]}),
    max_size=3,
)


@pytest.mark.slow
@fewer
@given(trials=rows_of("trials"), near=real_trials, measured=rows_of("measurements"), distances=rows_of("distances"),
       domains=rows_of("domains"), environments=rows_of("environments"))  # fmt: skip
def test_any_rows_are_read(
    trials: list[dict[str, Any]], near: list[dict[str, Any]], measured: list[dict[str, Any]], distances: list[dict[str, Any]],
    domains: list[dict[str, Any]], environments: list[dict[str, Any]],
) -> None:  # fmt: skip
    tables: dict[Table, list[dict[str, Any]]] = {
        "trials": trials, "measurements": measured, "distances": distances, "domains": domains, "environments": environments,
    }  # fmt: skip
    with new_store() as store:
        for table, rows in tables.items():
            store.append_part(table, "foreign", pa.Table.from_pylist(rows, schema=SCHEMAS[table]))
        dated = [{"recorded_at": datetime.now(UTC), **row} for row in near]
        store.append_part("trials", "near", pa.Table.from_pylist(dated, schema=SCHEMAS["trials"]))
        read_by_all(store)


#: Where a plan is changed.
PLACES: list[tuple[str | int, ...]] = [
    ("spec",), ("trials",), ("trials", 0), ("tuning",), ("confirms",), ("cells",),
    *(("trials", 0, name) for name in PLANNED["trials"][0]), *(("spec", name) for name in PLANNED["spec"]),
]  # fmt: skip


@pytest.mark.slow
@fewer
@given(path=st.sampled_from(PLACES), value=anything)
def test_any_plan_is_read(path: tuple[str | int, ...], value: Any) -> None:
    changed = json.loads(json.dumps(PLANNED))
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with new_store() as store:
        store.write_file("sweeps/other.json", json.dumps(changed).encode())
        read_by_all(store)


@few
@given(changes=st.dictionaries(
    st.sampled_from([*SweepSpec.model_fields, *(f"{section}.{key}" for section in ("gan", "training", "evaluation", "stopping",
        "pretrain", "resources") for key in SweepSpec.model_fields[section].annotation.model_fields)]),  # type: ignore[union-attr]
    anything, max_size=3,
))  # fmt: skip
@example({"domains": {"\n": None}})
def test_any_value_in_a_sweep_file_is_accepted_or_refused_in_a_line_per_mistake(changes: dict[str, Any]) -> None:
    data: dict[str, Any] = {"name": "t", "targets": ["digits"], "sizes": [10], "strategies": ["scratch"]}
    for name, value in changes.items():
        section, _, key = name.rpartition(".")
        place = data.setdefault(section, {}) if section else data
        if isinstance(place, dict):  # another change may have set the section to anything
            place[key] = value
    accepted_or_refused(yaml.safe_dump(data))


@few
@given(text=st.text(st.characters(codec="utf-8") | st.sampled_from(list("[]{}:,-&*!|>'\"\n #%@`?0123456789x_")), max_size=60))
@example("sizes: &a [*a, *a]")
@example("<<: &a {x: *a}")
@example("? {a: b}\n: c")
def test_any_text_is_accepted_or_refused_in_a_line_per_mistake(text: str) -> None:
    accepted_or_refused(text)
    accepted_or_refused(f"name: t\ntargets: [digits]\nstrategies: [scratch]\nsizes: {text}")


def accepted_or_refused(text: str) -> None:
    refusals = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sweep.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            load_spec(str(path))
        except UserErrors as errors:
            refusals = errors.problems
        except UserError as error:
            refusals = [str(error)]
    for refusal in refusals:
        assert "\n" not in refusal
        assert len(refusal) < 1000


CHECKPOINT = checkpoints.pack({}, PLAN.trials[0], 2, {}, {"fid": 1.0})
PART = pack(pa.Table.from_pylist([{"key": "k", "recorded_at": datetime(2026, 1, 1, tzinfo=UTC)}], schema=SCHEMAS["trials"]))[1]
FILES = {"checkpoint": CHECKPOINT, "tensors": save({}), "part": PART, "picture": grid(8, 1, 0.5)}


@few
@given(kind=st.sampled_from(sorted(FILES)), edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
       end=st.integers(0, 10**6) | st.none(), tail=st.binary(max_size=4))  # fmt: skip
def test_any_bytes_are_read_or_damaged(kind: str, edits: list[tuple[int, int]], end: int | None, tail: bytes) -> None:
    data = bytearray(FILES[kind])
    for position, value in edits:
        data[position % len(data)] = value
    read_or_damaged(kind, bytes(data[: None if end is None else end % (len(data) + 1)]) + tail)


def test_a_column_whose_name_is_no_text_is_damage() -> None:
    data = FILES["part"].replace(b"environment", b"\x80nvironment")
    assert data != FILES["part"]
    with pytest.raises(DamagedError, match="not a complete Parquet file: 'utf-8' codec can't decode byte 0x80"):
        unpack(f"{uuid.uuid4().hex}.parquet", data, SCHEMAS["trials"])


@few
@given(header=st.dictionaries(st.sampled_from(["__metadata__", "generator.x", "random"]), anything))
def test_any_header_of_a_checkpoint_is_read_or_damaged(header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    read_or_damaged("checkpoint", len(text).to_bytes(8, "little") + text)


METADATA = ("format", "trial", "step", "report", "matches")


def test_a_format_of_several_lines_is_named_in_one() -> None:
    text = json.dumps({"__metadata__": {"format": "a\nb"}}).encode()
    with pytest.raises(UserError, match=r"has format 'a\\nb'; this"):
        checkpoints.load(len(text).to_bytes(8, "little") + text, "there")


@few
@given(metadata=st.fixed_dictionaries({}, optional=dict.fromkeys(METADATA, st.text(max_size=5) | anything.map(json.dumps))))
def test_any_metadata_of_a_checkpoint_is_read_or_damaged(metadata: dict[str, str]) -> None:
    text = json.dumps({"__metadata__": {"format": checkpoints.FORMAT, **metadata}}).encode()
    read_or_damaged("checkpoint", len(text).to_bytes(8, "little") + text)


def read_or_damaged(kind: str, data: bytes) -> None:
    """Read bytes as a file of a kind. Damage is a DamagedError or a UserError, of one line."""
    damage = ""
    try:
        if kind == "part":
            unpack(f"{uuid.uuid4().hex}.parquet", data, SCHEMAS["trials"])
        elif kind == "picture":
            read_picture(data)
        else:
            with new_store() as store:
                check_checkpoint(store, f"checkpoints/{KEYS[0]}/00000002.safetensors", data)
            checkpoints.load(data, "there")
    except (DamagedError, UserError) as error:
        damage = str(error)
    assert "\n" not in damage


def read_picture(data: bytes) -> None:
    try:
        with open_grid(data) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedError("no picture") from error
