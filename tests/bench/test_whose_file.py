"""Names, links and checkpoints that lead to a file of someone else: nothing is read through them, and a line names them."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.frames import load
from analysis.report.page import render
from bench.images.drawing import Drawing
from bench.images.generate import write_images
from bench.store import Store, open_store
from bench.store.store import OutsideError
from bench.store.trial_files import checkpoint_path, checkpoint_paths, generators, last_checkpoint
from bench.upkeep.check import check
from bench.upkeep.merge import merge
from tests.support import tiny
from tests.support.synthetic import build, grid
from trainers.common.errors import UserError

NAMES = ["/etc/hostname", "../secret.png", "samples/../../secret.png", "samples/..", "samples/a\0.png", ".."]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_out_of_a_store_is_refused(store: Store, name: str):
    assert not store.has_file(name)
    assert store.list_files(name) == []
    for use in (store.read_file, lambda name: store.write_file(name, b"")):
        with pytest.raises(OutsideError, match="leads out of the store"):
            use(name)


@pytest.fixture
def linked(tmp_path: Path) -> Store:
    """A store with links to a private folder and file beside it, to nothing, in a circle, and to a file of its own."""
    private, root = tmp_path / "private", tmp_path / "store"
    private.mkdir()
    (private / "a.png").write_bytes(grid(8, 1, 0.5))
    store = open_store(str(root), create=True)
    store.write_file("samples/true.png", grid(8, 2, 0.5))
    for name, target in {
        "samples/file.png": private / "a.png",
        "samples/folder": private,
        "samples/nothing.png": Path("nowhere.png"),
        "samples/circle.png": Path("circle.png"),
        "checkpoints": private,
        "references": Path("..", "..", tmp_path.name, "private"),
        "samples/same": Path(),  # a link to its folder: its content would repeat for ever
        "samples/own.png": Path("true.png"),
    }.items():
        (root / name).symlink_to(target)
    return store


def test_nothing_is_read_through_a_link_out_of_the_store(linked: Store, tmp_path: Path):
    assert sorted(linked.files(below=True)) == ["samples/own.png", "samples/true.png", "store.json"]
    assert linked.list_files("checkpoints") == []
    out = ["checkpoints", "references", "samples/circle.png", "samples/file.png", "samples/folder", "samples/nothing.png"]
    assert linked.links_out() == out
    for name in ("samples/file.png", "samples/folder/a.png", "checkpoints/a.png", "samples/nothing.png"):
        assert not linked.has_file(name)
        with pytest.raises(OutsideError):
            linked.read_file(name)
    assert linked.read_file("samples/own.png") == linked.read_file("samples/true.png")
    assert [(fault.kind, fault.where) for fault in check(linked)] == [("link", name) for name in out]
    target = open_store(str(tmp_path / "target"), create=True)
    merged = merge(linked, target)
    assert [line.split()[0] for line in merged.left_out] == out
    assert sorted(target.files(below=True)) == ["samples/own.png", "samples/true.png", "store.json"]


def test_a_store_that_is_itself_a_link_is_read(tmp_path: Path):
    build(tmp_path / "store", images=False)
    (tmp_path / "link").symlink_to("store")
    for uri in (str(tmp_path / "link"), (tmp_path / "link").as_uri()):
        assert len(open_store(uri).files("sweeps")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_in_a_store_is_not_waited_for(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    (tmp_path / "store" / "samples").mkdir()
    os.mkfifo(tmp_path / "store" / "samples" / "a.png")
    assert store.list_files("samples") == []
    with pytest.raises(FileNotFoundError):
        store.read_file("samples/a.png")


@pytest.mark.parametrize("column", ["samples", "real_samples"])
@pytest.mark.parametrize("way", ["by name", "by link"])
def test_no_picture_from_outside_the_store_is_in_the_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, way: str
):
    import base64

    store = build(tmp_path / "store", sizes=(50,), strategies=("scratch", "finetune"))
    secret = grid(16, 777, 0.3)
    (tmp_path / "secret.png").write_bytes(secret)
    if way == "by link":
        (tmp_path / "store" / "samples" / "link.png").symlink_to(tmp_path / "secret.png")
    name = "../secret.png" if way == "by name" else "samples/link.png"
    trials = store.read("trials").drop(columns=["sweep", "recorded_at"])
    rows = trials.astype(object).where(trials.notna(), None).assign(**{column: name}).to_dict("records")
    store.append("trials", "quickstart", rows)  # type: ignore[arg-type]
    page = render(load(store), store)
    assert base64.b64encode(secret).decode()[:200] not in page
    assert sum(name in message and "leads out of the store" in message for message in caplog.messages) == 1


def swap(store: Store, key: str, other: str) -> str:
    """Put the checkpoint of one trial where that of another is, and return its path."""
    (name,), (foreign,) = checkpoint_paths(store, key), checkpoint_paths(store, other)
    store.write_file(name, store.read_file(foreign))
    return name


def test_the_checkpoint_of_another_trial_is_named_and_not_used(
    finished: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source, scratch, _ = tiny.make().trials
    name = swap(finished, scratch.key, source.key)
    (fault,) = check(finished)
    assert str(fault) == f"{name}: it is the checkpoint of another trial, {source.key}"
    merged = merge(finished, open_store(str(tmp_path / "target"), create=True))
    assert merged.left_out == [f"{name} is left out: it is the checkpoint of another trial, {source.key}"]
    assert finished.has_file(name)
    assert last_checkpoint(finished, scratch.key) is None
    assert sum(f"{name} is moved to damaged/" in message for message in caplog.messages) == 1
    assert not finished.has_file(name)


def test_the_generator_of_another_trial_is_not_drawn_from(finished: Store, tmp_path: Path):
    source, scratch, _ = tiny.make().trials
    steps = generators(finished, scratch.key)
    finished.write_file(steps[0], finished.read_file(generators(finished, source.key)[0]))
    with pytest.raises(UserError, match="it is the checkpoint of another trial"):
        write_images(finished, scratch.key, Drawing(4), tmp_path / "images", "0")
    (fault,) = check(finished)
    assert str(fault) == f"{steps[0]}: it is the checkpoint of another trial, {source.key}"
    write_images(finished, scratch.key, Drawing(4), tmp_path / "images", "last")


def test_a_source_with_another_trials_checkpoint_is_trained_again_before_its_children_start(
    finished: Store, finished_once: Path, caplog: pytest.LogCaptureFixture
):
    source, scratch, child = tiny.make().trials
    assert child.parent == source.key
    for part in finished.list_parts("trials"):  # the child's end is lost, with its checkpoint
        if child.key in pd.read_parquet(finished.path(part))["key"].tolist():
            finished.delete_file(part)
    for checkpoint in checkpoint_paths(finished, child.key):
        finished.delete_file(checkpoint)
    swap(finished, source.key, scratch.key)
    assert tiny.run_here(tiny.make(), finished) == [f"trial {source.key} restarts: the store has lost its last checkpoint"]
    assert any("another trial" in message for message in caplog.messages)
    pd.testing.assert_series_equal(tiny.values(finished), tiny.values(finished_once), check_exact=True)
    assert check(finished) == []


def test_a_trial_that_meets_another_trials_checkpoint_starts_again(finished_once: Path, tmp_path: Path):
    plan, store = tiny.make(), open_store(str(tmp_path / "store"), create=True)
    trial, other = plan.trials[1], plan.trials[0]
    once = open_store(str(finished_once))
    (foreign,) = checkpoint_paths(once, other.key)
    store.write_file(checkpoint_path(trial.key, 2), once.read_file(foreign))
    store.write_sweep(plan.spec.name, once.read_sweeps()[plan.spec.name])
    assert last_checkpoint(store, trial.key) is None
    assert list(Path(store.root, "damaged").rglob("*.safetensors.*"))


def test_the_checkpoint_of_a_former_version_is_its_trials_own(finished: Store):
    """A former version gave a trial another key; its row has the same configuration as its checkpoint."""
    scratch = tiny.make().trials[1]
    row = finished.read("trials").set_index("key").loc[scratch.key].drop(["sweep", "recorded_at"])
    finished.append("trials", "old", [{**row.astype(object).where(row.notna(), None).to_dict(), "key": "0" * 16}])
    (name,) = checkpoint_paths(finished, scratch.key)
    shutil.copytree(Path(finished.root, "checkpoints", scratch.key), Path(finished.root, "checkpoints", "0" * 16))
    kept = last_checkpoint(finished, "0" * 16)
    assert kept is not None
    assert kept == (name.replace(scratch.key, "0" * 16), finished.read_file(name))


def test_a_trial_that_names_another_trials_files_is_a_fault(finished: Store):
    rows = finished.read("trials").drop(columns=["sweep", "recorded_at"]).set_index("key", drop=False)
    source, scratch, _ = (trial.key for trial in tiny.make().trials)
    names = rows.loc[source, ["checkpoint", "samples"]].to_dict()
    row = rows.loc[scratch]
    finished.append("trials", "small", [{**row.astype(object).where(row.notna(), None).to_dict(), **names}])
    assert [str(fault) for fault in check(finished)] == [
        f"{name}: named by trial {scratch}, but of another trial" for name in names.values()
    ]
