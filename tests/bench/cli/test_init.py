"""`transfergan init` as a whole: its file, what it prints, and what it refuses."""

import json
import os
from pathlib import Path

import pytest
import yaml

from bench.design import precision, timing
from bench.sweeps.loading import load_spec
from tests.support.command_line import call, tree
from tests.support.images import encoded, files, picture, write


@pytest.mark.slow
def test_init_writes_a_sweep_file_that_plans_with_the_reason_of_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for module in (timing, precision):
        monkeypatch.setattr(module, "SECONDS", 0.1)
    write(Path("photos/My flowers"), files(40))
    write(Path("photos/rooms"), files(24))
    options = ("--source", "photos/rooms", "--source", "letters", "--source", "shapes", "--minutes", "60", "--gpus", "0")
    done = call("init", "--target", "photos/My flowers", *options)
    assert done.exit_code == 0, done.output
    spec, text = load_spec("My-flowers.yaml"), Path("My-flowers.yaml").read_text()
    assert spec.name == "My-flowers"
    assert spec.targets == (spec.domains["My-flowers"],) == ("folder:photos/My flowers",)
    assert set(spec.sources) <= {"folder:photos/rooms", "letters", "shapes"}
    assert spec.sizes == (20,)
    assert spec.gan.resolution <= 16  # the images have 20 pixels, so 32 are not tried
    assert spec.pretrain.steps >= spec.training.steps
    assert f"training: {spec.training.precision} gradients: here bf16 is " in done.stdout
    assert text.startswith("# Written by `transfergan init --target 'photos/My flowers' --source photos/rooms --source letters")
    assert yaml.safe_load(text)["sources"] == [spec.labels.get(source, source) for source in spec.sources]

    lines = done.stdout.splitlines()
    assert lines[0].startswith("My-flowers: 40 images in 2 classes, in colour")
    printed = {line.partition(": ")[0] for line in lines[1:-2]}
    assert printed >= {"sources", "sizes", "strategies", "seeds", "gan", "training", "pretrain", "evaluation", "stopping"}
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    assert [line for line in lines[2:-2] if line.partition(": ")[2] not in comments] == []
    assert "transfergan run My-flowers.yaml" in lines[-1]

    planned = call("plan", "My-flowers.yaml")
    assert planned.exit_code == 0, planned.output
    assert "slot-hours at most" in planned.stdout, "by the times beside the file"
    assert "unknown" not in planned.stdout
    simulated = call("simulate", "My-flowers.yaml", "--gpus", "1")
    assert simulated.exit_code == 0, simulated.output
    times = Path("My-flowers.timings.json")
    (fewer,) = [json.loads(call("plan", "My-flowers.yaml", "--json").stdout)["estimates"]]
    assert 0 < fewer[0]["hours"]["at_most"]["value"] <= (os.cpu_count() or 1), "of the hour on each core"
    times.write_text("{}")
    damaged = call("plan", "My-flowers.yaml")
    assert "delete it, and the store's own times are used" in str(damaged.exception)
    times.unlink()
    assert "My-flowers" in planned.stdout
    again = call("init", "--target", "photos/My flowers")
    assert again.exit_code != 0
    assert Path("My-flowers.yaml").read_text() == text


@pytest.mark.slow
def test_a_time_that_is_too_short_on_this_machine_is_refused_with_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for module in (timing, precision):
        monkeypatch.setattr(module, "SECONDS", 0.1)
    write(Path("photos"), files(40))
    before = tree(tmp_path)
    done = call("init", "--target", "photos", "--minutes", "0.84", "--gpus", "0")
    assert done.exit_code == 1  # by `main` a UserError is status 2
    assert "0.84 minutes are too short" in str(done.exception)
    assert tree(tmp_path) == before


def test_a_source_that_is_the_target_under_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write(Path("photos"), {f"{i}.png": encoded(picture(i)) for i in range(20)})
    done = call("init", "--target", "photos", "--source", str(tmp_path / "photos"))
    assert "it is the target too" in str(done.exception)
    assert not Path("photos.yaml").exists()
    Path("letters").mkdir()
    done = call("init", "--target", "letters", "--source", "letters")
    assert done.output.count("letters is the domain of this name; the folder letters here is folder:letters") == 1
