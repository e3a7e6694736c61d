"""Images drawn from the generators of a trial's rungs."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from bench.images.drawing import LEG, Drawing, slerp
from bench.images.generate import write_images
from bench.store import Store, open_store
from bench.store.trial_files import generator_path, samples_path
from bench.sweeps.rows import measurement_rows, outcome_row
from tests.support.command_line import call
from trainers import domains
from trainers.common.contact_sheet import png_grid
from trainers.common.errors import UserError
from trainers.config.metrics import metrics
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.sampling import BATCH, draw, latents, sample
from trainers.evaluation.copies import nearest
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.networks import make_generator
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
    ("0", False, 0, "step 0, an untrained network"),
])  # fmt: skip
def test_images_are_of_the_generator_at_a_step(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path, step: str, raw: bool, at: int, description: str
):
    store, trial, rungs = trained
    (line,) = write_images(store, trial.key[:6], Drawing(5, 3), tmp_path, step, raw=raw)
    assert line.startswith(f"5 images of trial {trial.key}, {description}: ")
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
        write_images(store, trial.key, Drawing(1), tmp_path, step)


def test_images_are_shown_beside_their_nearest_training_images(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, trial, rungs = trained
    out = tmp_path / "images"
    write_images(store, trial.key, Drawing(5, 3), out, nearest=True)
    written = np.stack([np.asarray(Image.open(out / f"{i:05d}.png")) for i in range(5)])
    training, embed = training_images(trial).images, load_embedding("builtin")
    ours, theirs = embed(written).astype(float), embed(training).astype(float)
    indices = np.linalg.norm(ours[:, None] - theirs[None], axis=-1).argmin(1)
    pairs = np.stack([written, training[indices]], 1).reshape(10, 8, 8, 3)
    assert (tmp_path / "images-nearest.png").read_bytes() == png_grid(pairs)
    assert (tmp_path / "images-sheet.png").read_bytes() == png_grid(written)
    assert rungs[0].nearest is None, "nothing has been learnt from them"
    network, latent = checkpoints.generator(checkpoints.load(rungs[4].generator or b"", "here"))
    drawn = embed(sample(network, latent, 64, 0)[:32]).astype(float)
    assert rungs[4].nearest == png_grid(training[np.linalg.norm(drawn[:, None] - theirs[None], axis=-1).argmin(1)])
    assert len(list(out.iterdir())) == 5, "a sheet in the folder would be measured by `evaluate`"
    noise = np.random.default_rng(0).integers(-3, 4, training.shape)
    copies = (training.astype(int) + noise).clip(0, 255).astype(np.uint8)[::-1]
    assert list(nearest(copies, training, embed)) == list(range(len(training)))[::-1]
    few = replace(metrics()["memorisation"], training_images=19)
    monkeypatch.setattr("trainers.config.metrics.metrics", lambda: {"memorisation": few})
    with pytest.raises(UserError, match="--nearest: the trial has 20 training images, and they are compared up to 19"):
        write_images(store, trial.key, Drawing(5, 3), out, nearest=True)


def test_a_walk_turns_and_grows_evenly_from_end_to_end():
    rng = np.random.default_rng(0)
    start, end, along = rng.normal(size=16), 2 * rng.normal(size=16), np.linspace(0, 1, 7)
    points = slerp(start, end, along)
    np.testing.assert_allclose(points[[0, -1]], [start, end], atol=1e-12)
    lengths = np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(lengths, np.interp(along, [0, 1], np.linalg.norm([start, end], axis=1)))
    cosines = points @ start / lengths / np.linalg.norm(start)
    whole = np.arccos(start @ end / np.linalg.norm(start) / np.linalg.norm(end))
    np.testing.assert_allclose(np.arccos(cosines.clip(-1, 1)), along * whole, atol=1e-7)
    for parallel in (3 * start, -2 * start, start):
        np.testing.assert_allclose(slerp(start, parallel, along), np.outer(1 - along, start) + np.outer(along, parallel))


def near(images: np.ndarray, others: np.ndarray) -> bool:
    """Whether images are those of equal latents and statistics that were rounded otherwise."""
    return bool(np.abs(images.astype(int) - others).max() <= 2)


def test_truncated_images_and_walks_have_the_statistics_of_the_seeds_latents(
    trained: tuple[Store, TrialConfig, dict[int, Rung]],
):
    data = trained[2][4].generator
    assert data is not None
    loaded = checkpoints.load(data, "here")
    network, latent = checkpoints.generator(loaded)
    plain = sample(network, latent, 300, 3)
    # The running averages of equal batches are the statistics of one of them, but for their unbiased variance.
    settled = make_generator(loaded.trial.gan.model_copy(update={"batch_norm": "running"}))
    settled.load_state_dict(network.state_dict(), strict=False)
    z = latents(latent, BATCH, 3)
    with torch.no_grad():
        for _ in range(150):
            settled(z)
    truncated = Drawing(40, 3, truncation=0.5).images(loaded, network)
    assert near(truncated, draw(settled, z[:40] * 0.5))
    assert truncated.std(0).mean() < 0.8 * plain[:40].std(0).mean()
    frames = Drawing(1, 3).walk(loaded, network, 3)
    assert near(frames[::LEG], plain[:3])
    middle = slerp(z[2].double().numpy(), z[0].double().numpy(), np.array([0.2]))
    assert near(frames[2 * LEG + 5][None], draw(settled, torch.from_numpy(middle).float()))
    np.testing.assert_array_equal(frames, Drawing(9, 3).walk(loaded, network, 3))
    np.testing.assert_array_equal(plain, sample(network, latent, 300, 3))  # nothing stays fixed


def test_classes_are_drawn_by_name_or_index_as_among_all_classes():
    shapes = domains.get("shapes")
    gan = {"resolution": 8, "width": 4, "latent": 8}
    trial = TrialConfig.model_validate({
        "kind": "adapt", "size": 20, "strategy": "scratch", "conditional": True, "gan": gan, "evaluation": {},
        "domain": DomainRef(name="shapes", fingerprint=shapes.fingerprint, classes=shapes.classes).model_dump(),
        "training": {"steps": 4},
    })  # fmt: skip
    counts = torch.arange(len(shapes.classes))
    loaded = checkpoints.Checkpoint({"class_counts": counts}, trial, 0, {}, {})
    network = make_generator(trial.gan, len(shapes.classes))
    for norm in network.modules():
        if hasattr(norm, "scale"):
            torch.nn.init.normal_(norm.scale, generator=torch.Generator().manual_seed(1))
    requested = loaded.requested(30)
    assert requested is not None
    plain = sample(network, 8, 30, 5, loaded.requested(BATCH))[:30]
    names = (shapes.classes[1], "2")
    drawn = Drawing(30, 5, classes=names).images(loaded, network)
    of_turn = np.arange(30) % 2 + 1
    same = requested == of_turn
    assert near(drawn[same], plain[same])
    assert same.any()
    assert not near(drawn[~same], plain[~same])
    one = Drawing(1, 5, classes=names[1:])
    assert near(one.walk(loaded, network, 2)[:1], one.images(loaded, network))
    for wrong, why in (("0", "no training images of this class"), ("nothing", f"are {shapes.classes[0]}, "), ("99", "indices")):
        with pytest.raises(UserError, match=f"--classes '{wrong}': .*{why}"):
            Drawing(1, classes=(wrong,)).images(loaded, network)


def test_progress_shows_the_grids_of_the_rungs_and_names_damaged_ones(
    trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path
):
    store, trial, rungs = trained
    arguments = ("generate", "--store", store.uri, "--trial", trial.key, "-n", "1", "--out", tmp_path / "drawn", "--progress")
    assert "no progress: the trial has no sample grids yet" in call(*arguments).stdout
    for step, rung in rungs.items():
        store.write_file(samples_path(trial.key, step), rung.samples or b"")
    store.write_file(samples_path(trial.key, 2), b"no PNG")
    result = call(*arguments)
    at = tmp_path / "drawn-progress.gif"
    assert f"its sample grids at the steps 0, 1, 4: {at}; {samples_path(trial.key, 2)} is left out: cannot " in result.stdout
    with Image.open(at) as gif:
        shown = [
            (np.asarray(frame.convert("RGB")).astype(int), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)
        ]
    assert [duration for _, duration in shown] == [500, 500, 2000]
    for (frame, _), step in zip(shown, (0, 1, 4), strict=True):
        with Image.open(io.BytesIO(rungs[step].samples or b"")) as png:
            grid = np.asarray(png.convert("RGB")).repeat(7, 0).repeat(7, 1)
        assert np.abs(frame[:-20] - grid).mean() < 8, "a GIF has 256 colours"
        assert frame[-20:].any(), "the step stands below"
    assert not np.array_equal(shown[0][0][-20:], shown[1][0][-20:])


@pytest.mark.slow
def test_generate_writes_a_large_sheet_and_a_walk(trained: tuple[Store, TrialConfig, dict[int, Rung]], tmp_path: Path):
    store, trial, _ = trained
    arguments = ("--store", store.uri, "--trial", trial.key, "-n", "70", "--out", tmp_path / "drawn")
    result = call("generate", *arguments, "--columns", "20", "--walk", "2", "--truncation", "0.9")
    assert result.exit_code == 0, result.output
    drawn = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "drawn").iterdir())])
    assert (tmp_path / "drawn-sheet.png").read_bytes() == png_grid(drawn, 20)
    with Image.open(tmp_path / "drawn-walk.gif") as gif:
        assert (gif.info["loop"], gif.info["duration"], gif.size) == (0, 40, (256, 256))
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert len(frames) == 2 * LEG
    assert near(frames[0], drawn[0].repeat(32, 0).repeat(32, 1))
    assert near(frames[LEG], drawn[1].repeat(32, 0).repeat(32, 1))
    if ffmpeg := shutil.which("ffmpeg"):
        decoded = subprocess.run(
            [ffmpeg, "-loglevel", "error", "-i", tmp_path / "drawn-walk.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            capture_output=True, check=True,
        )  # fmt: skip
        movie = np.frombuffer(decoded.stdout, np.uint8).reshape(-1, 256, 256, 3).astype(int)
        assert np.abs(movie - frames).mean() < 8, "the colours are coded at half the resolution"
    else:
        assert "drawn-walk.gif; no MP4: ffmpeg is not on the PATH (apt-get install ffmpeg)" in result.stdout
    refused = call("generate", *arguments, "--classes", "7")
    assert "is not conditional; leave it out" in str(refused.exception)
