"""`transfergan simulate` and `plan` on a machine without data sets and weights."""

import json
from pathlib import Path

import pytest

from bench.sweeps.loading import load_spec
from tests.support.command_line import call, sweep_store
from tests.support.timed import write


@pytest.mark.slow
def test_hours_are_estimated_without_data_sets_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path / "none"))
    networks = {"gan": {"resolution": 64, "width": 64}, "training": {"steps": 80, "batch": 16, "critic_steps": 5}}
    (tmp_path / "here.pt").touch()
    evaluation = {"samples": 10000, "first_rung": 10, "embedding": f"inception:{tmp_path}/here.pt"}
    measured = {"evaluation": evaluation, "resources": {"gpus": 1}}
    store, plan = sweep_store(tmp_path / "store", **networks, **measured)
    write(store, plan, device="H100")
    full = ("full-grid", "--set", "evaluation.embedding=inception:elsewhere.pt", "--set", "seeds=[0]")
    simulated = json.loads(call("simulate", *full, "--gpus", "1,64", "--json").stdout)
    assert (simulated["points"], simulated["trials"], simulated["collapsed"]) == (4 * 4 * 7 * 4, 329, 123)
    cells = 4 * 7 - 3  # three sizes of Flowers are the whole data set, and two of Cityscapes
    spec = load_spec("full-grid", ["evaluation.embedding=builtin"])
    source, adapt = (
        4 * (3 + 100_000 * 4 + 2 * 7 + 4),
        cells * 13 * (3 + 12500 + 2 * 4 + 4),
    )  # sources: four times the batch
    assert spec.evaluation.rungs(200_000)[-2:] == (100_000, 200_000)
    assert simulated["hours"]["collapsed"] * 3600 == pytest.approx(source + adapt)
    by = {(row["gpus"], row["schedule"]): row for row in simulated["simulations"]}
    assert by[1, "ours"]["makespan_hours"] == pytest.approx(simulated["hours"]["stopped"])
    assert (
        simulated["hours"]["naive"]
        > simulated["hours"]["sources_once"]
        > simulated["hours"]["collapsed"]
        > simulated["hours"]["stopped"]
    )
    assert by[64, "ours"]["makespan_hours"] < by[64, "barrier"]["makespan_hours"] < by[64, "naive"]["makespan_hours"]
    text = call("simulate", *full, "--gpus", 1).stdout
    assert "448 grid points, 329 trials (123 duplicates collapsed)" in text

    planned = json.loads(call("plan", *full, "--price", 2, "--json").stdout)
    (bill,) = planned["estimates"]
    assert bill["hours"]["left_at_most"]["value"] == pytest.approx(simulated["hours"]["collapsed"])
    assert bill["cost"]["at_most"]["value"] == pytest.approx(2 * simulated["hours"]["collapsed"])
    absent = [*planned["absent"][:-1], f"the weights of inception:{tmp_path}/elsewhere.pt"]
    assert {"imagenet", "lsun-kitchen"} < set(absent)
    listed = call("plan", *full).stdout
    assert planned["absent"] == absent
    for said_of_it in (text, listed):
        assert f"note: not on this machine: {', '.join(absent)}; their trials are planned without final keys" in said_of_it
    assert listed.count("(yet unknown)") == 329
