"""What a store holds of each sweep, on a disk and on an S3 server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.store import Store, open_store
from bench.sweeps.rows import record
from bench.upkeep.inventory import holdings
from tests.support import tiny
from tests.support.command_line import call

PLAN = tiny.make()


def copy(of: Path, store: Store) -> Store:
    """Copy a store's files into another one."""
    source = open_store(str(of))
    for name in source.files(below=True):
        store.write_file(name, source.read_file(name))
    return store


def test_each_sweep_is_listed_with_its_trials_its_weight_and_its_last_file(store: Store, finished_once: Path):
    copy(finished_once, store)
    later = tiny.make(name="later", seeds=[0, 1])  # two trials are those of the other sweep
    store.write_sweep("later", record(later))
    edited = tiny.make(strategies=["scratch"], seeds=[1], sources=[])  # an edited file of the sweep that has ended
    store.write_sweep("edited", record(PLAN))
    store.write_sweep("edited", record(edited))
    store.append("measurements", "gone", [{"trial": "0" * 16, "step": 0, "metric": "fid", "view": "v", "version": "1"}])
    store.write_file(f"checkpoints/{'1' * 16}/00000004.safetensors", b"1234")
    former, gone, both, small, orphans = holdings(store)
    assert (former.plans, former.trials, former.statuses) == (2, 4, {"done": 3, "pending": 1})
    assert (former.planned, former.ended) == (1, 0)
    assert [(of.planned, of.ended) for of in (gone, both, small, orphans)] == [(None, None), (5, 3), (3, 3), (None, None)]
    assert (small.sweep, small.trials, small.statuses) == ("small", 3, {"done": 3})
    assert (both.sweep, both.trials, both.statuses) == ("later", 5, {"done": 3, "pending": 2})
    assert (gone.sweep, gone.trials, gone.statuses, gone.files) == ("gone", 0, {}, 1)
    assert (small.plans, gone.plans, orphans.plans) == (1, 0, 0)
    assert (orphans.sweep, orphans.trials, orphans.files, orphans.size) == (None, 1, 1, 4)
    infos = store.files(below=True)
    marks = ("sweep=small/", "sweeps/small.json", "samples/real-", *PLAN.by_key)
    of_small = {name: info for name, info in infos.items() if any(mark in name for mark in marks)}
    assert (small.files, small.size) == (len(of_small), sum(info.size for info in of_small.values()))
    assert small.written == max(info.mtime for info in of_small.values())
    assert small.written > datetime.now(UTC) - timedelta(hours=1)


def test_the_verb_prints_a_row_for_each_and_the_same_as_json(finished: Store):
    finished.write_file(f"generators/{'1' * 16}/00000004.safetensors", b"1234")
    printed = call("store", "list", "--store", finished.root)
    lines = [line.split() for line in printed.stdout.splitlines()]
    assert lines[0] == ["sweep", "plans", "trials", "done", "unknown", "newest", "plan", "files", "MiB", "last", "written"]
    assert lines[1][:8] == ["small", "1", "3", "3", "3", "of", "3", "ended"]
    assert lines[2][:5] == ["(no", "sweep)", "0", "1", "1"]
    small, orphans = json.loads(call("store", "list", "--store", finished.root, "--json").stdout)
    assert (small["sweep"], orphans["sweep"], orphans["size"]) == ("small", None, 4)
    assert datetime.fromisoformat(small["written"]) <= datetime.now(UTC)
    assert "none" in call("store", "list", "--store", open_store(f"{finished.root}-new", create=True).root).stdout
