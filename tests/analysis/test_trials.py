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
    columns = data["trials"]
    assert {*columns["key"]} == set(frames.trials["key"])
    of_status = {
        status: place for place, (status, cell) in enumerate(zip(columns["status"], columns["cell"], strict=True)) if cell
    }
    done, curves = of_status["done"], data["curves"][EMBEDDING]
    assert curves["steps"][curves["of"][done]] == [0, 50, 100, 200]
    assert set(curves["metrics"]) == {"fid", "kid", "recall", "diversity", "memorisation", "intra_fid"}
    assert all(len(values[done]) == 4 for values in curves["metrics"].values())
    assert curves["metrics"]["fid"][of_status["diverged"]][-1] is None
    assert columns["why"][of_status["diverged"]] == "the critic's loss is not finite at step 50"
    assert curves["of"][of_status["pending"]] is None
    parts = data["config"]["training"]
    assert data["values"][parts[done]] == {"steps": 200}
    assert set(parts) == {parts[done]}, "equal parts are stored once"


def test_if_not_all_grids_fit_each_method_has_one_before_any_has_two(tmp_path: Path) -> None:
    store = build(tmp_path, sizes=(50,), seeds=(0, 1, 2), keep=1.0, resolution=32)
    rows = trial_rows(load(store))
    whole = grids(rows, store, set(), 10**7, 100)
    adapt = [row for row in rows if row["kind"] == "adapt"]
    assert whole.images.keys() == {*(row["samples"] for row in adapt), "samples/real-32.png"}
    assert (whole.left_out, whole.compressed) == (0, True)
    part = grids(rows, store, set(), 100_000, 100)
    seeds = [row["seed"] for row in adapt if row["samples"] in part.images]
    assert len(seeds) == len(adapt) - part.left_out
    assert 13 < len(seeds) < 39
    assert seeds.count(0) == 13
    assert "samples/real-32.png" in part.images, "all trials share it"
    few = grids(rows, store, set(), 10**7, 8)
    assert (len(few.images), few.shown, few.left_out) == (8, 7, 32), "one is of real images"
    earlier = [*earlier_grids(load(store), rows)]
    done = [row for row in adapt if row["samples"]]
    assert {path for row in done for path in (f"samples/{row['key']}-{step:08d}.png" for step in (0, 50, 100))} == set(earlier)
    assert len(Album(store, earlier, 10**5).uri(earlier[1]) or "") > 1000, "the rungs of the first seeds come first"
    elsewhere = set(part.images)
    rest = grids(rows, store, elsewhere, 10**7, 100)
    assert rest.images.keys() == whole.images.keys() - elsewhere
    assert rest.left_out == 0
