"""`transfergan evaluate` and `transfergan strategies`."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.command_line import call
from tests.support.images import encoded, pictures, write
from trainers.config.strategies import STRATEGIES
from trainers.domains import get
from trainers.evaluation.comparison import METRICS
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import fid, statistics


@pytest.mark.slow
def test_evaluate_prints_every_metric_with_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.images.evaluate.IW_STEPS", 4)
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(get("digits").load("train", 16).images[:40]):
        Image.fromarray(image).save(folder / f"{i}.png")
    arguments = ("evaluate", "--images", str(folder), "--against", "digits", "--resolution", "16")
    result = call(*arguments, "--json")
    found = json.loads(result.stdout)
    assert list(found) == [name for name in METRICS if name != "intra_diversity"]
    left_out = "intra_diversity is not measured: digits has 1,000 training images, more than 50"
    assert left_out in " ".join(result.stderr.split())
    for row in found.values():
        assert set(row) == {"value", "low", "high", "samples"}
        assert row["low"] <= row["value"] <= row["high"]
        assert row["samples"] == 40
    assert found["precision"]["value"] > 0.7
    assert found["memorisation"]["value"] > 0.95, "these are the training images"
    assert found["diversity"]["high"] > 1 > found["diversity"]["low"]
    some = json.loads(call(*arguments, "--metrics", "kid, iw", "--json").stdout)
    assert list(some) == ["kid", "iw"]
    assert some["kid"] == found["kid"]
    assert some["iw"]["steps"] == 4
    assert f"{found['recall']['value']:.4g}" in call(*arguments, "--metrics", "recall").stdout


def test_evaluate_accepts_a_custom_embedding_and_needs_enough_images(tmp_path: Path):
    folder = pictures(tmp_path / "images", 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(Pixels()), str(tmp_path / "pixels.pt"))
    arguments = ("evaluate", "--against", "digits", "--resolution", "8", "--embedding", f"custom:{tmp_path / 'pixels.pt'}")
    found = call(*arguments, "--images", str(folder), "--metrics", "diversity", "--json")
    assert json.loads(found.stdout)["diversity"]["samples"] == 9
    assert "with custom:" in found.stderr
    few = call(*arguments, "--images", str(pictures(tmp_path / "few", 7)))
    assert "has 7 readable images and needs 8 or more" in str(few.exception)


class Pixels(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().flatten(1)


def test_strategies_prints_what_each_copies_freezes_trains_and_penalises():
    said = call("strategies").stdout
    assert "freeze-d: The critic's blocks nearest to the images are frozen (FreezeD, Mo, Cho & Shin 2020)." in said
    assert "  frozen   critic input blocks.0\n" in said
    assert "  penalty  1 / 2 * sum of (parameter - source)^2 over the copied parameters\n" in said
    assert "(parameter - source)^2 over the copied parameters of the generator\n" in said
    assert "  rate     10 times the generator's, 10 times the critic's\n" in said
    assert "  option   weight: weight of the squared distance (default 1; tuning tries 0.1 to 10)\n" in said
    assert "  option   blocks: critic blocks frozen, from the images on (default 1; tuning tries 1, 2, 3)\n" in said
    assert "  option   from: whether the source has labels (conditional or unconditional)\n" in said
    rows = json.loads(
        call("strategies", "--json", "--set", "gan.resolution=16", "--set", "strategies=['freeze-d[blocks=2]']").stdout
    )
    by_name = {row["name"]: row for row in rows}
    assert set(by_name) == {*STRATEGIES, "freeze-d[blocks=2]"}
    (phase,) = by_name["freeze-d[blocks=2]"]["phases"]
    assert phase["critic"] == {
        "trained": "all but input blocks.0 blocks.1",
        "frozen": "input blocks.0 blocks.1",
        "parameters": 513,
    }
    assert by_name["finetune"]["parameters"]["critic"] == by_name["finetune"]["phases"][0]["critic"]["parameters"]


def test_strategies_marks_those_that_do_not_fit_the_networks():
    changes = ["gan.family=dcgan", "gan.resolution=8", "training.loss=hinge", "strategies=[scratch]"]
    result = call("strategies", *(word for change in changes for word in ("--set", change)))
    assert result.exit_code == 0
    assert "freeze-low: " in result.stdout
    assert "the generator of gan.family dcgan at 8 pixels has 0 that can be kept" in result.stdout


def test_evaluate_names_what_is_skipped_and_keeps_the_metrics_that_are_defined(tmp_path: Path):
    generated = pictures(tmp_path / "generated", 20)
    (generated / "broken.png").write_bytes((generated / "00.png").read_bytes()[:200])
    white = write(tmp_path / "white", {f"{i}.png": encoded(Image.new("RGB", (16, 16), "white")) for i in range(12)})
    arguments = ("--images", str(generated), "--against", f"folder:{white}", "--resolution", "16", "--json")
    result = call("evaluate", *arguments, "--metrics", "fid,diversity")
    assert result.exit_code == 0, result.stderr
    assert "--images: 1 skipped (1 truncated: broken.png)" in result.stderr
    values = json.loads(result.stdout)
    assert values["fid"]["value"] > 0
    assert (values["fid"]["samples"], values["diversity"]["value"]) == (20, None)
    assert "all reference features are equal" in values["diversity"]["reason"]


def test_evaluate_can_compare_with_the_train_split_and_with_all_images(tmp_path: Path):
    folder = tmp_path / "images"
    folder.mkdir()
    training = get("digits").load("train", 8).images
    for i, image in enumerate(training[:60]):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    measured = ("--images", folder, "--against", "digits", "--resolution", "8", "--metrics", "fid,memorisation")
    arguments = ("evaluate", *measured, "--json")
    by_default, result = call(*arguments), call(*arguments, "--reference", "train")
    assert f"60 images and {len(training):,} of digits, its train split, with builtin:" in " ".join(result.stderr.split())
    values, held_out = (json.loads(each.stdout) for each in (result, by_default))
    embed = load_embedding("builtin")
    expected = fid(statistics(embed(training)), statistics(embed(training[:60])))
    assert values["fid"]["value"] == pytest.approx(expected, rel=1e-3)
    assert values["fid"]["value"] < held_out["fid"]["value"]
    assert values["memorisation"] == held_out["memorisation"]

    result = call(*arguments, "--reference", "all")
    assert "60 images and 1,797 of digits, all of it, with builtin:" in " ".join(result.stderr.split())
    images = np.concatenate([training, get("digits").load("reference", 8).images])
    of_all = json.loads(result.stdout)
    assert of_all["fid"]["value"] == pytest.approx(fid(statistics(embed(images)), statistics(embed(training[:60]))), rel=1e-3)
    assert of_all["memorisation"] == held_out["memorisation"]
