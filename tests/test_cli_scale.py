"""The verb simulate."""

import json
from pathlib import Path

import pytest

from bench.spec import load_spec
from tests.command_line import call, sweep_store
from tests.timed import write


def test_simulate_says_what_a_sweep_takes_on_more_gpus_even_of_data_sets_that_are_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path / "none"))
    networks = {"gan": {"resolution": 64, "width": 64}, "training": {"steps": 80, "batch": 16, "critic_steps": 5}}
    measured = {"evaluation": {"samples": 10000, "first_rung": 10}, "resources": {"gpus": 1}}
    store, plan = sweep_store(tmp_path / "store", **networks, **measured)
    write(store, plan, device="H100")
    full = ("simulate", "full-grid", "--set", "evaluation.embedding=builtin", "--gpus", "1,64")
    said = json.loads(call(*full, "--json").stdout)
    assert (said["points"], said["trials"], said["collapsed"]) == (4 * 4 * 7 * 4 * 3, 979, 369)
    cells = 4 * 7 - 3  # the whole of Flowers comes three times, and that of Cityscapes twice
    spec = load_spec("full-grid", ["evaluation.embedding=builtin"])
    source, adapt = 4 * (3 + 50000 + 2 * 6 + 4), cells * 39 * (3 + 12500 + 2 * 4 + 4)
    assert spec.evaluation.rungs(100_000)[-2:] == (50_000, 100_000)
    assert said["hours"]["collapsed"] * 3600 == pytest.approx(source + adapt)
    by = {(row["gpus"], row["schedule"]): row for row in said["simulations"]}
    assert by[1, "ours"]["makespan_hours"] == pytest.approx(said["hours"]["stopped"])
    assert said["hours"]["naive"] > said["hours"]["sources_once"] > said["hours"]["collapsed"] > said["hours"]["stopped"]
    assert by[64, "ours"]["makespan_hours"] < by[64, "barrier"]["makespan_hours"] < by[64, "naive"]["makespan_hours"]
    assert "1,344 grid points, 979 trials (369 duplicates collapsed)" in call(*full).stdout
