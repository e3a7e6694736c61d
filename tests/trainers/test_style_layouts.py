"""Published layouts of style-based networks: checkpoints in them draw and score as their own networks in NumPy do."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import stylegan2, stylegan2_bilinear
from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.networks import make_critic, make_generator
from trainers.trial.checkpoints import with_prefix
from trainers.trial.imports import Fitting, fit, read

ROSINALITY = stylegan2.checkpoint([12, 6, 3], latent=8, mapping=2)
LUCIDRAINS = stylegan2_bilinear.checkpoint(16, capacity=2, latent=8, mapping=2)
STYLE = GanConfig(family="style", resolution=16, width=3, latent=8, mapping=2)
BILINEAR = GanConfig(family="style-bilinear", resolution=16, width=4, latent=8, mapping=2)


def tensors(arrays: stylegan2.Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def nested(arrays: stylegan2.Arrays) -> dict[str, dict[str, Tensor]]:
    """Return a rosinality checkpoint as its training script saves it, without what is no network."""
    return {part: with_prefix(tensors(arrays), f"{part}.") for part in ("g_ema", "d")}


def networks(fitting: Fitting, gan: GanConfig) -> tuple[Any, Any]:
    fitting.check("it")
    pair = make_generator(gan).double(), make_critic(gan).double()
    for name, network in zip(("generator", "critic"), pair, strict=True):
        network.load_state_dict(with_prefix(fitting.tensors, f"{name}."))
    return pair


def latents(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 8))


def test_rosinalitys_networks_give_the_same_images_and_scores_here(tmp_path: Path):
    """From the file of its training script, with another raw generator, optimisers and the options of the run."""
    others = {"g": {name: tensor + 1 for name, tensor in nested(ROSINALITY)["g_ema"].items()}}
    optimiser = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.002}]}
    rest = {"g_optim": optimiser, "d_optim": optimiser, "args": argparse.Namespace(size=16), "ada_aug_p": 0.0}
    torch.save({**nested(ROSINALITY), **others, **rest}, tmp_path / "net.pt")
    fitting = fit(read(tmp_path / "net.pt"), {}, STYLE, 0)
    assert fitting.lines[0] == "layout: rosinality's stylegan2-pytorch, from g_ema, d"
    assert fitting.lines[1].startswith("generator: ")
    assert len(fitting.lines) == 3, "every tensor has a counterpart"
    generator, critic = networks(fitting, STYLE)
    official = stylegan2.Official(ROSINALITY)
    theirs = official.generator(latents(6))
    assert theirs.std() > 0.5
    with torch.no_grad():
        images = generator(torch.from_numpy(latents(6)))
        scores, _ = critic(images)
    np.testing.assert_allclose(images.numpy(), theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores.numpy(), official.critic(theirs), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        single = generator.float()(torch.from_numpy(latents(6)).float())
    np.testing.assert_allclose(single.numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("average", [False, True])
def test_lucidrains_networks_give_the_same_images_and_scores_here(tmp_path: Path, average: bool):
    stored = tensors(LUCIDRAINS)
    if average:  # stored beside the raw networks, which differ
        raw = {name: tensor + 1 for name, tensor in stored.items() if not name.startswith("D.")}
        stored = {name.replace("G.", "GE.").replace("S.", "SE."): tensor for name, tensor in stored.items()} | raw
    torch.save({"GAN": {**stored, "D_aug.D.to_logit.bias": torch.zeros(1)}, "version": "1.8.9"}, tmp_path / "model_7.pt")
    fitting = fit(read(tmp_path / "model_7.pt"), {}, BILINEAR, 0)
    parts = "GAN.GE, GAN.SE, GAN.D" if average else "GAN.G, GAN.S, GAN.D"
    assert fitting.lines[0] == f"layout: lucidrains' stylegan2-pytorch, from {parts}"
    assert len(fitting.lines) == 3
    generator, critic = networks(fitting, BILINEAR)
    official = stylegan2_bilinear.Official(LUCIDRAINS)
    noise = np.repeat(generator.noise.numpy().transpose(0, 3, 2, 1), 6, 0)
    assert 0 <= noise.min() < 0.1 < 0.9 < noise.max() <= 1
    theirs = official.generator(latents(6), noise)
    assert theirs.std() > 0.2
    with torch.no_grad():
        images = generator(torch.from_numpy(latents(6)))
        scores, _ = critic(images)
    # Our weights are theirs times a factor that the pass divides by again, rounded to float32.
    np.testing.assert_allclose(images.numpy() / 2 + 0.5, theirs, atol=1e-5)
    np.testing.assert_allclose(scores.numpy(), official.critic(theirs), atol=1e-5)
    with torch.no_grad():
        single = generator.float()(torch.from_numpy(latents(6)).float())
    np.testing.assert_allclose(single.numpy() / 2 + 0.5, theirs, atol=1e-4)


def changed(arrays: stylegan2.Arrays, changes: Mapping[str, np.ndarray | None]) -> dict[str, Tensor]:
    found = {**arrays, **{name: array for name, array in changes.items() if array is not None}}
    return tensors({name: array for name, array in found.items() if changes.get(name, array) is not None})


@pytest.mark.parametrize(("stored", "gan", "classes", "message"), [
    (tensors(ROSINALITY), STYLE.model_copy(update={"resolution": 32}), 0,
     "networks of gan: family style, resolution 16, width 3, latent 8, mapping 2; the sweep has family style, resolution 32, "),
    (tensors(ROSINALITY), STYLE.model_copy(update={"width": 6}), 0, "width 3, latent 8, mapping 2; the sweep has family style, "
     "resolution 16, width 6, latent 8, mapping 2: name a sweep with the checkpoint's with --for, or --set gan.KEY=VALUE"),
    (tensors(ROSINALITY), GanConfig(), 0, "the sweep has family resnet, resolution 16, width 16, latent 128, mapping 8"),
    (tensors(ROSINALITY), STYLE, 3, "networks without classes, and --conditional expects 3"),
    (with_prefix(tensors(ROSINALITY), "g_ema."), STYLE, 0, "a generator alone; a source has a critic too, as state dict 'd'"),
    (changed(ROSINALITY, {"d.convs.1.skip.0.kernel": np.ones((4, 4), "f4")}), STYLE, 0,
     "another filter than [1, 3, 3, 1] in 'd.convs.1.skip.0.kernel'"),
    (tensors(LUCIDRAINS), BILINEAR.model_copy(update={"mapping": 8}), 0, "latent 8, mapping 2; the sweep has"),
    (changed(LUCIDRAINS, {"G.initial_block": None}), BILINEAR, 0, "no learned constant (no_const) or attention"),
    (changed(LUCIDRAINS, {f"G.blocks.{i}.to_rgb.conv.weight": np.ones((4, c, 1, 1), "f4") for i, c in enumerate((16, 8, 4))}),
     BILINEAR, 0, "draws transparent images; three colours are expected"),
])  # fmt: skip
def test_other_networks_are_refused_in_a_line_that_says_what_was_expected(
    stored: dict[str, Tensor], gan: GanConfig, classes: int, message: str
):
    with pytest.raises(UserError) as caught:
        fit(stored, {}, gan, classes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arrays", "gan"), [(ROSINALITY, STYLE), (LUCIDRAINS, BILINEAR)])
def test_the_type_of_a_file_does_not_matter_and_a_tensor_without_sizes_fits_nothing(arrays: stylegan2.Arrays, gan: GanConfig):
    """Both also where a tensor is the one that tells the layout, or a filter that is only looked at."""
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        fit({name: tensor.to(kind) for name, tensor in tensors(arrays).items()}, {}, gan, 0).check("it")
    numbers = {*arrays} & {"g_ema.style.1.weight", "g_ema.to_rgbs.1.conv.weight", "g_ema.conv1.conv.weight", "S.net.0.weight"}
    numbers |= {*arrays} & {"G.blocks.2.to_rgb.conv.weight", "G.blocks.0.conv1.weight", "d.convs.1.skip.0.kernel"}
    for name in sorted(numbers):
        for odd in (torch.tensor(1.0), torch.zeros(0)):
            with pytest.raises(UserError):
                fit({**tensors(arrays), name: odd}, {}, gan, 0).check("it")


def test_parameters_and_sparse_tensors_of_a_file_are_read_as_their_values(tmp_path: Path):
    values = torch.tensor([0.0, 2.0])
    kept = {"a": torch.nn.Parameter(values), "b": values.to_sparse(), "c": torch._neg_view(-values)}
    torch.save({"d": kept}, tmp_path / "net.pt")
    for tensor in read(tmp_path / "net.pt").values():
        assert tensor.numpy().tolist() == [0.0, 2.0]
    torch.save({"d": {"a": values.to("meta")}}, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"has no values of 'd\.a'"):
        read(tmp_path / "net.pt")


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch trapped",))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("net.pt", {"g_ema": Trap(), "d": {}}, "could run a program (it names posix.system); save the state dicts where it was"),
    ("net.pkl", {}, "a pickle like NVIDIA's is a program that runs when it is opened, so it is refused; convert it with"),
    ("net.pt", {"g_optim": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}, "step": 3},
     "has no networks (it has 'g_optim', 'step'); expected are state dicts of a generator and a critic, e.g. 'g_ema' and 'd'"),
    ("net.pt", [torch.zeros(2)], "has no networks (it has list)"),
    ("net.pth", b"PK\x03\x04 cut", "is damaged or no file of torch.save"),
    ("net.pt", b"", "is damaged or no file of torch.save"),
    ("net.pt", b"some text", "is damaged or no file of torch.save"),
    ("absent.pt", None, "cannot be read: No such file or directory"),
])  # fmt: skip
def test_a_file_that_is_no_state_dict_is_refused_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Any, message: str
):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trapped").exists()
