"""An edited sweep of the same name: its former plans stay in the store, and what was begun under them stays in order."""

import json
import os
from pathlib import Path

import pytest

from bench.images.generate import matching_key
from bench.run.continuation import continuation
from bench.store import Store, open_store
from bench.store.plans import former_paths, last_run, read_all, read_former, reported_as, sweep_of
from bench.sweeps.rows import record
from bench.upkeep.check import check
from bench.upkeep.inventory import holdings
from bench.upkeep.merge import merge
from tests.bench.test_inventory import copy
from tests.support import tiny
from tests.support.command_line import call
from tests.support.synthetic import build

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


def test_the_sweep_that_was_run_last_is_reported(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    assert last_run(store) == (None, [])
    tuned = {"spec": {}, "trials": [{"key": "t", "kind": "tune"}]}
    other = record(tiny.make(name="other", seeds=[7]))
    kept = {"one": BEFORE, "other": other, "one-tuning-1": tuned, "other-confirm": {**other, "confirms": "other"}}
    written = [*kept, "one", f"continue-{ADAPTED}", "other"]
    expected = ["one", "other", "other", "other", "one", "one", "other"]
    kept |= {f"continue-{ADAPTED}": {**BEFORE, "continues": ADAPTED}}
    for number, name in enumerate(written):
        store.write_sweep(name, kept[name])
        os.utime(f"{store.root}/sweeps/{name}.json", (number, number))
        assert last_run(store)[0] == expected[number], name
    assert last_run(store) == ("other", ["one"])
    assert [reported_as(store, name) for name in kept] == ["one", "other", None, "other", "one"]
    assert reported_as(store, "none") is None


@pytest.mark.slow
def test_the_report_is_that_of_the_last_run_unless_another_is_named(tmp_path: Path):
    store = build(tmp_path / "store", sizes=(50,), seeds=(0,), images=False)
    later = {**store.read_sweeps()["quickstart"], "trials": record(PLAN)["trials"]}
    store.write_sweep("later", {**later, "spec": {"name": "later"}})
    os.utime(f"{store.root}/sweeps/quickstart.json", (1, 1))
    out = tmp_path / "page.md"

    def said(*options: str) -> tuple[str, str]:
        result = call("report", "--store", store.root, "--out", out, *options)
        assert (result.exit_code, result.stdout) == (0, f"report: {out}\n")
        return result.stderr, out.read_text()

    note, page = said()
    assert note == "note: of sweep later, which was run last; --sweep NAME for quickstart, or --sweep all\n"
    assert "Sweep later:" in page
    assert [said("--sweep", name)[0] for name in ("quickstart", "all")] == ["", ""]
    assert "Sweep later, quickstart:" in out.read_text()
