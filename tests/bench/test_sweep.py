"""Whole sweeps on a real Ray by the command line: finished, repeated, interrupted, killed, and run by two drivers together."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from PIL import Image
from ray.cluster_utils import Cluster

from bench.run.sweep import HERE
from bench.store import open_store
from bench.upkeep.check import check
from bench.worker.distances import FIGURES, FLOORS
from tests.support import tiny
from tests.support.command_line import call
from trainers.config.metrics import distances
from trainers.domains import get
from trainers.evaluation.comparison import METRICS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny sweep: its folder, with the sweep file and the store, run two trials at a time."""
    folder = tmp_path_factory.mktemp("finished")
    done = tiny.transfergan("run", tiny.write_spec(folder), "--store", "store", "--cpus", 2, cwd=folder)
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture
def ray() -> Iterator[Path]:
    """A short path for Ray's session, by which the test recognises its processes."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def planned(store: Path) -> list[dict[str, object]]:
    return open_store(str(store)).read_sweeps()["tiny"]["trials"]


def test_the_store_holds_exactly_the_planned_trials_and_every_rung(finished: Path):
    store = finished / "store"
    counts = json.loads(call("plan", finished / "tiny.yaml", "--json", "--store", store).stdout)
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
        many = {"intra_diversity"} if row.kind == "pretrain" else set()  # of a hundred training images
        names = set(METRICS) - {"fid_infinity"} - many | ended | classes
        assert set(measured[row.key].index.get_level_values("metric")) == names
    assert np.isfinite(measured).all()


def test_in_each_cell_the_rule_stops_the_worse_half_at_each_rung(finished: Path):
    trials = open_store(str(finished / "store")).read("trials")
    measured = tiny.values(finished / "store").xs("fid", level="metric").droplevel("view")
    for _, cell in trials[trials["kind"] == "adapt"].groupby("cell"):
        scratch = set(cell.loc[cell["strategy"] == "scratch", "key"])
        live = set(cell["key"]) - scratch
        for rung, kept in ((2, 2), (4, 1)):  # of four transfers, then of two
            ranked = sorted(live, key=lambda key: measured[key, rung])
            live = set(ranked[:kept])
            assert set(cell.loc[cell["steps"] > rung, "key"]) == live | scratch


def test_distances_exist_for_real_images_and_for_every_generator(finished: Path):
    found = tiny.distances(finished / "store")
    pretrained = {row["key"]: row["source"] for row in planned(finished / "store") if row["kind"] == "pretrain"}
    kinds = [metric.name for metric in distances()]
    ends = {(name, "digits", "") for name in (tiny.NUMERALS, tiny.SHAPES)} | {(pretrained[k], "digits", k) for k in pretrained}
    assert set(found.index) == {(*end, kind) for end in ends for kind in kinds}
    store = open_store(str(finished / "store"))
    rows = store.read("distances")
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()
    figures = store.read("domains")
    expected = {(domain, figure) for domain in ("digits", tiny.NUMERALS, tiny.SHAPES) for figure in FIGURES}
    expected |= {("digits", figure) for figure in FLOORS}
    assert set(zip(figures["domain"], figures["figure"], strict=True)) == expected
    dimensions = figures["figure"] == "dimensions"
    assert (figures["value"][dimensions] == 64).all()
    assert (figures["low"] < figures["value"])[~dimensions].all()
    assert len(store.list_files("references")) == 3


def test_distances_alone_train_nothing_and_agree_with_the_sweeps(finished: Path, cluster: Cluster):
    takes_none = "--set", "resources.gpus=1"
    spec, store = finished / "tiny.yaml", finished / "alone"
    assert call("distances", spec, "--store", store, *takes_none, "--address", cluster.address).exit_code == 0
    whole, alone = tiny.distances(finished / "store"), tiny.distances(finished / "alone")
    real = whole[whole.index.get_level_values("trial") == ""]
    pd.testing.assert_series_equal(alone, real, check_exact=True)
    assert len(open_store(str(finished / "alone")).read("trials")) == 0
    said = partial(call, "distances", finished / "tiny.yaml", "--store", finished / "store")
    rows = json.loads(said("--json").stdout)
    assert {(r["source"], r["target"], r["trial"] or "", r["kind"]): r["value"] for r in rows} == whole.to_dict()
    assert f"{tiny.NUMERALS}'s generator" in said().stdout


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
    assert f"pretrain {tiny.NUMERALS}" in output
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


def test_a_sweep_that_is_interrupted_and_killed_ends_as_an_undisturbed_one(
    finished: Path, tmp_path: Path, ray: Path, monkeypatch: pytest.MonkeyPatch
):
    """SIGKILL to a worker, SIGTERM to the driver, SIGKILL to the driver; then the same command without Ray.

    One trial runs at a time, where the undisturbed sweep ran two, and most run in one process, with pauses and promotions; so
    the outcome does not depend on that either.
    """
    store = tmp_path / "store"
    arguments = ("run", tiny.write_spec(tmp_path, conditional=[False]), "--store", store)

    first = tiny.start(*arguments, "--cpus", 1, cwd=tmp_path, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) >= 1 and bool(tiny.workers(ray)))
    reached = tiny.trial_rows(store)
    tiny.kill(tiny.workers(ray)[0])
    tiny.wait_for(lambda: tiny.trial_rows(store) > reached)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM, output
    assert output.splitlines()[-1] == "interrupted: the same command continues from here"
    assert "Traceback" not in output
    assert "***" not in output, "a trace of Ray's core"
    assert (store / "report.html").exists()
    assert tiny.claimed(store) == []
    reached = tiny.trial_rows(store)
    assert reached < 6

    second = tiny.start(*arguments, "--cpus", 1, cwd=tmp_path, ray=ray)
    tiny.wait_for(lambda: tiny.trial_rows(store) > reached)
    assert tiny.processes(str(ray)), "Ray's processes are not recognised, so their end would show nothing"
    tiny.kill(second.pid)
    second.communicate()
    tiny.wait_for(lambda: not tiny.processes(str(ray)), 30)
    reached = tiny.trial_rows(store)
    assert reached < 7

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # Ray sets them for its processes
        monkeypatch.delenv(name, raising=False)
    script = "import sys; sys.argv[0] = 'transfergan'; from bench.cli import main; import atexit\n"
    script += "atexit.register(lambda: print('ray:', 'ray' in sys.modules)); main()"
    third = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments), "--address", HERE],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert third.returncode == 0, third.stderr
    assert "ray: False" in third.stdout
    assert (store / "report.html").exists()

    ended, values, distances = tiny.outcomes(store), tiny.values(store), tiny.distances(store)
    assert sorted(ended["status"]) == ["done"] * 4 + ["stopped"] * 3
    pd.testing.assert_frame_equal(ended, tiny.outcomes(finished / "store").loc[ended.index])
    pd.testing.assert_series_equal(values, tiny.values(finished / "store").loc[list(ended.index)], check_exact=True)
    assert not distances.empty
    pd.testing.assert_series_equal(distances, tiny.distances(finished / "store").loc[distances.index], check_exact=True)
    recorded = ds.dataset(store / "trials", format="parquet").to_table(columns=["key"]).to_pandas()["key"]
    assert recorded.is_unique, "a finished trial ran again"


def test_generate_writes_images_of_conditional_and_unconditional_checkpoints(finished: Path):
    trials = open_store(str(finished / "store")).read("trials")
    for conditional in (False, True):
        key = trials.loc[(trials["kind"] == "adapt") & (trials["conditional"] == conditional), "key"].iloc[0]
        out = finished / f"images-{conditional}"
        assert call("generate", "--trial", key, "-n", 5, "--out", out, "--store", finished / "store").exit_code == 0
        images = [np.asarray(Image.open(out / f"{i:05d}.png")) for i in range(5)]
        assert {image.shape for image in images} == {(8, 8, 3)}
        assert len({image.tobytes() for image in images}) == 5
    tiny.transfergan("generate", "--trial", key, "-n", 5, "--out", "again", "--store", "store", cwd=finished)
    assert (finished / "again" / "00003.png").read_bytes() == (out / "00003.png").read_bytes()


def test_two_drivers_share_the_work_and_one_that_is_killed_is_replaced(finished: Path, tmp_path: Path, cluster: Cluster):
    """Two sweeps of the same trials on one store; one of the drivers is killed while both run."""
    cluster.add_node(num_cpus=1)
    for name in ("one", "other"):
        tiny.write_spec(tmp_path, name=name, conditional=[False]).rename(tmp_path / f"{name}.yaml")
    store = tmp_path / "store"
    arguments = ("--store", store, "--address", cluster.address)
    one, other = (tiny.start("run", spec, *arguments, cwd=tmp_path) for spec in ("one.yaml", "other.yaml"))
    tiny.wait_for(lambda: tiny.trial_rows(store) >= 2 and len(list(store.glob("claims/*"))) >= 2)
    tiny.kill(one.pid)
    one.communicate()
    output, _ = other.communicate(timeout=200)
    assert other.returncode == 0, output
    assert [name for name in tiny.claimed(store) if not name.startswith("drivers/")] == []
    assert [fault for fault in check(open_store(str(store))) if fault.kind != "temporary"] == []
    ended, values = tiny.outcomes(store), tiny.values(store)
    assert len(ended) == 7
    pd.testing.assert_frame_equal(ended, tiny.outcomes(finished / "store").loc[ended.index])
    pd.testing.assert_series_equal(values, tiny.values(finished / "store").loc[list(ended.index)], check_exact=True)
