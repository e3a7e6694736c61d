"""The parts of a running sweep are merged, on a directory and on an S3 server; no row is lost or doubled at any moment."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from bench.driver.results import Results
from bench.store import Store, parts
from bench.store.schema import SCHEMAS
from bench.upkeep import small_parts
from bench.upkeep.check import check
from bench.upkeep.compact import compact
from bench.upkeep.removal import of_trial
from bench.upkeep.remove import remove
from bench.upkeep.small_parts import SmallParts, merging
from tests.bench.test_store import measurement
from tests.support import tiny


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_parts, "MANY", 3)
    monkeypatch.setattr(small_parts, "MANY_MERGED", 2)


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(small_parts, "GRACE", timedelta(days=-1))


def of(store: Store) -> SmallParts:
    return SmallParts(store, "measurements", "a")


def append(store: Store, *steps: int) -> None:
    for step in steps:
        store.append("measurements", "a", [measurement(step=step, value=float(step))])


def steps(store: Store) -> list[int]:
    return sorted(store.read("measurements")["step"])


def listed(store: Store) -> list[bool]:
    """Return for each part of the measurements whether it is a merged one."""
    return sorted(parts.is_merged(Path(name).name) for name in store.list_parts("measurements"))


def elsewhere(store: Store) -> pd.DataFrame:
    """Return the measurements as another program reads them."""
    return pd.read_parquet(f"{store.root}/measurements", filesystem=store.filesystem)


def test_many_small_parts_become_one_and_live_on_for_a_while(store: Store, no_grace: Callable[[], None]):
    append(store, 0, 1)
    driver = of(store)
    driver.look()
    assert listed(store) == [False] * 2, "they are few"
    append(store, 2, 3)
    driver.look()
    assert listed(store) == [*[False] * 4, True]
    (merged,) = store.read_parts("measurements").values()
    assert len(merged) == 4, "the parts that it replaces are not read"
    assert steps(store) == [0, 1, 2, 3]
    both = elsewhere(store)
    assert len(both) == 8
    assert len(both.drop_duplicates(["trial", "step", "recorded_at"])) == 4
    driver.look()
    assert len(listed(store)) == 5, "nothing is merged twice"
    append(store, 4, 5, 6)
    driver.look()
    assert listed(store) == [*[False] * 7, True, True]
    no_grace()
    of(store).look()  # by a driver that comes later
    assert listed(store) == [True, True, True], "their turn comes when what they replace is gone"
    of(store).look()
    assert listed(store) == [True]
    assert steps(store) == list(range(7))
    assert len(elsewhere(store)) == 7


def test_every_row_is_read_once_whenever_a_driver_is_killed(
    store: Store, no_grace: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    append(store, *range(9))
    no_grace()
    moments = []
    for method in ("write_file", "delete_file"):
        original = getattr(Store, method)

        def then(store: Store, name: str, *data: bytes, original: Callable[..., None] = original) -> None:
            original(store, name, *data)
            moments.append(steps(store))

        monkeypatch.setattr(Store, method, then)
    for _ in range(3):
        of(store).look()
    assert len(moments) == 1 + 9
    assert all(moment == list(range(9)) for moment in moments)


def test_copies_of_two_drivers_are_dropped_and_rows_that_differ_are_kept(
    store: Store, no_grace: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    append(store, 0, 1, 2)
    store.append("measurements", "a", [measurement(step=0, value=9.0)])
    one, other = of(store), of(store)
    original = Store.write_file

    def meanwhile(store: Store, name: str, data: bytes) -> None:
        monkeypatch.setattr(Store, "write_file", original)
        store.append("measurements", "a", [measurement(step=3)])
        other.look()
        original(store, name, data)

    monkeypatch.setattr(Store, "write_file", meanwhile)
    one.look()
    assert listed(store) == [*[False] * 5, True, True]
    assert steps(store) == [0, 1, 2, 3]
    no_grace()
    of(store).look()
    of(store).look()
    assert sorted(elsewhere(store)["step"]) == [0, 0, 1, 2, 3]
    assert [fault.kind for fault in check(store) if fault.kind == "differing"] == ["differing"]


def test_a_part_that_goes_meanwhile_is_not_brought_back(store: Store, monkeypatch: pytest.MonkeyPatch):
    append(store, 0, 1, 2)
    original = parts.unpack

    def unpack(name: str, data: bytes, schema: pa.Schema) -> pa.Table:
        if schema is SCHEMAS["measurements"]:
            store.delete_file(f"measurements/sweep=a/{name}")
        return original(name, data, schema)

    monkeypatch.setattr(parts, "unpack", unpack)
    of(store).look()
    assert listed(store) == []


def test_damaged_and_foreign_parts_are_left_and_a_damaged_merged_one_hides_nothing(store: Store):
    append(store, 0, 1, 2, 3)
    damaged = store.list_parts("measurements")[0]
    store.write_file(damaged, store.read_file(damaged)[:-1])
    rows = pa.Table.from_pylist([{**measurement(step=8), "colour": "red"}])
    newer = rows.append_column("recorded_at", pa.nulls(1, pa.timestamp("us", tz="UTC")))
    store.append_part("measurements", "a", newer)
    store.write_file("measurements/sweep=a/foreign.parquet", parts.pack(newer)[1])
    of(store).look()
    (merged,) = (name for name in store.list_parts("measurements") if parts.is_merged(Path(name).name))
    assert len(parts.replaced(store.read_file(merged))) == 3
    before = steps(store)
    assert len(before) == 4
    store.write_file(merged, store.read_file(merged)[:-1])
    SmallParts(store, "measurements", "a").delete_replaced(None)
    assert steps(store) == before
    assert merged not in store.list_parts("measurements"), "set aside"


def test_a_compaction_leaves_one_part(store: Store):
    append(store, 0, 1, 2, 3)
    of(store).look()
    append(store, 4)
    compact(store)
    assert listed(store) == [True]
    assert steps(store) == list(range(5))


def test_a_removed_trial_does_not_come_back(finished: Store, no_grace: Callable[[], None]):
    key = tiny.make().trials[-1].key
    for table in SCHEMAS:
        SmallParts(finished, table, "small").look()
    assert any(parts.is_merged(Path(name).name) for name in finished.list_parts("measurements"))
    remove(finished, of_trial(finished, key))
    no_grace()
    for table in SCHEMAS:
        SmallParts(finished, table, "small").look()
    assert key not in set(finished.read("measurements")["trial"])
    assert len(set(finished.read("measurements")["trial"])) == 2
    assert not check(finished)


def test_a_driver_that_has_read_the_parts_reads_them_merged_too(finished: Store, no_grace: Callable[[], None]):
    results = Results(tiny.make(), finished)
    results.update()
    values = {key: dict(of_trial) for key, of_trial in results.values.items()}
    no_grace()
    for _ in range(2):
        SmallParts(finished, "measurements", "small").look()
    assert len(finished.list_parts("measurements")) == 1
    results.update()
    fresh = Results(tiny.make(), finished)
    fresh.update()
    assert fresh.values == results.values == values


def test_parts_are_merged_in_the_background(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(small_parts, "PAUSE", 0.01)

    def until_merged() -> Iterator[int]:
        step = 0
        while not any(listed(store)):
            append(store, step)
            yield step
            step += 1

    with merging(store, "a"):
        written = list(until_merged())
    assert steps(store) == written
