"""What a store weighs, and the generators that pruning deletes."""

import json
import shutil
from pathlib import Path

import pytest

from bench.images.drawing import Drawing
from bench.images.generate import write_images
from bench.run import measuring
from bench.store import Store, open_store
from bench.store.trial_files import critics, generators
from bench.upkeep.prune import prune, weigh
from tests.support import tiny
from tests.support.command_line import call

PLAN = tiny.make()
SOURCE, SCRATCH, ADAPTED = PLAN.by_key

NETWORKS = ("generators", "critics")


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Store:
    """A copy of a store in which the sweep of three trials has ended; the best rung of `ADAPTED` is step 2."""
    shutil.copytree(finished_once, tmp_path / "finished")
    store = open_store(str(tmp_path / "finished"))
    rows = store.read("measurements").drop(columns=["sweep", "recorded_at"])
    chosen = rows[(rows["trial"] == ADAPTED) & (rows["step"] == 2) & (rows["metric"] == "fid")]
    store.append("measurements", "small", chosen.assign(value=0.5).to_dict("records"))
    return store


@pytest.mark.parametrize(("keep", "kept"), [(["best"], {2}), (["last"], {8}), (["best", "last"], {2, 8})])
def test_only_the_rungs_to_keep_stay(finished: Store, keep: list[str], kept: set[int]):
    before = {name: info.size for folder in NETWORKS for name, info in finished.files(folder, below=True).items()}
    others = finished.files("checkpoints", below=True).keys()
    deleted = prune(finished, keep)
    assert set(generators(finished, ADAPTED)) == kept
    assert bool(critics(finished, ADAPTED)) == ("best" in keep)
    after = [name for folder in NETWORKS for name in finished.files(folder, below=True)]
    assert (deleted.files, deleted.size) == (
        len(before) - len(after),
        sum(before[name] for name in before.keys() - set(after)),
    )
    assert finished.files("checkpoints", below=True).keys() == others
    assert prune(finished, keep).files == 0


def test_a_trial_that_has_not_ended_keeps_all(finished: Store, tmp_path: Path):
    running = open_store(str(tmp_path / "running"), create=True)
    for name in finished.files(below=True):
        if not name.startswith("trials/"):
            running.write_file(name, finished.read_file(name))
    assert prune(running, ["last"]).files == 0
    assert set(generators(running, ADAPTED)) == {0, 2, 4, 8}


def test_what_is_pruned_is_named_when_it_is_wanted(finished: Store, tmp_path: Path):
    prune(finished, ["best", "last"])
    assert "step 2: FID 0.50, the best of 2 steps: " in write_images(finished, ADAPTED, Drawing(2), tmp_path / "out")[0]
    other = tiny.make(evaluation={"samples": 96, "first_rung": 2})
    work = {each.trial.key: each for each in measuring.lacking(other, finished)}
    assert (work[ADAPTED].steps, work[ADAPTED].lost) == ((2, 8), (0, 4))
    assert "3 trials at step 0, 2, 4, of which" in (measuring.lost_line(other, list(work.values())) or "")


def test_the_weights_are_those_of_the_files(finished: Store):
    sizes = {weight.folder: (weight.files, weight.size) for weight in weigh(finished)}
    root = Path(finished.root)
    for folder in ("generators", "checkpoints", "measurements"):
        files = [path for path in (root / folder).rglob("*") if path.is_file()]
        assert sizes[folder] == (len(files), sum(path.stat().st_size for path in files))
    table = call("store", "size", "--store", finished.root)
    assert table.exit_code == 0
    assert "generators" in table.stdout
    listed = json.loads(call("store", "size", "--store", finished.root, "--json").stdout)
    assert {each["folder"]: (each["files"], each["size"]) for each in listed} == sizes


def test_the_verb_names_what_it_does_not_know(finished: Store):
    assert "unknown rung to keep 'first'" in str(call("store", "prune", "--keep", "first", "--store", finished.root).exception)
    done = call("store", "prune", "--keep", "best, last", "--store", finished.root)
    assert "networks deleted" in done.stdout
