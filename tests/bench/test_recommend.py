"""`transfergan recommend`: distances that agree with a sweep's, and a command that reuses its sources."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.frames import load
from analysis.report.sentences.answers import answers
from analysis.statistics import analyse
from bench.cli import app
from bench.images.recommend import command, distances_to, embedding_name
from bench.store import Store
from bench.store.references import StoredReferences
from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.spec import as_mapping
from tests.support import tiny
from tests.support.shapes import check_output
from tests.support.synthetic import SOURCES, build
from trainers.common.errors import UserError
from trainers.config.embeddings import embedding_identity
from trainers.evaluation.metrics.fid import fid
from trainers.evaluation.references import embed


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with three targets, in an embedding that this machine has."""
    folder = tmp_path_factory.mktemp("recommend") / "store"
    identity = embedding_identity("builtin")
    return build(folder, targets=("t1", "t2", "t3"), sizes=(50,), resolution=8, embeddings=(identity,), keep=1.0, images=False)


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["recommend", *arguments], catch_exceptions=False)
    if "--json" in arguments:
        check_output(["recommend"], result.stdout)
    return result.exit_code, result.stdout


def files(store: Store) -> list[str]:
    return sorted(store.files(below=True))


@pytest.mark.slow
def test_distances_are_fid_between_reference_splits_and_nothing_is_written(synthetic: Store):
    from trainers.evaluation.embeddings.loading import load_embedding

    before = files(synthetic)
    found, lacking = distances_to(
        "digits", ["shapes", "folder:/none"], StoredReferences(synthetic, publish=False), "builtin", 8, lambda what: None
    )
    network = load_embedding("builtin")
    exact = fid(embed("shapes", 8, network).statistics, embed("digits", 8, network).statistics)
    assert found == {"shapes": pytest.approx(exact, rel=1e-6)}
    (why,) = lacking
    assert "folder:/none" in why
    assert "no such folder" in why
    assert files(synthetic) == before


@pytest.mark.slow
def test_the_verb_ranks_and_names_its_evidence(synthetic: Store):
    status, said = call("--target", "digits", "--store", synthetic.root, "--top", "2", "--size", "50")
    assert status == 0
    head, first, second, words, *notes, last = said.splitlines()
    assert head.split()[2:8] == ["predicted", "gain", "95", "%", "interval", "at"]
    assert head.split()[8:] == ["step", "distance", "targets", "trials"]
    assert first.startswith("finetune")
    assert second.startswith("finetune")
    assert "the gain over scratch at step 200 is predicted to be ×" in words
    assert "on 3 targets" in words
    assert not [note for note in notes if "not told apart" not in note]
    assert last.startswith("To do so: transfergan run quickstart ")


def test_json_has_all_columns_of_the_table_and_a_command_per_row(synthetic: Store):
    found = json.loads(call("--target", "digits", "--store", synthetic.root, "--size", "40", "--json")[1])
    assert (found["target"], found["size"], found["resolution"]) == ("digits", 40, 8)
    assert "the nearest in the store to 40" in found["notes"][0]
    gains = [row["gain"] for row in found["recommendations"]]
    assert len(gains) == 5
    assert gains == sorted(gains, reverse=True)
    assert all(row["low"] < row["gain"] < row["high"] for row in found["recommendations"])
    assert {row["basis"] for row in found["recommendations"]} == {"distance"}
    assert {row["step"] for row in found["recommendations"]} == {200}


def test_without_the_embedding_the_mean_gain_decides(tmp_path: Path):
    sources = {**SOURCES, "[bold]x[red]": 30.0}
    build(tmp_path, targets=("t1", "t2", "t3"), sizes=(50,), sources=sources, keep=1.0, images=False)
    status, said = call("--target", "digits", "--store", str(tmp_path), "--top", "20")
    assert status == 0
    assert "is not on this machine, so no distance can be measured" in said
    assert "the order is by mean gain" in said
    assert "[bold]x[red]" in said


def test_below_three_targets_the_nearest_source_comes_first_and_nothing_is_predicted(tmp_path: Path):
    identity = embedding_identity("builtin")
    sources = {"numerals": 18.0, "textures": 160.0}
    build(tmp_path, targets=("t1",), sizes=(50,), resolution=8, sources=sources, embeddings=(identity,), images=False)
    status, said = call("--target", "digits", "--store", str(tmp_path))
    assert status == 0
    assert said.split()[:5] == ["strategy", "source", "distance", "targets", "trials"]
    assert "is the start from the nearest source (distance " in said
    assert "No gain can be predicted: the store has results on 1 target, and at least 3 are needed." in said
    assert "×" not in said
    of_a_source = json.loads(call("--target", "numerals", "--store", str(tmp_path), "--json")[1])["recommendations"]
    assert {row["source"] for row in of_a_source} == {"textures"}, "no trial starts from its target"


def test_without_distances_and_targets_nothing_is_recommended(tmp_path: Path):
    build(tmp_path, targets=("t1", "t2"), sizes=(50,), images=False)
    with pytest.raises(UserError, match="no start can be recommended: the store has results on 2 targets and 3 are needed"):
        call("--target", "digits", "--store", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_the_targets_own_results_are_those_of_the_report(tmp_path: Path, keep: float):
    sources = {name: SOURCES[name] for name in ("letters", "numerals")}
    store = build(
        tmp_path, sources=sources, targets=("digits", "t2"), sizes=(50, 500), seeds=(0, 1, 2), keep=keep, images=False
    )  # fmt: skip
    found = json.loads(call("--target", "digits", "--store", store.root, "--size", "60", "--json")[1])
    frames = load(store)
    analysis = analyse(frames, frames.embeddings[0])
    best = analysis.best[analysis.best["cell_label"] == "digits, 50 images"].iloc[0]
    first = found["recommendations"][0]
    assert (first["strategy"], first["source"], first["step"]) == (best["strategy"], best["source"], 200)
    assert [first["gain"], first["low"], first["high"]] == pytest.approx(best[["gain", "low", "high"]].tolist())
    assert first["p"] == pytest.approx(best["p_holm"])
    assert "for 50 training images, the nearest in the store to 60" in found["notes"][0]
    (answer,) = [answer for answer in answers(analysis, frames.trials) if answer.cell_label == "digits, 50 images"]
    assert answer.headline in call("--target", "digits", "--store", store.root, "--size", "60")[1]


def test_the_command_repeats_the_sweeps_settings_so_its_source_is_reused(tmp_path: Path):
    # Its head is a setting that is left out of the plan at its default.
    plan = tiny.make(sources=["numerals"], gan={**tiny.SPEC["gan"], "class_head": "projection"})
    planned = as_mapping(plan.spec)
    line = command(planned, "numerals", "finetune", "shapes", 30, 8, True, "my store")
    words = shlex.split(line)
    assert words[:5] == ["transfergan", "run", "quickstart", "--store", "my store"]
    spec = load_spec("quickstart", words[6::2])
    assert set(words[5::2]) == {"--set"}
    assert (spec.sources, spec.targets, spec.sizes) == (("numerals",), ("shapes",), (30,))
    assert spec.strategies == ("scratch", "finetune")
    assert (spec.conditional, spec.augmentation) == ((True,), ("none",))
    flipped = shlex.split(command(planned, "numerals", "finetune", "shapes", 30, 8, True, "my store", "flip"))
    assert load_spec("quickstart", flipped[6::2]).augmentation == ("flip",)
    unlabelled = make_plan(spec.model_copy(update={"conditional": (False,)}))
    assert unlabelled.of_kind("pretrain")[0].key == plan.of_kind("pretrain")[0].key


def test_the_command_accepts_a_budget_in_images_and_a_hostile_name(tmp_path: Path):
    target = "folder:/a b/'; rm -rf ~ #]["
    planned: dict[str, Any] = {**as_mapping(tiny.make().spec), "pretrain": {"images": 640}}
    spec = load_spec("quickstart", shlex.split(command(planned, "numerals", "finetune", target, 9, 8, False, "s"))[6::2])
    assert spec.pretrain.steps == 640 / tiny.SPEC["training"]["batch"]
    assert spec.targets == (target,)
    assert spec.gan.resolution == 8
    other = load_spec(
        "quickstart", shlex.split(command({"older": 1}, "numerals", "finetune", "digits", 9, 32, False, "s"))[6::2]
    )
    assert other.gan.resolution == 32


def test_an_embedding_is_found_by_its_identity(tmp_path: Path):
    identity = embedding_identity("builtin")
    assert embedding_name(identity, {}) == "builtin"
    planned = {"s": {"spec": {"evaluation": {"embedding": "custom:/none.pt"}}}, "t": {"spec": {}}}
    assert embedding_name(identity, planned) == "builtin"
    assert embedding_name("custom:123", planned) is None


def test_a_target_with_too_few_images_is_refused(tmp_path: Path, synthetic: Store):
    from PIL import Image

    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((16, 16, 3), 60 * number, np.uint8)).save(folder / f"{number}.png")
    with pytest.raises(UserError, match="reference images and needs 4"):
        distances_to(
            f"folder:{folder}", ["shapes"], StoredReferences(synthetic, publish=False), "builtin", 8, lambda what: None
        )
    with pytest.raises(UserError, match="at 8 to 64 pixels"):
        distances_to("digits", ["shapes"], StoredReferences(synthetic, publish=False), "builtin", 65, lambda what: None)
