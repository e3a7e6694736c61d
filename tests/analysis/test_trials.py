"""The details of single trials in the page."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.frames import load
from analysis.report.content.trials import details, earlier_grids, grids, trial_rows
from analysis.report.embedded_images import Album
from tests.support.synthetic import EMBEDDING, build


def test_a_trial_has_the_values_measured_of_it_and_no_others(tmp_path: Path) -> None:
    frames = load(build(tmp_path, sizes=(50,), faults=True, conditional=(True,), classes=("a",), images=False))
    done = frames.curves[(frames.curves["status"] == "done") & (frames.curves["step"] == 200)]
    later = done.assign(step=400, held=True)  # as for a strategy that was tuned to a smaller budget
    data = details(replace(frames, curves=pd.concat([frames.curves, later])), trial_rows(frames))
    data = json.loads(json.dumps(data, allow_nan=False))
    trials = {trial["key"]: trial for trial in data["trials"]}
    assert trials.keys() == set(frames.trials["key"])
    of_status = {trial["status"]: trial for trial in data["trials"] if "cell" in trial}
    curves = of_status["done"]["curves"][EMBEDDING]
    assert curves["steps"] == [0, 50, 100, 200]
    assert set(curves["metrics"]) == {"fid", "kid", "recall", "diversity", "memorisation", "intra_fid"}
    assert of_status["diverged"]["curves"][EMBEDDING]["metrics"]["fid"][-1] is None
    assert of_status["diverged"]["why"] == "the critic's loss is not finite at step 50"
    assert of_status["pending"]["curves"] == {}
    part = of_status["done"]["config"]["training"]
    assert data["values"][part] == {"steps": 200}
    assert all(trial["config"]["training"] == part for trial in data["trials"]), "equal parts are stored once"


def test_if_not_all_grids_fit_each_method_has_one_before_any_has_two(tmp_path: Path) -> None:
    store = build(tmp_path, sizes=(50,), seeds=(0, 1, 2), keep=1.0, resolution=32)
    rows = trial_rows(load(store))
    whole = grids(rows, store, set(), 10**7)
    adapt = [row for row in rows if row["kind"] == "adapt"]
    assert whole.images.keys() == {*(row["samples"] for row in adapt), "samples/real-32.png"}
    assert (whole.left_out, whole.compressed) == (0, True)
    part = grids(rows, store, set(), 100_000)
    seeds = [row["seed"] for row in adapt if row["samples"] in part.images]
    assert len(seeds) == len(adapt) - part.left_out
    assert 13 < len(seeds) < 39
    assert seeds.count(0) == 13
    assert "samples/real-32.png" in part.images, "all trials share it"
    earlier = earlier_grids(load(store), rows)
    done = [row for row in adapt if row["samples"]]
    assert {path for row in done for path in (f"samples/{row['key']}-{step:08d}.png" for step in (0, 50, 100))} == set(earlier)
    assert len(Album(store, earlier, 10**5).uri(earlier[1]) or "") > 1000, "the rungs of the first seeds come first"
    elsewhere = set(part.images)
    rest = grids(rows, store, elsewhere, 10**7)
    assert rest.images.keys() == whole.images.keys() - elsewhere
    assert rest.left_out == 0
