"""Whole sweeps by the command line: one on a real Ray that is interrupted and killed, one that is not and without Ray."""

import json
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
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

#: Runs a verb and prints which large packages it has imported.
IMPORTS = """
import atexit, sys
from bench.cli import main
sys.argv[0] = "transfergan"
atexit.register(lambda: print("imported:", sorted({"ray", "torch"} & set(sys.modules))))
main()
"""


def imports(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a verb to its successful end; its last line of output names the large packages that it has imported."""
    command = [sys.executable, "-c", IMPORTS, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=tiny.PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done


@dataclass(frozen=True)
class Interrupted:
    """Three drivers of one sweep.

    Attributes:
        folder: contains the sweep file and the store.
        status: the exit status of the first, which was ended by SIGTERM after one of its workers had been killed.
        outputs: what the first and the third printed. The second was killed.
        claimed: the claims that the first left.
    """

    folder: Path
    status: int
    outputs: tuple[str, str]
    claimed: list[str]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Run the tiny sweep by three drivers on a Ray that each starts: one trial at a time, in the end two, measured by tasks.

    So the outcome does not depend on that either.
    """
    folder = tmp_path_factory.mktemp("finished")
    tiny.write_spec(folder)
    store = folder / "store"
    run = "run", "tiny.yaml", "--store", "store", "--cpus"
    # A short path, by which the processes of Ray are recognised.
    with ExitStack() as ends, tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as session:
        ray = Path(session)
        first = tiny.start(*run, 1, cwd=folder, ray=ray)
        ends.callback(first.kill)
        tiny.wait_for(lambda: tiny.trial_rows(store) >= 1 and bool(tiny.workers(ray)))
        reached = tiny.trial_rows(store)
        tiny.kill(tiny.workers(ray)[0])
        tiny.wait_for(lambda: tiny.trial_rows(store) > reached)
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate(timeout=tiny.PATIENCE)  # it writes the report first
        claimed, reached = tiny.claimed(store), tiny.trial_rows(store)
        assert (store / "report.html").exists()

        second = tiny.start(*run, 1, cwd=folder, ray=ray)
        ends.callback(second.kill)
        tiny.wait_for(lambda: tiny.trial_rows(store) > reached)
        assert tiny.processes(str(ray)), "Ray's processes are not recognised, so their end would show nothing"
        tiny.kill(second.pid)
        second.communicate()
        tiny.wait_for(lambda: not tiny.processes(str(ray)))
        assert tiny.trial_rows(store) < 14, "nothing is left for the third"

    third = tiny.transfergan(*run, 2, "--set", "evaluation.where=task", cwd=folder)
    return Interrupted(folder, first.returncode, (output, third.stdout + third.stderr), claimed)


@pytest.fixture
def finished(interrupted: Interrupted) -> Path:
    """The folder of the sweep file and of its finished store."""
    return interrupted.folder


@pytest.fixture(scope="module")
def undisturbed(interrupted: Interrupted) -> Path:
    """The store of the same sweep, run without Ray."""
    run = imports("run", "tiny.yaml", "--store", "undisturbed", "--address", HERE, cwd=interrupted.folder)
    assert "imported: ['torch']" in run.stdout
    return interrupted.folder / "undisturbed"


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


def test_distances_alone_train_nothing_and_agree_with_the_sweeps(finished: Path):
    spec, store = finished / "tiny.yaml", finished / "alone"
    assert call("distances", spec, "--store", store, "--address", HERE).exit_code == 0
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
        nearest = [grid.replace(".png", "-nearest.png") for grid in grids[1:]]
        assert [name for name in store.list_files("samples") if row.key in name] == sorted([*grids, *nearest])
        assert row.samples == grids[-1]
        assert store.has_file(row.real_samples)


def test_progress_and_summary_reach_a_user_without_a_terminal(interrupted: Interrupted):
    first, last = interrupted.outputs
    assert f"pretrain {tiny.NUMERALS}" in first
    assert "[14/14]" in last
    assert "report: " in last
    assert "Traceback" not in first + last


def test_a_second_run_starts_nothing(finished: Path):
    store = finished / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    run = imports("run", "tiny.yaml", "--store", "store", "--set", "evaluation.where=task", cwd=finished)  # as the last one
    assert "imported: []" in run.stdout
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"report.html", "tiny.json"}
    assert set(after) == set(before)


def test_a_driver_that_is_interrupted_says_so_and_leaves_nothing(interrupted: Interrupted):
    output, _ = interrupted.outputs
    assert interrupted.status == 128 + signal.SIGTERM, output
    assert output.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert "***" not in output, "a trace of Ray's core"
    assert interrupted.claimed == []


def test_a_sweep_that_is_interrupted_and_killed_ends_as_an_undisturbed_one_without_ray(finished: Path, undisturbed: Path):
    store = finished / "store"
    assert (undisturbed / "report.html").exists()
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(undisturbed))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(undisturbed), check_exact=True)
    pd.testing.assert_series_equal(tiny.distances(store), tiny.distances(undisturbed), check_exact=True)
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


@pytest.mark.endurance(only=True)  # test_cluster.py has killed pairs of drivers with trials that do not train
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
    output, _ = other.communicate(timeout=tiny.PATIENCE)
    assert other.returncode == 0, output
    assert [name for name in tiny.claimed(store) if not name.startswith("drivers/")] == []
    assert [fault for fault in check(open_store(str(store))) if fault.kind != "temporary"] == []
    ended, values = tiny.outcomes(store), tiny.values(store)
    assert len(ended) == 7
    pd.testing.assert_frame_equal(ended, tiny.outcomes(finished / "store").loc[ended.index])
    pd.testing.assert_series_equal(values, tiny.values(finished / "store").loc[list(ended.index)], check_exact=True)
