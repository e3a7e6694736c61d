"""`transfergan show`, `plan` and `status`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.comparison.power import power, seeds_needed, smallest_effect
from bench.costs.noise import SHIPPED
from bench.run.continuation import continuation
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.presets import preset_names
from bench.sweeps.rows import outcome_row, record
from bench.sweeps.spec import SweepSpec
from tests.support.command_line import SPEC, call, process, sweep_store, tree
from tests.support.images import pictures
from tests.support.timed import evaluation_seconds, seconds, write
from trainers.common.errors import UserError


def test_show_prints_a_preset_that_is_the_same_sweep_in_a_file_of_its_own(tmp_path: Path):
    shown = call("show", "strategies").stdout
    (tmp_path / "sweep.yaml").write_text(shown)
    assert load_spec(str(tmp_path / "sweep.yaml")) == load_spec("strategies")
    assert "\n# " in shown
    assert shown.endswith("\n")


def test_the_help_of_show_lists_the_presets():
    output = call("show", "--help").output
    assert [name for name in preset_names() if name not in output] == []


@pytest.mark.slow
def test_plan_counts_what_a_sweep_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SPEC))
    before = tree(tmp_path)
    done = process("plan", "small.yaml", "--json", cwd=tmp_path)
    # 2 sources x 2 sizes x 2 strategies = 8 points; scratch 2 instead of 4
    unknown = (
        "the duration of trials is unknown: the store has none on a CPU in embedding 'builtin'; "
        "transfergan run SPEC --max-hours 0.1 measures the first"
    )
    nothing = {"measure": {"trials": 0, "steps": 0, "lost": 0}, "absent": []}
    counts = {"trials": 8, "pretrain": 2, "adapt": 6, "collapsed": 2, "done": 0, "train": 8, **nothing}
    unmeasured = {"unit": "slot-hours", "estimates": [], "unknown": unknown}
    assert json.loads(done.stdout) == {**counts, **unmeasured}
    assert list(json.loads(done.stdout)) == [*counts, *unmeasured]
    assert (done.returncode, done.stderr) == (0, "")

    lines = call("plan", "small.yaml").stdout.splitlines()
    assert [line.partition("  ")[0] for line in lines[2:]] == list(make_plan(SweepSpec.model_validate(SPEC)).by_key)
    assert lines[2].endswith("pretrain letters, seed 0, 400 steps")
    assert lines[5].endswith("finetune letters -> digits, 10 images, seed 0, 200 steps")
    assert lines[:2] == [
        "8 trials: 2 to pre-train, 6 adaptations in 2 cells (2 duplicates collapsed); 0 in the store already (*)",
        unknown,
    ]
    assert tree(tmp_path) == before

    counts = json.loads(call("plan", "small.yaml", "--json", "--set", "seeds=[0, 1]", "--set", "sources=[shapes]").stdout)
    assert counts == {"trials": 9, "pretrain": 1, "adapt": 8, "collapsed": 0, "done": 0, "train": 9, **nothing, **unmeasured}


def test_plan_counts_what_is_done_stopped_or_diverged_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    strategies = ["scratch", "finetune", "finetune-d"]
    Path("small.yaml").write_text(yaml.safe_dump({**SPEC, "strategies": strategies}))
    store, plan = sweep_store(tmp_path / "store", strategies=strategies)
    letters, shapes, scratch_10, letters_10, *_, _, letters_20, _, critic_20, _ = plan.trials
    outcomes = {letters.key: "done", shapes.key: "diverged", scratch_10.key: "done", letters_10.key: "failed"}
    store.append("trials", "small", [outcome_row(plan.by_key[key], status, "e") for key, status in outcomes.items()])
    # Trials from shapes are blocked, so at 20 images the cell has these two transfers, and one of them stops.
    for trial, value in ((critic_20, 9.0), (letters_20, 1.0)):
        row = {
            "trial": trial.key,
            "step": 50,
            "metric": "fid",
            "embedding": "e",
            "value": value,
            "view": trial.evaluation.view,
            "version": "1",
        }
        store.append("measurements", "small", [row])
    before = tree(tmp_path)
    assert json.loads(call("plan", "small.yaml", "--json").stdout)["done"] == 4
    assert json.loads(call("plan", "small.yaml", "--json", "--store", "elsewhere").stdout)["done"] == 0
    assert tree(tmp_path) == before


def test_plan_prints_hours_and_costs_on_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    resources = {"gpus": 0.5}
    Path("small.yaml").write_text(yaml.safe_dump({**SPEC, "sizes": [10, 20, 30], "resources": resources}))
    store, plan = sweep_store(tmp_path / "store", resources=resources)
    write(store, plan, device="H100", factor=lambda trial: 10)
    other = make_plan(SweepSpec.model_validate({**SPEC, "seeds": [1], "sources": ["numerals"]}))
    write(store, other, device="T4")
    plan_data = json.loads(call("plan", "small.yaml", "--json", "--price", "3").stdout)
    assert (plan_data["done"], plan_data["unit"], plan_data["unknown"]) == (8, "GPU-hours", None)
    assert [(row["device"], row["measured"], row["scaled"]) for row in plan_data["estimates"]] == [
        ("H100", 8, False),
        ("T4", 5, False),
    ]
    left = [row["hours"]["left_at_most"]["value"] for row in plan_data["estimates"]]
    truth = 3 * seconds(plan.of_kind("adapt")[0], 200) / 3600 / 2  # one more cell, half a GPU per trial
    assert left == pytest.approx([10 * truth, truth])
    assert plan_data["estimates"][1]["cost"]["left_at_most"]["value"] == pytest.approx(3 * truth)
    lines = call("plan", "small.yaml", "--price", "3").stdout.splitlines()
    bills = lines[2 : -plan_data["trials"]]
    assert bills[0].startswith("on H100, by the 8 trials measured there:")
    assert f"left   {truth:.3g} (" in bills[-3]
    assert f"cost   {3 * truth:.3g} (" in bills[-2]
    evaluation, whole = (sum(of(trial, trial.rungs[-1]) for trial in other.trials) for of in (evaluation_seconds, seconds))
    assert bills[-1] == f"  of the time of trials like these, evaluation took {evaluation / whole:.0%}"


def test_plan_notes_unreadable_images_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (pictures(tmp_path / "photos", 20) / "broken.jpg").write_bytes(b"no image")
    result = call("plan", "--set", "targets=['folder:photos']", "--set", "sizes=[5]")
    assert result.exit_code == 0
    reason = "not an image, or in a format that Pillow does not read"
    assert f"note: folder:photos: 1 skipped (1 {reason}: broken.jpg)" in result.stdout.splitlines()


def test_plan_finds_the_folders_in_mixtures_and_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20)
    for source, label in (
        ("[letters, 'folder:photos']", "photos+letters"),
        ("'folder:photos -> letters'", "photos -> letters"),
    ):
        result = call("plan", "--set", f"sources=[{source}]", "--set", "sizes=[5]")
        assert result.exit_code == 0
        assert f"pretrain {label}, " in result.stdout


def test_status_shows_each_cell_of_each_sweep(tmp_path: Path):
    store, plan = sweep_store(tmp_path / "store")
    sweep_store(tmp_path / "store", name="wider", seeds=[0, 1])
    store.append("trials", "small", [outcome_row(trial, "done", "e", steps=200) for trial in plan.trials])
    rows = [
        {
            "trial": trial.key,
            "step": step,
            "metric": "fid",
            "embedding": "e",
            "value": 100.0 + i - step / 10,
            "view": trial.evaluation.view,
            "version": "1",
        }
        for i, trial in enumerate(plan.of_kind("adapt"))
        for step in (50, 100, 200)
    ]
    store.append("measurements", "small", rows)
    first = plan.of_kind("adapt")[0]
    further = continuation(store, first.key, 400)
    store.write_sweep(further.spec.name, {**record(further), "continues": first.key})
    store.append("measurements", further.spec.name, [{**rows[0], "step": 400, "value": 1.0}])
    result = call("status", "--store", str(tmp_path / "store"))
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "small: 8 of 8 trials ended" in lines
    assert "wider: 8 of 14 trials ended" in lines
    assert "sources 2" in lines
    assert "digits, 10 images 3 80 at step 200: scratch" in lines
    assert "digits, 20 images 3 83 at step 200: scratch" in lines
    assert "digits, 10 images 1 1 at step 400: scratch" in lines[lines.index(f"{further.spec.name}: 0 of 1 trial ended") :]
    what = "scratch digits, 10 images, seed 0"
    assert lines[-1] == f"continue-{first.key} takes one trial of small further, to step 400: {what}"
    listed = json.loads(call("status", "--store", str(tmp_path / "store"), "--json").stdout)
    assert [each["continues"] for each in listed] == [None, None, first.key]

    alone = call("status", "--store", str(tmp_path / "store"), "--sweep", "wider").stdout
    assert "wider" in alone
    assert "small" not in alone


def test_status_needs_neither_weights_nor_plans_of_this_version(tmp_path: Path):
    store, plan = sweep_store(tmp_path / "store")
    elsewhere = json.dumps(store.read_sweep("sweeps/small.json")).replace("builtin", "inception:/elsewhere/weights.pt")
    store.write_file("sweeps/small.json", elsewhere.encode())
    store.append("trials", "small", [outcome_row(plan.trials[0], "done", "e", steps=400)])
    store.write_sweep("older", {"spec": {"name": "older"}, "trials": []})
    output = call("status", "--store", str(tmp_path / "store")).stdout
    assert "older: planned by another version of transfergan" in output
    older, small = json.loads(call("status", "--store", str(tmp_path / "store"), "--json").stdout)
    assert (older["sweep"], older["trials"], small["ended"], small["trials"]) == ("older", None, 1, 8)
    assert "small: 1 of 8 trials ended" in output


def test_the_trials_that_the_store_has_are_marked_in_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store, plan = sweep_store(tmp_path / "store")
    spec = store.read_sweep("sweeps/small.json")["spec"]
    Path("small.yaml").write_text(yaml.safe_dump(spec))
    store.append("trials", "small", [outcome_row(plan.trials[0], "done", "e", steps=plan.trials[0].training.steps)])
    lines = [line for line in call("plan", "small.yaml").stdout.splitlines() if " seed " in line]
    assert len(lines) == 8
    assert [line.startswith(plan.trials[0].key) for line in lines] == [line[16] == "*" for line in lines]


def test_a_store_without_a_sweep_says_so(tmp_path: Path):
    open_store(str(tmp_path / "empty"), create=True)
    assert "has no sweep yet" in call("status", "--store", tmp_path / "empty").stdout


# -- seeds that tell an effect ------------------------------------------------------------------------------------------------


def detected(*options: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("plan", "small.yaml", "--json", *options).stdout)["detect"]
    return found


def test_detect_says_how_many_seeds_tell_a_ratio_and_what_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SPEC))
    store, plan = sweep_store(tmp_path / "store")
    write(store, plan)
    found = detected("--detect", 1.2)
    deviations = SHIPPED.transfer.value, SHIPPED.scratch.value
    assert (found["comparisons"], found["present_seeds"], found["smallest_ratio"]) == (4, 1, None)  # 2 transfers in 2 cells
    assert found["seeds"] == seeds_needed(1.2, *deviations, 4)
    assert found["power"] == power(1.2, *deviations, found["seeds"], 4) >= 0.8
    assert found["trials"] == 2 + 6 * found["seeds"]
    (of_one,) = {seconds(trial, 200) for trial in plan.of_kind("adapt")}
    hours = found["estimates"][0]["hours"]["left_at_most"]["value"]
    assert hours * 3600 == pytest.approx(6 * (found["seeds"] - 1) * of_one), "the present seed is done"

    lines = call("plan", "small.yaml", "--detect", 1.2, "--price", 2).stdout.splitlines()
    (first,) = [i for i, line in enumerate(lines) if " seeds tell " in line]
    assert lines[first].startswith(f"{found['seeds']} seeds tell a ratio of FIDs of 1.2 with ")
    assert lines[first].endswith("power (two-sided Welch t-test, level 0.05 divided by 4 comparisons with scratch)")
    assert "(the quickstart's, as the store has none)" in lines[first + 1]
    assert lines[first + 2] == "  the sweep has 1; one seed tells none with 80 % power"
    assert lines[first + 3] == f"with {found['seeds']} seeds, {found['trials']} trials:"
    assert lines[first + 7].startswith("  cost   ")


def test_detect_takes_the_spread_and_the_seeds_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump({**SPEC, "seeds": [7, 0, 9]}))
    store, plan = sweep_store(tmp_path / "store", seeds=[7, 0, 9])
    for trial in plan.of_kind("adapt"):
        store.append("trials", "small", [outcome_row(trial, "done", "e", steps=200)])
        row = {"trial": trial.key, "metric": "fid", "embedding": "e", "step": 200, "value": 2.0 ** (trial.seed == 7)}
        row |= {"view": trial.evaluation.view, "version": "1"}
        store.append("measurements", "small", [row])
    found = detected("--detect", 0.01)
    assert found["sd_transfer"] == {"value": pytest.approx(3**-0.5), "freedom": 8, "measured": True}
    assert found["sd_scratch"] == {"value": pytest.approx(3**-0.5), "freedom": 4, "measured": True}
    assert found["smallest_ratio"] == pytest.approx(smallest_effect(3**-0.5, 3**-0.5, 3, 4))
    assert found["trials"] == 2 + 6 * found["seeds"]
    assert found["estimates"] == []
    assert "duration of trials is unknown" in found["unknown"]


def test_detect_does_not_plan_thousands_of_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SPEC))
    found = detected("--detect", 1.001)
    assert found["seeds"] > 1000
    assert (found["estimates"], found["unknown"]) == ([], "more than 1,000 seeds are not planned")


@pytest.mark.parametrize("ratio", [1, 0, -1.2, "nan", "inf"])
def test_a_ratio_that_is_no_effect_is_refused(ratio: object):
    error = call("plan", "quickstart", "--detect", ratio).exception
    assert isinstance(error, UserError)
    assert str(error).startswith(f"--detect {ratio}: give a ratio of FIDs above 0 that is not 1")


@pytest.mark.parametrize("strategies", [["scratch"], ["finetune"]])
def test_a_sweep_without_a_comparison_has_nothing_to_detect(tmp_path: Path, strategies: list[str]):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**SPEC, "strategies": strategies}))
    error = call("plan", path, "--detect", 1.2, "--store", tmp_path / "store").exception
    assert isinstance(error, UserError)
    assert "no cell of the sweep has both" in str(error)
