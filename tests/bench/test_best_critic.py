"""The critic of the best rung: kept while a trial trains, exported with its generator, and imported as a source."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.images.export import readme_of_networks
from bench.images.exported import Description
from bench.images.generate import best_rungs
from bench.store import Store
from bench.store.trial_files import critics, generators, last_checkpoint
from bench.sweeps.loading import load_spec
from bench.upkeep.check import check
from bench.worker.publishing import Publisher
from tests.support import tiny
from tests.support.command_line import call
from trainers.config.settings import GanConfig
from trainers.evaluation.evaluator import Measurement
from trainers.trial import checkpoints
from trainers.trial.run import run
from trainers.trial.rung import Rung

PLAN = tiny.make()
SOURCE, SCRATCH, ADAPTED = PLAN.by_key


def with_fid(rung: Rung, step: int, fid: float, **others: float) -> Rung:
    """Return a rung at another step with other measurements."""
    values = {"fid": fid, **others}
    rung = replace(rung, step=step, measurements=tuple(Measurement(name, value, None, 8) for name, value in values.items()))
    assert rung.critic is not None
    critic = checkpoints.load(rung.critic, "here")
    return replace(rung, critic=checkpoints.repack(critic, critic.trial, rung.report, checkpoints.CRITIC))


@pytest.fixture(scope="module")
def first() -> Rung:
    """The first rung of training a trial."""
    return next(event for event in run(PLAN.by_key[SCRATCH]) if isinstance(event, Rung))


def test_every_trial_has_the_critic_of_its_best_rung_and_no_other(finished: Store):
    best = best_rungs(finished, {key: set(generators(finished, key)) for key in PLAN.by_key})
    for key in PLAN.by_key:
        assert list(critics(finished, key)) == [best[key][0]]
    named = last_checkpoint(finished, SCRATCH)
    assert named is not None
    last = checkpoints.load(named[1], named[0])
    ((step, path),) = critics(finished, SCRATCH).items()
    kept = checkpoints.load(finished.read_file(path), path)
    assert (kept.step, kept.trial) == (step, PLAN.by_key[SCRATCH])
    assert kept.network("critic").keys() == last.network("critic").keys()
    assert kept.network("generator") == {}


def test_the_lowest_fid_so_far_decides_also_after_a_new_start(store: Store, first: Rung):
    def publisher() -> Publisher:
        return Publisher(store, PLAN.by_key[SCRATCH], "small", None, "e")

    publish, kept = publisher(), []
    for step, fid in ((0, 9.0), (2, 3.0), (4, math.nan), (6, 3.0)):
        publish.publish(with_fid(first, step, fid))
        kept.append(list(critics(store, SCRATCH)))
    assert kept == [[0], [2], [2], [2]]
    publisher().publish(with_fid(first, 8, 3.5))
    assert list(critics(store, SCRATCH)) == [2]
    # With images set apart for choices, these choose.
    publisher().publish(with_fid(first, 10, 7.0, fid_selection=2.0))
    assert list(critics(store, SCRATCH)) == [10]
    store.write_file(critics(store, SCRATCH)[10], b"damaged")
    publisher().publish(with_fid(first, 12, 99.0))
    assert list(critics(store, SCRATCH)) == [12], "a damaged one is replaced"


def test_the_networks_of_the_best_rung_become_a_source(finished: Store, tmp_path: Path):
    assert (
        call("export", "--trial", ADAPTED, "--format", "networks", "--out", tmp_path / "n", "--store", finished.root).exit_code
        == 0
    )
    tensors = load_file(tmp_path / "n/networks.safetensors")
    ((step, path),) = critics(finished, ADAPTED).items()
    drawn = checkpoints.load(finished.read_file(generators(finished, ADAPTED)[step]), "generator")
    ours = {f"generator.{name}": tensor for name, tensor in drawn.network("generator").items()}
    critic = checkpoints.load(finished.read_file(path), path)
    ours |= {f"critic.{name}": tensor for name, tensor in critic.network("critic").items()}
    assert tensors.keys() == ours.keys()
    assert all(torch.equal(tensors[name], ours[name]) for name in ours)

    (command,) = (line for line in (tmp_path / "n/README.md").read_text().splitlines() if "transfergan import" in line)
    words = command.split("`")[1].replace("DOMAIN", PLAN.by_key[ADAPTED].domain.name).replace("NAME", "winner").split()[1:]
    words[words.index("STORE")] = finished.root
    words = [str(tmp_path / "n" / word) if word == "networks.safetensors" else word for word in words]
    done = call(*words, "--set", "evaluation.samples=64")
    assert done.exit_code == 0, done.output
    assert "import:winner: trial" in done.stdout
    key = done.stdout.split("import:winner: trial ")[1].split(",")[0]
    named = last_checkpoint(finished, key)
    assert named is not None
    source = checkpoints.load(named[1], named[0])
    assert all(torch.equal(source.tensors[name], tensor) for name, tensor in tensors.items())
    assert check(finished) == []


@pytest.mark.parametrize(("gan", "setting"), [
    ({"class_head": "projection"}, "gan.class_head=projection"),
    ({"family": "style", "mapping": 2}, "gan.mapping=2"),
    ({}, "gan.width=4"),
])  # fmt: skip
def test_the_command_to_import_has_the_settings_that_differ_from_the_presets(gan: dict[str, Any], setting: str):
    trial = PLAN.by_key[ADAPTED]
    changed = GanConfig.model_validate({**trial.gan.model_dump(), **gan})
    training = trial.training.model_copy(update={"loss": "hinge"})
    described = trial.model_copy(update={"gan": changed, "training": training})
    text = readme_of_networks(Description("k", "step 2", described, (), ()))
    (command,) = (line for line in text.splitlines() if "transfergan import" in line)
    words = command.split("`")[1].split()
    given = [word for flag, word in zip(words, words[1:], strict=False) if flag == "--set"]
    assert setting in given
    assert load_spec("quickstart", given).gan == changed


def test_a_pruned_critic_is_missed_in_one_line(finished: Store, tmp_path: Path):
    assert call("store", "prune", "--keep", "last", "--store", finished.root).exit_code == 0
    assert finished.files("critics", below=True) == {}
    done = call("export", "--trial", ADAPTED, "--format", "networks", "--out", tmp_path / "n", "--store", finished.root)
    assert f"trial {ADAPTED} has no critic at its best rung" in str(done.exception)
    assert not (tmp_path / "n").exists()
