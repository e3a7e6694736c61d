"""An edited sweep of the same name: its former plans stay in the store, and what was begun under them stays in order."""

import json
from pathlib import Path

import pytest

from bench.images.generate import matching_key
from bench.run.continuation import continuation
from bench.store import Store, open_store
from bench.store.plans import former_paths, read_all, read_former, sweep_of
from bench.sweeps.rows import record
from bench.upkeep.check import check
from bench.upkeep.inventory import holdings
from bench.upkeep.merge import merge
from tests.bench.test_inventory import copy
from tests.support import tiny

PLAN, EDITED = tiny.make(), tiny.make(seeds=[1], strategies=["finetune"])
BEFORE, AFTER = record(PLAN), record(EDITED)
SOURCE, SCRATCH, ADAPTED = PLAN.by_key


@pytest.fixture
def begun(store: Store, finished_once: Path) -> Store:
    """A store with a sweep of three trials that have not ended, after the sweep file was edited."""
    copy(finished_once, store)
    for name in store.list_parts("trials"):
        store.delete_file(name)
    store.write_sweep("small", AFTER)
    return store


def test_what_was_begun_under_a_former_plan_is_no_fault_and_can_be_continued(begun: Store, tmp_path: Path):
    assert list(begun.read_sweeps()) == ["small"]
    assert begun.read_sweeps()["small"] == json.loads(json.dumps(AFTER))
    (file,) = former_paths(begun)
    assert sweep_of(file) == "small"
    assert read_former(begun)[file] == json.loads(json.dumps(BEFORE))
    assert check(begun) == []
    assert matching_key(begun, SCRATCH[:8]) == SCRATCH
    assert continuation(begun, ADAPTED, 16).by_key.keys() == {SOURCE, ADAPTED}
    (held,) = holdings(begun)
    assert (held.plans, held.trials, held.statuses) == (2, 2, {"pending": 2})

    other = open_store(str(tmp_path / "other"), create=True)
    merge(begun, other)
    assert check(other) == []
    assert read_all(other) == read_all(begun)
    assert merge(begun, other).files == 0

    begun.delete_file(file)
    lost = {str(fault) for fault in check(begun)}
    assert lost == {f"measurements, trial {key}: no sweep has planned or recorded this trial" for key in (SCRATCH, ADAPTED)}


def test_a_plan_is_kept_once_and_one_that_the_next_contains_not_at_all(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)

    def former() -> list[int]:
        return [len(plan["trials"]) for plan in read_former(store).values()]

    store.write_sweep("small", BEFORE)
    store.write_sweep("small", BEFORE)
    store.write_sweep("small", {**BEFORE, "confirms": "other"})
    assert former() == []
    for number, planned in enumerate((AFTER, BEFORE, AFTER, BEFORE)):
        store.write_sweep("small", planned)
        assert len(former()) == min(number + 1, 3)
    assert former() == [3, 2, 3], "the latest first: that without and that with `confirms`, the edited one between them"
    store.write_sweep("small-2", BEFORE)
    store.write_sweep("small-2", AFTER)
    assert former() == [3, 2, 3, 3]
    store.write_file(former_paths(store)[0], b"{")
    (fault,) = check(store)
    assert (fault.kind, fault.where) == ("sweep", former_paths(store)[0])
    assert fault.what.endswith("a newer plan has replaced it; delete it")
    assert len(read_all(store)) == 5
