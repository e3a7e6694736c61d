"""Exported generators draw what `generate` draws, in programs without transfergan."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from bench.cli import main
from bench.images.drawing import Drawing
from bench.images.export import FORMATS, export
from bench.images.generate import best_trial, matching_key, read_generator, write_images
from bench.store import Store, open_store
from bench.store.trial_files import generator_path
from bench.sweeps.rows import outcome_row
from tests.support.command_line import call, tree
from tests.support.endurance import TIMES
from trainers.adaptation.phases import add_miner
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.trial import TrialConfig
from trainers.core.sampling import BATCH
from trainers.networks import make_generator
from trainers.trial import checkpoints

#: Exports the generator of a trial in a format.
Exported = Callable[[str, str], tuple[Path, str]]

GAN = {"resolution": 16, "width": 4, "latent": 8}
CLASSES = ("zero", "one", "two")

#: DCGAN and StyleGAN train with another loss than the others.
HINGE = {"steps": 4, "loss": "hinge"}

#: The networks of trials: every family, unconditional and conditional, with both kinds of conditioning and of batch norm.
TRIALS: dict[str, dict[str, Any]] = {
    "resnet": {"gan": GAN},
    "resnet-conditional": {"gan": {**GAN, "depth": 2}, "conditional": True},
    "sngan": {"gan": {**GAN, "family": "sngan", "batch_norm": "running"}},
    "sngan-conditional": {"gan": {**GAN, "family": "sngan", "conditioning": "concat"}, "conditional": True},
    "dcgan": {"gan": {**GAN, "family": "dcgan"}, "training": HINGE},
    "dcgan-conditional": {"gan": {**GAN, "family": "dcgan", "batch_norm": "running"}, "training": HINGE, "conditional": True},
    "style-conditional": {"gan": {**GAN, "family": "style", "mapping": 2}, "training": HINGE, "conditional": True},
}


def config(**changes: Any) -> TrialConfig:
    domain = {"name": "digits", "fingerprint": "digits/1", "classes": CLASSES}
    given = {"kind": "adapt", "domain": domain, "size": 20, "strategy": "scratch", "training": {"steps": 4}, "evaluation": {}}
    return TrialConfig.model_validate({**given, **changes})


def add(
    store: Store, trial: TrialConfig, fid: float = 3.0, *, status: str = "done", error: str | None = None,
    change: Callable[[torch.nn.Module], None] = lambda network: None,
) -> None:  # fmt: skip
    """Record a trial, with a generator at step 4 that has random values in all its tensors."""
    random = torch.Generator().manual_seed(trial.seed)
    network = make_generator(trial.gan, len(CLASSES) if trial.conditional else 0)
    change(network)
    tensors = {
        f"generator.{name}": (tensor + 0.2 * torch.randn(tensor.shape, generator=random)).abs_()
        if name.endswith("variance")
        else tensor + 0.2 * torch.randn(tensor.shape, generator=random)
        for name, tensor in network.state_dict().items()
    }
    if trial.conditional:
        tensors["class_counts"] = torch.tensor([3, 0, 5])
    store.write_file(generator_path(trial.key, 4), checkpoints.pack(tensors, trial, 4, {}, {}))
    store.append("trials", "s", [outcome_row(trial, status, "e", steps=4, error=error)])
    row = {"trial": trial.key, "step": 4, "metric": "fid", "view": trial.evaluation.view, "version": "1", "value": fid}
    store.append("measurements", "s", [row])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the generators of `TRIALS`."""
    store = open_store(str(tmp_path_factory.mktemp("export") / "store"), create=True)
    for changes in TRIALS.values():
        add(store, config(**changes))
    return store


@pytest.fixture(scope="module")
def exported(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export the generator of a trial of `TRIALS` in a format, once for all tests, which leave the folder as it was.

    Returns:
        the folder, and what the verb printed.
    """

    @cache
    def once(name: str, file_format: str) -> tuple[Path, str]:
        out = tmp_path_factory.mktemp(f"{name}-{file_format}") / "out"
        key = config(**TRIALS[name]).key
        result = call("export", "--trial", key, "--format", file_format, "--out", out, "--store", store.uri)
        assert result.exit_code == 0, f"{result.output}{result.exception!r}"
        return out, result.output

    return once


def drawn_by(folder: Path, file_format: str) -> Callable[..., np.ndarray]:
    """Return what draws images from latents and, if it is conditional, classes with an exported generator."""
    if file_format == "torchscript":
        loaded = torch.jit.load(str(folder / "generator.pt"))
        return lambda *inputs: loaded(*map(torch.from_numpy, inputs)).numpy()
    if file_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "generator.onnx")
        names = [given.name for given in session.get_inputs()]
        return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]
    spec = importlib.util.spec_from_file_location("exported_generator", folder / "generator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *inputs: module.draw(*map(torch.from_numpy, inputs)).numpy()


def root_mean_square(differences: np.ndarray) -> float:
    return float(np.sqrt(np.mean(differences**2)))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # to load TorchScript is deprecated
@pytest.mark.parametrize(("name", "file_format"), [
    (name, file_format) for name in TRIALS for file_format in FORMATS
    if TIMES or (name, file_format) != ("style-conditional", "onnx")
])  # fmt: skip
def test_an_exported_generator_draws_the_images_of_generate(
    store: Store, exported: Exported, tmp_path: Path, name: str, file_format: str
):
    trial = config(**TRIALS[name])
    folder, output = exported(name, file_format)
    assert f"the generator of trial {trial.key}, step 4: FID 3.00" in output

    _, loaded, network = read_generator(store, trial.key, "best")
    draw = drawn_by(folder, file_format)
    write_images(store, trial.key, Drawing(9, 3), tmp_path / "images")
    latents = torch.randn(BATCH, 8, generator=torch.Generator().manual_seed(derive_seed("latents", 3)))
    requested = loaded.requested(9)
    labels = () if requested is None else (np.resize(requested, BATCH),)
    images = draw(latents.numpy(), *labels)
    assert images.shape == (BATCH, 3, 16, 16)
    assert images.dtype == np.float32
    written = np.stack([np.asarray(Image.open(tmp_path / "images" / f"{i:05d}.png")) for i in range(9)])
    levels = ((images[:9] + 1) * 127.5).transpose(0, 2, 3, 1).clip(0, 255)
    assert np.abs(levels - written).max() < 0.5 + 127.5 * 1e-4
    assert written.std() > 10, "the generator draws something"

    network.eval()
    exact = deepcopy(network).double()
    for batch in (BATCH, 64, 1):  # also of other sizes than the one that it was traced with
        classes = (torch.arange(batch) % len(CLASSES),) if trial.conditional else ()
        with torch.no_grad():
            expected = network(latents[:batch], *classes).numpy()
            reference = exact(latents[:batch].double(), *classes).numpy()
        images = draw(latents[:batch].numpy(), *(c.numpy() for c in classes))
        # Another library rounds elsewhere, and single pixels amplify that on some processors: PyTorch's own values are up to
        # 1e-5 from float64. So the file may be as inexact as PyTorch is.
        assert root_mean_square(images - reference) < 4 * root_mean_square(expected - reference)
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_readme_of_ten_lines_says_what_it_takes_and_returns(exported: Exported, file_format: str):
    trial = config(**TRIALS["resnet-conditional"])
    folder, _ = exported("resnet-conditional", file_format)
    text = (folder / "README.md").read_text()
    assert len(text.splitlines()) == 10
    for part in (
        f"trial {trial.key}", "step 4: FID 3.00", "20 images of digits (resnet, scratch)", "`latents`: float32 (N, 8)",
        "`classes`: int64 (N,): 0 zero, 1 one, 2 two. Without training images, and so of no use: 1.", "float32 (N, 3, 16, 16)",
        "in [-1, 1]", "Draw 250 images at a time, with the classes mixed", FORMATS[file_format][0].partition(".")[0],
    ):  # fmt: skip
        assert part in text
    assert len((folder / "draw.py").read_text().splitlines()) < 25


def test_a_generator_whose_images_do_not_depend_on_each_other_may_draw_any_number(
    exported: Exported,
):
    trial = config(**TRIALS["sngan"])
    folder, _ = exported("sngan", "safetensors")
    text = (folder / "README.md").read_text()
    assert "Batches may have any size" in text
    assert "classes" not in text
    with safe_open(folder / "generator.safetensors", "pt") as file:
        metadata = file.metadata()
        assert set(file.keys()) == set(make_generator(trial.gan).state_dict())
    assert {name: metadata[name] for name in ("family", "resolution", "width", "latent", "classes", "trial")} == {
        "family": "sngan", "resolution": "16", "width": "4", "latent": "8", "classes": "[]", "trial": trial.key,
    }  # fmt: skip


def test_an_onnx_file_is_of_our_inputs_and_has_no_paths_of_this_machine(
    exported: Exported,
):
    import onnx

    folder, _ = exported("dcgan-conditional", "onnx")
    model = onnx.load(folder / "generator.onnx")
    onnx.checker.check_model(model)
    assert [given.name for given in model.graph.input] == ["latents", "classes"]
    assert {item.key: item.value for item in model.metadata_props}["classes"] == json.dumps(CLASSES)
    assert b".py" not in (folder / "generator.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("file_format", ["torchscript", "safetensors"])
def test_a_generator_with_a_miner_is_exported_with_it(tmp_path: Path, file_format: str):
    store, trial = open_store(str(tmp_path / "store"), create=True), config(gan=GAN)
    add(store, trial, change=lambda network: add_miner(network))
    call("export", "--trial", trial.key, "--format", file_format, "--out", tmp_path / "out", "--store", store.uri)
    *_, network = read_generator(store, trial.key, "best")
    latents = torch.randn(BATCH, 8)
    with torch.no_grad():
        expected = network(latents).numpy()
    drawn = drawn_by(tmp_path / "out", file_format)(latents.numpy())
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-5)


#: Runs draw.py of each folder where none of our packages can be imported; of the folder with an ONNX file torch neither.
ALONE = """
import runpy, sys
from pathlib import Path
sys.modules |= dict.fromkeys(("trainers", "bench", "analysis", "ray", "pydantic"))
for folder in map(Path, sys.argv[1:]):
    if (folder / "generator.onnx").exists():
        sys.modules["torch"] = None
    sys.path[:1] = [str(folder)]
    runpy.run_path(str(folder / "draw.py"))
"""


@pytest.mark.slow
def test_the_script_beside_it_draws_a_grid_where_transfergan_is_not(store: Store, exported: Exported, tmp_path: Path):
    folders = []
    for file_format in sorted(FORMATS, key=lambda name: name == "onnx"):
        for name in ("dcgan", "dcgan-conditional"):
            folders.append(tmp_path / f"{file_format}-{name}")
            shutil.copytree(exported(name, file_format)[0], folders[-1])
    folders = [folder for folder in folders if folder.name != "safetensors-dcgan"]  # one generator.py per process
    done = subprocess.run([sys.executable, "-c", ALONE, *folders], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grids = {folder.name: np.asarray(Image.open(folder / "grid.png")).astype(int) for folder in folders}
    assert {grid.shape for grid in grids.values()} == {(128, 128, 3)}
    assert min(grid.std() for grid in grids.values()) > 10
    assert np.abs(grids["torchscript-dcgan-conditional"] - grids["safetensors-dcgan-conditional"]).max() <= 1
    write_images(store, config(**TRIALS["dcgan"]).key, Drawing(64), tmp_path / "images")
    first = np.asarray(Image.open(tmp_path / "images/00009.png")).astype(int)
    np.testing.assert_array_equal(grids["torchscript-dcgan"][16:32, 16:32], first)


def nan(network: torch.nn.Module) -> None:
    """Make all images of a generator NaN."""
    torch.nn.init.constant_(next(network.parameters()), torch.nan)


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A store with trials without a usable generator, its address and their keys by name."""
    store = open_store(str(tmp_path_factory.mktemp("poor") / "store"), create=True)
    trials = {name: config(gan=GAN, seed=seed) for seed, name in enumerate(("diverged", "nan", "none", "good"))}
    add(store, trials["diverged"], status="diverged", error="the critic's loss is not finite at step 3")
    add(store, trials["nan"], 2.0, change=nan)
    store.append("trials", "s", [outcome_row(trials["none"], "failed", "e", steps=0)])
    add(store, trials["good"], 5.0)
    trials["bilinear"] = config(gan={**GAN, "family": "style-bilinear"})
    add(store, trials["bilinear"])
    return {"store": store.uri, **{name: trial.key for name, trial in trials.items()}}


#: Arguments of `export` and part of the message. They run in a folder with the file `f` and the folder `full`.
MISTAKES = [
    ("--trial {diverged} --out x", "trial {diverged} diverged (the critic's loss is not finite at step 3)"),
    ("--trial {nan} --out x", "trial {nan} draws images with values that are not finite (step 4: FID 2.00"),
    ("--trial {none} --out x", "trial {none} has no generator yet"),
    ("--trial zz --out x", "--trial 'zz': no key matches in store"),
    ("--trial {good} --out full", "--out 'full' is not empty; name a new folder"),
    ("--trial {good} --out f", "--out 'f' cannot be used: Not a directory"),
    ("--trial {good} --out f/x", "'f/x' cannot be"),
    ("--trial {good} --out x --format pickle", "Invalid value for '--format': 'pickle' is not one of"),
    ("--trial {bilinear} --out x --format safetensors", "has code beside it, and there is none for gan.family style-bilinear"),
    ("--trial {good} --out x --format onnx", "--format onnx needs onnxscript: pip install onnxscript"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[arguments for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_status_2_and_nothing_is_written(
    poor: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: str, message: str,
):  # fmt: skip
    (tmp_path / "f").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.images.export.find_spec", lambda name: None if name == "onnxscript" else name)
    given = "" if "--format" in arguments else " --format safetensors"
    words = f"export {arguments}{given} --store {{store}}".format(**poor).split()
    monkeypatch.setattr("sys.argv", ["transfergan", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    done = capsys.readouterr()
    assert ended.value.code == 2, done
    (line,) = done.err.splitlines()
    assert message.format(**poor) in line
    assert tree(tmp_path) == before


def test_the_best_trial_is_the_finished_one_with_the_lowest_fid(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    with pytest.raises(UserError, match="has no finished trial with a FID and a generator yet"):
        best_trial(store)
    trials = [config(gan=GAN, seed=seed) for seed in range(4)]
    for trial, fid, status in zip(trials, (5.0, 3.0, 1.0, float("nan")), ("done", "stopped", "diverged", "done"), strict=True):
        add(store, trial, fid, status=status)
    add(store, config(gan=GAN, kind="pretrain", strategy=None), 0.5)
    assert matching_key(store, "best") == trials[1].key
    result = call("generate", "--trial", "best", "-n", 1, "--out", tmp_path / "images", "--store", store.uri)
    assert f"trial {trials[1].key}, step 4: FID 3.00" in result.output


def test_the_best_trial_of_several_cells_is_left_to_the_user(tmp_path: Path):
    store = open_store(str(tmp_path / "store"), create=True)
    trials = [config(gan=GAN, size=size) for size in (10, 20, 30, 40, 1000)]
    trials[1] = config(gan=GAN, size=20, augmentation="flip")
    for fid, trial in enumerate(trials):
        add(store, trial, fid)
        add(store, trial.model_copy(update={"seed": 1}), fid + 0.5)
    store.write_sweep("s", {"spec": {"domains": {"scans": "digits"}}, "trials": []})
    with pytest.raises(UserError) as caught:
        best_trial(store)
    message = str(caught.value)
    assert "FIDs of different cells are not comparable, and store" in message
    assert export(store, trials[0].key, "safetensors", tmp_path / "out").startswith("trial ")
    assert "10 images of scans (resnet, scratch)" in (tmp_path / "out" / "README.md").read_text()
    assert f"has 5; name the best trial of one: {trials[0].key} (scans, 10 images, 16 pixels: FID 0.00), " in message
    assert "(scans, 20 images, 16 pixels, flip: FID 1.00), " in message
    assert message.endswith(", and 1 more")
    assert json.dumps(message).count("scans") == 4
