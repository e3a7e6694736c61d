"""Images drawn from the generators of a trial's rungs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.images.generate import write_images
from bench.store import Store, open_store
from bench.store.trial_files import generator_path
from bench.sweeps.rows import measurement_rows, outcome_row
from trainers import domains
from trainers.common.contact_sheet import png_grid
from trainers.common.errors import UserError
from trainers.config.metrics import metrics
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.sampling import sample
from trainers.evaluation.copies import nearest
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.trial import checkpoints
from trainers.trial.images import training_images
from trainers.trial.run import run
from trainers.trial.rung import Rung


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, TrialConfig, dict[int, Rung]]:
    """A store with the rungs of a trial, its FID set so that the best one is in the middle."""
    digits = domains.get("digits")
    trial = TrialConfig.model_validate({
        "kind": "adapt", "domain": DomainRef(name=digits.name, fingerprint=digits.fingerprint).model_dump(), "size": 20,
        "strategy": "scratch", "gan": {"resolution": 8, "width": 4, "latent": 8},
        "training": {"steps": 4, "batch": 8, "critic_steps": 1, "ema": 0.5}, "evaluation": {"samples": 64, "first_rung": 1},
    })  # fmt: skip
    store = open_store(str(tmp_path_factory.mktemp("generate") / "store"), create=True)
    rungs = {rung.step: rung for rung in run(trial)}
    for rung, fid in zip(rungs.values(), (9.0, 5.0, 3.0, 4.0), strict=True):
        rows = [row | ({"value": fid} if row["metric"] == "fid" else {}) for row in measurement_rows(trial, rung)]
        store.append("measurements", "s", rows)
        assert rung.generator is not None
        store.write_file(generator_path(trial.key, rung.step), rung.generator)
    store.append("trials", "s", [outcome_row(trial, "done", "e", rungs[4].report)])
    return store, trial, rungs


@pytest.mark.parametrize(("step", "raw", "at", "description"), [
    ("best", False, 2, "step 2: FID 3.00, the best of 4 steps"),
    ("best", True, 2, "step 2: FID 3.00, the best of 4 steps"),
    ("last", False, 4, "step 4"),
    ("0", False, 0, "step 0"),
])  # fmt: skip
def test_images_are_of_the_generator_at_a_step(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path, step: str, raw: bool, at: int, description: str
):
    store, trial, rungs = trained
    assert write_images(store, trial.key[:6], 5, 3, tmp_path, step, raw=raw) == f"trial {trial.key}, {description}"
    data = rungs[at].generator
    assert data is not None
    network, latent = checkpoints.generator(checkpoints.load(data, "here"), raw=raw)
    written = np.stack([np.asarray(Image.open(tmp_path / f"{i:05d}.png")) for i in range(5)])
    network.to(memory_format=torch.contiguous_format)
    np.testing.assert_array_equal(written, sample(network, latent, 5, 3))


@pytest.mark.parametrize("step", ["3", "-1", "first", ""])
def test_another_step_is_refused_with_those_that_exist(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path, step: str
):
    store, trial, _ = trained
    with pytest.raises(UserError, match="has no generator there; it has them at 0, 1, 2, 4, or best or last"):
        write_images(store, trial.key, 1, 0, tmp_path, step)


def test_images_are_shown_beside_their_nearest_training_images(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, trial, _ = trained
    out = tmp_path / "images"
    write_images(store, trial.key, 5, 3, out, nearest=True)
    written = np.stack([np.asarray(Image.open(out / f"{i:05d}.png")) for i in range(5)])
    training, embed = training_images(trial).images, load_embedding("builtin")
    ours, theirs = embed(written).astype(float), embed(training).astype(float)
    indices = np.linalg.norm(ours[:, None] - theirs[None], axis=-1).argmin(1)
    pairs = np.stack([written, training[indices]], 1).reshape(10, 8, 8, 3)
    assert (tmp_path / "images-nearest.png").read_bytes() == png_grid(pairs)
    assert (tmp_path / "images-sheet.png").read_bytes() == png_grid(written)
    assert len(list(out.iterdir())) == 5, "a sheet in the folder would be measured by `evaluate`"
    noise = np.random.default_rng(0).integers(-3, 4, training.shape)
    copies = (training.astype(int) + noise).clip(0, 255).astype(np.uint8)[::-1]
    assert list(nearest(copies, training, embed)) == list(range(len(training)))[::-1]
    few = replace(metrics()["memorisation"], training_images=19)
    monkeypatch.setattr("trainers.config.metrics.metrics", lambda: {"memorisation": few})
    with pytest.raises(UserError, match="--nearest: the trial has 20 training images, and they are compared up to 19"):
        write_images(store, trial.key, 5, 3, out, nearest=True)
