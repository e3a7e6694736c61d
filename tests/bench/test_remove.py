"""Sweeps and trials are removed from a store, and nothing that others use; on a disk and on an S3 server."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.driver import claims
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.store import Store, open_store
from bench.sweeps.rows import outcome_row, record
from bench.upkeep import remove as module
from bench.upkeep.check import check
from bench.upkeep.inventory import holdings
from bench.upkeep.removal import Removal, of_sweep, of_trial
from bench.upkeep.remove import remove
from tests.bench.test_inventory import copy
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError

PLAN, OTHER = tiny.make(), tiny.make(name="other", strategies=["finetune"], seeds=[1])
SOURCE, SCRATCH, ADAPTED = PLAN.by_key
NUMERALS, DIGITS = PLAN.by_key[SOURCE].domain.name, PLAN.by_key[ADAPTED].domain.name
DISTANCE = {"target": DIGITS, "resolution": 8, "kind": "fid", "embedding": "e", "value": 1.0}


def both(store: Store) -> Store:
    """Add to a store with a finished sweep another one that has the source too and has not begun."""
    store.write_sweep("small", record(tiny.make(seeds=[0, 3])))
    store.write_sweep("small", record(PLAN))
    store.write_sweep("other", record(OTHER))
    store.append("distances", "small", [
        {**DISTANCE, "source": NUMERALS}, {**DISTANCE, "source": NUMERALS, "trial": SOURCE}, {**DISTANCE, "source": "letters"},
    ])  # fmt: skip
    figure = {"resolution": 8, "figure": "spacing", "embedding": "e", "value": 1.0}
    store.append("domains", "small", [{**figure, "domain": DIGITS}, {**figure, "domain": "letters"}])
    return store


@pytest.fixture
def two(finished: Store) -> Store:
    """The store of `both` on a disk."""
    return both(finished)


def owned(store: Store) -> set[str]:
    """Return the files of a store, without claims and heartbeats."""
    return {name for name in store.files(below=True) if not name.startswith(("claims/", "drivers/"))}


def after_each(monkeypatch: pytest.MonkeyPatch, call_back: Callable[[Store, str], None]) -> None:
    """Call a function after each file that is written or deleted in a store, except claims and heartbeats."""
    for method in ("write_file", "delete_file"):
        original = getattr(Store, method)

        def changed(self: Store, name: str, *data: bytes, original: Any = original) -> None:
            original(self, name, *data)
            if not name.startswith(("claims/", "drivers/")):
                call_back(self, name)

        monkeypatch.setattr(Store, method, changed)


def test_a_sweep_goes_with_all_that_no_other_has_and_the_store_is_in_order_at_each_moment(
    store: Store, finished_once: Path, monkeypatch: pytest.MonkeyPatch
):
    two = both(copy(finished_once, store))
    source = two.read("trials").set_index("key").loc[SOURCE]
    values = len(two.read("measurements").query("trial == @SOURCE"))
    removal = of_sweep(two, "small")
    assert (set(removal.trials) & set(PLAN.by_key), removal.shared) == ({SCRATCH, ADAPTED}, {SOURCE: "other"})
    moments: list[list[str]] = []
    local = "://" not in two.uri  # a check reads the whole store
    with monkeypatch.context() as patch:
        after_each(patch, lambda store, name: moments.append(list(map(str, check(store))) if local else []))
        remove(two, removal)
    assert len(moments) > 15
    assert [faults for faults in moments if faults] == []
    assert check(two) == []
    assert list(two.read_sweeps()) == ["other"]
    (kept,) = two.read("trials").to_dict("records")
    assert (kept["key"], kept["sweep"], kept["recorded_at"]) == (SOURCE, "other", source["recorded_at"])
    assert two.has_file(kept["checkpoint"])
    assert two.has_file(kept["real_samples"])
    assert set(two.read("environments")["environment"]) == {kept["environment"]}
    assert (set(two.read("measurements")["trial"]), len(two.read("measurements"))) == ({SOURCE}, values)
    assert sorted(two.read("distances")["source"]) == [NUMERALS, NUMERALS]
    assert list(two.read("domains")["domain"]) == [DIGITS]
    text = "\n".join(owned(two))
    assert not [word for word in (SCRATCH, ADAPTED, "small") if word in text]
    (held,) = holdings(two)
    assert (held.sweep, held.statuses) == ("other", {"done": 1, "pending": 1})
    remove(two, of_sweep(two, "other"))
    assert {name.partition("/")[0] for name in owned(two)} == {"store.json", "references"}


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 6, 19])
def test_an_interrupted_removal_is_repeated(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int):
    store = copy(finished_once, open_store(str(tmp_path / "store"), create=True))
    store.write_sweep("other", record(OTHER))
    with monkeypatch.context() as patch:
        seen: list[str] = []

        def interrupt(store: Store, name: str) -> None:
            seen.append(name)
            if len(seen) == moment:
                raise KeyboardInterrupt

        after_each(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            remove(store, of_sweep(store, "small"))
    assert check(store) == []
    remove(store, of_sweep(store, "small"))
    assert check(store) == []
    text = "\n".join(owned(store))
    assert not [word for word in (SCRATCH, ADAPTED, "small", "former") if word in text]
    assert list(store.read("trials")["key"]) == [SOURCE]


def test_a_trial_goes_alone_and_a_source_from_which_trials_have_started_does_not(two: Store):
    with pytest.raises(UserError, match=f"{SOURCE} is the source of 1 trial of sweep small"):
        of_trial(two, SOURCE[:9])
    before = owned(two)
    remove(two, of_trial(two, ADAPTED[:9]))
    assert check(two) == []
    assert ADAPTED not in "\n".join(owned(two))
    assert {name for name in before - owned(two) if not name.startswith(("trials/", "measurements/"))} == {
        name for name in before if ADAPTED in name
    }
    assert set(two.read("trials")["key"]) == {SOURCE, SCRATCH}
    ledger = Ledger.open(PLAN, two)
    assert ledger.status[ADAPTED] == "pending", "its sweep has it still"
    remove(two, of_trial(two, SOURCE))
    orphan = "f" * 16
    two.write_file(f"generators/{orphan}/00000004.safetensors", b"1234")
    two.append("trials", "lost", [outcome_row(tiny.make(seeds=[9]).trials[1], "failed", "", error="x")])
    remove(two, of_trial(two, orphan))
    remove(two, of_sweep(two, "lost"))
    assert check(two) == []
    assert (set(two.read("trials")["key"]), orphan in "\n".join(owned(two))) == ({SCRATCH}, False)


def test_what_runs_is_not_removed_and_a_dead_claim_does_not_protect(two: Store, monkeypatch: pytest.MonkeyPatch):
    removals: dict[str, Callable[[], Removal]] = {
        "sweep other is run on HOST, process": lambda: of_sweep(two, "other"),
        f"trial {OTHER.trials[1].key} is claimed by a run on HOST; end": lambda: of_trial(two, OTHER.trials[1].key),
    }
    before = owned(two)
    driver = Driver(Ledger.open(OTHER, two), two)
    with driver.sharing():
        driver.take()
        assert driver._sharing is not None
        driver._sharing._claims._beat()
        (host,) = {json.loads(two.read_file(name))["host"] for name in two.list_files("drivers")}
        for message, removal in removals.items():
            with pytest.raises(UserError, match=message.replace("HOST", host)):
                remove(two, removal())
        refused = call("store", "remove", "--sweep", "other", "--dry-run", "--store", two.uri)
        assert "is run on" in str(refused.exception)
    assert owned(two) == before

    # Of a silent driver elsewhere only a change of its heartbeat would show that it lives.
    two.write_file(f"claims/{SCRATCH}.far", b"")
    two.write_file("drivers/far.json", b'{"beats": 1, "machine": "far", "host": "far", "process": [1, 1]}')
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + 20))
    monkeypatch.setattr(claims, "time", clock)
    monkeypatch.setattr(module, "time", clock)
    with pytest.raises(UserError, match=f"trial {SCRATCH} is claimed by a run on far; end that run first"):
        remove(two, of_sweep(two, "small"))
    monkeypatch.setattr("bench.upkeep.activity.LEASE", 0.0)
    notes: list[str] = []
    remove(two, of_sweep(two, "small"), notes.append)
    assert (len(notes), now[0]) == (1, 1060.0)
    assert (list(two.read_sweeps()), check(two)) == (["other"], [])


def test_the_verb_says_what_goes_and_what_stays(finished: Store):
    finished.write_sweep("other", record(OTHER))
    before = owned(finished)

    def said(*arguments: str) -> list[str]:
        result = call("store", "remove", *arguments, "--store", finished.root)
        return result.stdout.splitlines() if result.exit_code == 0 else [str(result.exception)]

    first, second = said("--sweep", "small", "--dry-run")
    assert first.startswith("2 trials and ")
    assert " files would be deleted, " in first
    assert second == "1 trial kept, for sweep other"
    assert owned(finished) == before
    assert said("--sweep", "smal") == ["unknown sweep 'smal'; did you mean small? Known: other, small"]
    assert "one of them" in said()[0]
    assert "by its key" in said("--trial", "best")[0]
    first, second = said("--trial", SCRATCH)
    assert second == f"{SCRATCH} is still planned by sweep small: `transfergan run` trains it again"
    finished.write_file("sweeps/torn.json", b"{")
    assert "nothing is removed, as what its sweep uses is unknown" in said("--sweep", "small")[0]
    finished.delete_file("sweeps/torn.json")
    assert said("--sweep", "small")[0].startswith("2 trials and ")
    assert list(finished.read_sweeps()) == ["other"]
