"""Whole sweeps on a real Ray, through the command line: finished, repeated, interrupted, killed, failing."""

import json
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from PIL import Image

from bench.bill import bills
from bench.check import check
from bench.distances import FIGURES, KINDS
from bench.plan import make_plan
from bench.spec import load_spec
from bench.store import open_store
from tests import tiny
from trainers.domains import get
from trainers.evaluation.comparison import METRICS

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny sweep: its folder, with the sweep file and the store, run two trials at a time."""
    folder = tmp_path_factory.mktemp("finished")
    done = tiny.transfergan("run", tiny.write_spec(folder), "--store", "store", "--cpus", 2, cwd=folder)
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture
def ray() -> Iterator[Path]:
    """A short path for Ray's session, so that the test can tell its processes."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def planned(store: Path) -> list[dict[str, object]]:
    return open_store(str(store)).read_sweeps()["tiny"]["trials"]


def test_the_store_holds_exactly_the_planned_trials_and_every_rung(finished: Path):
    store = finished / "store"
    counts = json.loads(tiny.transfergan("plan", "tiny.yaml", "--json", cwd=finished).stdout)
    assert {name: counts[name] for name in ("trials", "pretrain", "adapt", "collapsed", "done")} == {
        "trials": 14, "pretrain": 4, "adapt": 10, "collapsed": 2, "done": 14,
    }  # fmt: skip
    trials = open_store(str(store)).read("trials")
    assert sorted(trials["key"]) == sorted(row["key"] for row in planned(store))
    assert set(trials["status"]) == {"done", "stopped"}
    assert (trials.loc[trials["status"] == "done", "steps"] == trials.loc[trials["status"] == "done", "budget"]).all()
    assert (trials.loc[trials["status"] == "stopped", "steps"] < trials.loc[trials["status"] == "stopped", "budget"]).all()
    assert trials["environment"].notna().all()
    measured = tiny.values(store)
    for row in trials.itertuples():
        rungs = {0, *(step for step in (2, 4, 8) if step <= row.steps)}
        assert set(measured[row.key].index.get_level_values("step")) == rungs
        domain = row.source if row.kind == "pretrain" else row.target
        classes = {*(f"fid/{name}" for name in get(domain).classes), "intra_fid"} if row.conditional else set()
        ended = {"fid_infinity"} if row.status == "done" else set()
        names = set(METRICS) - {"fid_infinity"} | ended | classes
        assert set(measured[row.key].index.get_level_values("metric")) == names
    assert np.isfinite(measured).all()


def test_in_each_cell_the_rule_stops_the_worse_half_at_each_rung(finished: Path):
    trials = open_store(str(finished / "store")).read("trials")
    measured = tiny.values(finished / "store").xs("fid", level="metric").droplevel("embedding")
    for _, cell in trials[trials["kind"] == "adapt"].groupby("cell"):
        live = set(cell["key"])
        for rung, kept in ((2, 3), (4, 2)):  # of five, then of three
            ranked = sorted(live, key=lambda key: measured[key, rung])
            live = set(ranked[:kept])
            assert set(cell.loc[cell["steps"] > rung, "key"]) == live


def test_distances_are_there_for_real_images_and_for_every_generator(finished: Path):
    found = tiny.distances(finished / "store")
    pretrained = {row["key"]: row["source"] for row in planned(finished / "store") if row["kind"] == "pretrain"}
    ends = {(name, "digits", "") for name in ("numerals", "shapes")} | {(pretrained[k], "digits", k) for k in pretrained}
    assert set(found.index) == {(*end, kind) for end in ends for kind in KINDS}
    store = open_store(str(finished / "store"))
    rows = store.read("distances")
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()
    figures = store.read("domains")
    expected = {(domain, figure) for domain in ("digits", "numerals", "shapes") for figure in FIGURES}
    assert set(zip(figures["domain"], figures["figure"], strict=True)) == expected
    assert (figures["low"] < figures["value"]).all()
    assert len(store.list_files("references")) == 3


def test_distances_alone_train_nothing_and_agree_with_the_sweeps(finished: Path):
    tiny.transfergan("distances", "tiny.yaml", "--store", "alone", "--set", "resources.gpus=1", cwd=finished)  # takes none
    whole, alone = tiny.distances(finished / "store"), tiny.distances(finished / "alone")
    real = whole[whole.index.get_level_values("trial") == ""]
    pd.testing.assert_series_equal(alone, real, check_exact=True)
    assert len(open_store(str(finished / "alone")).read("trials")) == 0
    rows = json.loads(tiny.transfergan("distances", "tiny.yaml", "--store", "store", "--json", cwd=finished).stdout)
    assert {(r["source"], r["target"], r["trial"] or "", r["kind"]): r["value"] for r in rows} == whole.to_dict()
    said = tiny.transfergan("distances", "tiny.yaml", "--store", "store", cwd=finished).stdout
    assert "numerals's generator" in said


def test_every_finished_trial_keeps_one_checkpoint_and_the_sample_grid_of_each_step(finished: Path):
    store = open_store(str(finished / "store"))
    measured = store.read("measurements").groupby("trial")["step"].unique()
    for row in store.read("trials").itertuples():
        assert store.list_files(f"checkpoints/{row.key}") == [row.checkpoint]
        grids = [f"samples/{row.key}-{step:08d}.png" for step in sorted(measured[row.key])]
        assert [name for name in store.list_files("samples") if row.key in name] == grids
        assert row.samples == grids[-1]
        assert store.has_file(row.real_samples)


def test_progress_and_summary_reach_a_user_without_a_terminal(finished: Path):
    output = (finished / "output.txt").read_text()
    assert "[14/14]" in output
    assert "pretrain numerals" in output
    assert "report: " in output
    assert "Traceback" not in output


def test_a_second_run_starts_nothing(finished: Path):
    store = finished / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    script = "import sys; sys.argv[0] = 'transfergan'; from bench.cli import main; import atexit\n"
    script += "atexit.register(lambda: print('heavy:', sorted({'ray', 'torch'} & set(sys.modules)))); main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "tiny.yaml", "--store", "store"],
        cwd=finished, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "heavy: []" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"report.html", "tiny.json"}
    assert set(after) == set(before)


def test_a_sweep_that_is_interrupted_and_killed_ends_as_if_nothing_had_been(finished: Path, ray: Path):
    """SIGINT to the driver, SIGKILL to the driver, SIGKILL to a worker; then the same command again.

    All of it with one trial at a time, where what had been ran two: so nothing depends on that either.
    """
    store = finished / "killed"
    arguments = ("run", "tiny.yaml", "--store", store, "--cpus", 1)

    first = tiny.start(*arguments, cwd=finished, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) >= 1)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 130, output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    reached = tiny.trial_rows(store)
    assert reached < 14

    second = tiny.start(*arguments, cwd=finished, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) > reached)
    assert tiny.processes(str(ray)), "Ray's processes cannot be told apart, so their end would show nothing"
    tiny.kill(second.pid)
    second.communicate()
    tiny.wait_for(lambda: not tiny.processes(str(ray)), 30)
    reached = tiny.trial_rows(store)
    assert reached < 14

    third = tiny.start(*arguments, cwd=finished, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) > reached and bool(tiny.workers(ray)))
    tiny.kill(tiny.workers(ray)[0])
    output, _ = third.communicate(timeout=120)
    assert third.returncode == 0, output

    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(finished / "store"))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(finished / "store"), check_exact=True)
    pd.testing.assert_series_equal(tiny.distances(store), tiny.distances(finished / "store"), check_exact=True)
    recorded = ds.dataset(store / "trials", format="parquet").to_table(columns=["key"]).to_pandas()["key"]
    assert recorded.is_unique, "a finished trial ran again"


def test_a_run_that_stops_at_its_limit_loses_nothing_and_the_next_goes_on(tmp_path: Path, finished_once: Path):
    """The first trial's first rung is all that a tiny limit lets through; the rest is done within a generous one."""
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    arguments = ("run", spec, "--store", "store", "--cpus", 1)
    stopped = tiny.transfergan(*arguments, "--max-hours", 1e-9, cwd=tmp_path, expect=3)
    assert "3 trials remain" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    store = open_store(str(tmp_path / "store"))
    assert store.read("trials").empty
    assert set(tiny.values(store).index.get_level_values("step")) == {0, 2}
    assert tiny.claimed(tmp_path / "store") == []
    (bill,) = bills(tiny.make(), store)
    assert bill.measured == 1
    assert 0 < bill.left_at_most.value < bill.at_most.value

    tiny.transfergan(*arguments, "--max-cost", 10, "--price", 2, cwd=tmp_path)
    whole = open_store(str(finished_once))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(whole), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(whole))


def test_two_drivers_share_the_work_and_one_that_is_killed_is_replaced(finished: Path, tmp_path: Path, ray: Path):
    """Overlapping sweeps on one store: of some cells and of all. The driver of all is killed when both are at work."""
    tiny.write_spec(tmp_path, name="part", conditional=[False]).rename(tmp_path / "part.yaml")
    tiny.write_spec(tmp_path)
    store = tmp_path / "store"
    arguments = ("--store", store, "--cpus", 1)
    whole = tiny.start("run", "tiny.yaml", *arguments, cwd=tmp_path, ray=ray)
    part = tiny.start("run", "part.yaml", *arguments, cwd=tmp_path, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) >= 2 and len(list(store.glob("claims/*"))) >= 2)
    tiny.kill(whole.pid)
    whole.communicate()
    output, _ = part.communicate(timeout=200)
    assert part.returncode == 0, output
    tiny.transfergan("run", "tiny.yaml", *arguments, cwd=tmp_path)
    assert tiny.claimed(store) == []
    assert [fault for fault in check(open_store(str(store))) if fault.kind != "temporary"] == []
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(finished / "store"))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(finished / "store"), check_exact=True)


def test_a_failing_trial_is_recorded_blocks_its_children_and_can_be_retried(tmp_path: Path):
    spec = tiny.write_spec(
        tmp_path, conditional=[False], strategies=["scratch", "finetune"], stopping={"rule": "none"}, resources={"retries": 0}
    )
    (source,) = (trial.key for trial in make_plan(load_spec(str(spec))).of_kind("pretrain") if trial.domain.name == "shapes")
    # Its samples cannot be published: where their file should be, there is a folder.
    open_store(str(tmp_path / "store"), create=True)
    obstacle = tmp_path / "store" / "samples" / f"{source}-00000000.png"
    obstacle.mkdir(parents=True)

    failed = tiny.transfergan("run", spec, "--store", "store", cwd=tmp_path, expect=1)
    assert "trials: 1 failed, 1 blocked" in failed.stderr
    assert "Traceback" not in failed.stderr
    trials = open_store(str(tmp_path / "store")).read("trials").set_index("key")
    assert trials.loc[source, "status"] == "failed"
    assert source in trials.loc[source, "error"]
    (child,) = trials[trials["parent"] == source].itertuples()
    assert child.status == "blocked"
    assert "shapes failed" in child.error
    assert sorted(trials["status"]) == ["blocked", "done", "done", "done", "failed"]
    assert "failed" in tiny.transfergan("status", "--store", "store", cwd=tmp_path).stdout

    again = tiny.transfergan("run", spec, "--store", "store", cwd=tmp_path, expect=1)
    assert "--retry failed" in again.stderr, "a failed trial is not run again unasked"
    obstacle.rmdir()
    tiny.transfergan("run", spec, "--store", "store", "--retry", "failed", cwd=tmp_path)
    ended = tiny.outcomes(tmp_path / "store")
    assert set(ended["status"]) <= {"done", "stopped"}
    assert len(ended) == 5


def test_a_trial_that_diverges_is_recorded_and_the_rest_goes_on(tmp_path: Path):
    spec = tiny.write_spec(
        tmp_path, conditional=[False], strategies=["scratch"], training={**tiny.SPEC["training"], "critic_lr": 1e30}
    )
    tiny.transfergan("run", spec, "--store", "store", cwd=tmp_path)
    (row,) = open_store(str(tmp_path / "store")).read("trials").itertuples()
    assert row.status == "diverged"
    assert row.error
    assert (tmp_path / "store" / "report.html").exists()


def test_a_trial_that_asks_for_more_than_there_is_is_the_users_mistake(tmp_path: Path):
    spec = tiny.write_spec(tmp_path)
    failed = tiny.transfergan("run", spec, "--store", "store", "--set", "resources.gpus=64", cwd=tmp_path, expect=2)
    assert failed.stderr.count("\n") == 1
    assert "resources.gpus" in failed.stderr


def test_generate_writes_what_the_checkpoint_knows(finished: Path):
    trials = open_store(str(finished / "store")).read("trials")
    for conditional in (False, True):
        key = trials.loc[(trials["kind"] == "adapt") & (trials["conditional"] == conditional), "key"].iloc[0]
        out = finished / f"images-{conditional}"
        tiny.transfergan("generate", "--trial", key, "-n", 5, "--out", out, "--store", "store", cwd=finished)
        images = [np.asarray(Image.open(out / f"{i:05d}.png")) for i in range(5)]
        assert {image.shape for image in images} == {(8, 8, 3)}
        assert len({image.tobytes() for image in images}) == 5
        tiny.transfergan("generate", "--trial", key, "-n", 5, "--out", f"{out}-again", "--store", "store", cwd=finished)
        assert (Path(f"{out}-again") / "00003.png").read_bytes() == (out / "00003.png").read_bytes()


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not part of the project")
def test_a_sweep_over_folders_of_photographs_runs_to_a_report(tmp_path: Path):
    folders = {}
    for name in ("flowers5", "celeba5k"):
        folders[name] = tmp_path / name
        with zipfile.ZipFile(PHOTOGRAPHS / f"{name}.zip") as archive:
            inside = [entry for entry in archive.namelist() if entry.lower().endswith((".jpg", ".png"))]
            for entry in inside[:: max(1, len(inside) // 60)]:
                archive.extract(entry, folders[name])
    (folders["flowers5"] / "broken.jpg").write_bytes(b"")
    spec = tiny.write_spec(
        tmp_path,
        sources=[f"folder:{folders['celeba5k']}", "textures"],
        targets=["folder:flowers5"],
        strategies=["scratch", "finetune"],
        conditional=[False],
        gan={"resolution": 16, "width": 4, "latent": 16},
        training={"steps": 4, "batch": 8, "critic_steps": 1},
    )
    done = tiny.transfergan("run", spec, "--store", "store", cwd=tmp_path)
    assert "1 unreadable images skipped (broken.jpg)" in done.stderr
    ended = tiny.outcomes(tmp_path / "store")
    assert len(ended) == 5
    assert set(ended["status"]) <= {"done", "stopped"}
    page = (tmp_path / "store" / "report.html").read_text()
    assert "celeba5k" in page
    assert len(page) > 1_000_000
