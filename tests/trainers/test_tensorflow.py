"""Checkpoints of the paper's code: names and layout, compared with its networks in NumPy; and real checkpoints."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.networks import make_critic, make_generator
from trainers.trial.checkpoints import with_prefix
from trainers.trial.imports import fit, read
from trainers.trial.tensorflow import in_our_layout, is_checkpoint, our_name

DIM, LATENT = 2, 8
GAN = GanConfig(resolution=64, width=DIM, latent=LATENT)
WIDTHS = [DIM, 2 * DIM, 4 * DIM, 8 * DIM, 8 * DIM]
FEATURES = 4 * 4 * 8 * DIM


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in a checkpoint of the paper's code at 64 pixels, by name."""
    result: dict[str, tuple[int, ...]] = {"beta1_power": ()}

    def scoped(layer: str, **kinds: tuple[int, ...]) -> None:
        for kind, shape in kinds.items():
            name = f"{layer}/{layer}.{kind}"
            result.update({name: shape, f"{name}/Adam": shape, f"{name}/Adam_1": shape})

    def norm(layer: str, channels: int) -> None:
        by_class = (classes, channels) if classes and layer.startswith("Generator") else (channels,)
        result.update({f"{layer}.scale": by_class, f"{layer}.offset": by_class})
        if layer.startswith("Generator") and not classes:
            result.update({f"{layer}.moving_mean": (channels,), f"{layer}.moving_variance": (channels,)})

    def block(layer: str, inputs: int, outputs: int, middle: int) -> None:
        norm(f"{layer}.BN1", inputs)
        norm(f"{layer}.BN2", middle)
        scoped(f"{layer}.Conv1", Filters=(3, 3, inputs, middle))
        scoped(f"{layer}.Conv2", Filters=(3, 3, middle, outputs), Biases=(outputs,))
        scoped(f"{layer}.Shortcut", Filters=(1, 1, inputs, outputs), Biases=(outputs,))

    scoped("Generator.Input", W=(LATENT, FEATURES), b=(FEATURES,))
    scoped("Discriminator.Input", Filters=(3, 3, 3, DIM), Biases=(DIM,))
    for i in range(4):
        block(f"Generator.Res{i + 1}", WIDTHS[4 - i], WIDTHS[3 - i], WIDTHS[3 - i])
        block(f"Discriminator.Res{i + 1}", WIDTHS[i], WIDTHS[i + 1], WIDTHS[i])
    norm("Generator.OutputN", DIM)
    scoped("Generator.Output", Filters=(3, 3, DIM, 3), Biases=(3,))
    scoped("Discriminator.Output", W=(FEATURES, 1), b=(1,))
    if classes:
        scoped("Discriminator.ACGANOutput", W=(FEATURES, classes), b=(classes,))
    return result


def checkpoint(classes: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(0.2, 0.3, shape).astype("float32") for name, shape in shapes(classes).items()}


class Paper:
    """The forward passes of the paper's networks in NumPy, channels-last."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name.rpartition("/")[2]: array.astype("float64") for name, array in arrays.items()}

    def conv(self, layer: str, x: np.ndarray) -> np.ndarray:
        filters = self.arrays[f"{layer}.Filters"]
        side = len(filters) // 2
        padded = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, filters.shape[:2], axis=(1, 2))
        return np.einsum("nyxihw,hwio->nyxo", windows, filters, optimize=True) + self.arrays.get(f"{layer}.Biases", 0.0)

    def linear(self, layer: str, x: np.ndarray) -> np.ndarray:
        return x @ self.arrays[f"{layer}.W"] + self.arrays[f"{layer}.b"]

    def norm(self, layer: str, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        axes = (0, 1, 2) if layer.startswith("Generator") else (1, 2, 3)
        x = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
        scale, offset = self.arrays[f"{layer}.scale"], self.arrays[f"{layer}.offset"]
        if scale.ndim == 2:
            scale, offset = scale[labels][:, None, None], offset[labels][:, None, None]
        return np.maximum(x * scale + offset, 0)

    def block(self, layer: str, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        up = layer.startswith("Generator")
        h = self.norm(f"{layer}.BN1", x, labels)
        h = self.norm(f"{layer}.BN2", self.conv(f"{layer}.Conv1", _up(h) if up else h), labels)
        h = self.conv(f"{layer}.Conv2", h)
        return self.conv(f"{layer}.Shortcut", _up(x) if up else _down(x)) + (h if up else _down(h))

    def generator(self, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
        h = self.linear("Generator.Input", z).reshape(-1, 8 * DIM, 4, 4).transpose(0, 2, 3, 1)
        for i in range(4):
            h = self.block(f"Generator.Res{i + 1}", h, labels)
        return np.tanh(self.conv("Generator.Output", self.norm("Generator.OutputN", h, labels)))

    def critic(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        h = self.conv("Discriminator.Input", images)
        for i in range(4):
            h = self.block(f"Discriminator.Res{i + 1}", h, labels)
        h = h.transpose(0, 3, 1, 2).reshape(len(h), -1)
        heads = [name for name in ("Discriminator.Output", "Discriminator.ACGANOutput") if f"{name}.W" in self.arrays]
        return np.concatenate([self.linear(name, h) for name in heads], axis=1)


def _up(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _down(x: np.ndarray) -> np.ndarray:
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


@pytest.mark.parametrize("classes", [0, 3])
def test_networks_of_the_papers_code_give_the_same_images_and_scores_here(classes: int):
    arrays = checkpoint(classes)
    fitting = fit({name: in_our_layout(name, array) for name, array in arrays.items()}, {}, GAN, classes)
    fitting.check("it")
    assert {name.rpartition(".")[2] for name in fitting.ignored} <= {
        "beta1_power", "W/Adam", "W/Adam_1", "b/Adam", "b/Adam_1", "Filters/Adam", "Filters/Adam_1", "Biases/Adam",
        "Biases/Adam_1", "moving_mean", "moving_variance",
    }  # fmt: skip
    z, labels = np.random.default_rng(1).normal(size=(5, LATENT)), np.array([0, 2, 1, 1, 0])
    networks = {"generator": make_generator(GAN, classes), "critic": make_critic(GAN, classes)}
    for name, network in networks.items():
        network.double().load_state_dict(with_prefix(fitting.tensors, f"{name}."))
    paper = Paper(arrays)
    theirs = paper.generator(z, labels)
    with torch.no_grad():
        images = networks["generator"](torch.from_numpy(z), torch.from_numpy(labels))
        scores = [output for output in networks["critic"](images) if output is not None]
    assert theirs.std() > 0.05
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), theirs, atol=1e-9)
    ours = np.concatenate([score.reshape(5, -1).numpy() for score in scores], axis=1)
    np.testing.assert_allclose(ours, paper.critic(theirs, labels), rtol=1e-9)


def test_other_names_are_unchanged():
    for name in (
        "generator.norm.scale",
        "Generator.Res1.BN1.moving_mean",
        "Generator.Res0.BN1.scale",
        "Generator.Res1.BN3.scale",
    ):
        assert our_name(name) == name
    assert our_name("Generator.Res1.BN1.offset") == "generator.blocks.0.norm1.shift"


@pytest.mark.parametrize("name", ["model-7", "model-7.index", "model-7.meta", "model-7.data-00000-of-00001", "."])
def test_a_checkpoint_is_recognised_by_its_files(tmp_path: Path, name: str):
    assert not is_checkpoint(tmp_path / name)
    for file in ("model-7.index", "checkpoint"):
        (tmp_path / file).touch()
    assert is_checkpoint(tmp_path / name)


@pytest.mark.slow
def test_a_real_checkpoint_is_read_by_its_prefix_one_of_its_files_or_its_folder(tmp_path: Path):
    """The checkpoint is written in another process, since TensorFlow and PyTorch cannot share one."""
    if find_spec("tensorflow") is None:
        pytest.skip("needs TensorFlow")
    arrays = {**checkpoint(3), "step": np.array(7)}
    save_file(arrays, tmp_path / "arrays")
    subprocess.run([sys.executable, "-c", SAVE, str(tmp_path)], check=True)
    for path in (tmp_path / "model-7", tmp_path / "model-7.index", tmp_path / "model-7.data-00000-of-00001", tmp_path):
        tensors = read(path)
        assert sorted(tensors) == sorted(arrays)
        assert all(torch.equal(tensors[name], in_our_layout(name, array)) for name, array in arrays.items())
    (tmp_path / "model-7.index").write_bytes(b"short")
    with pytest.raises(UserError, match="is a TensorFlow checkpoint that TensorFlow cannot read: 'file is too short"):
        read(tmp_path / "model-7")


SAVE = """
import sys, pathlib, tensorflow as tf, safetensors.numpy
folder = pathlib.Path(sys.argv[1])
arrays = {**safetensors.numpy.load_file(folder / "arrays"), "graph": tf.constant(b"text")}
tf.raw_ops.SaveV2(
    prefix=str(folder / "model-7"), tensor_names=list(arrays), tensors=list(arrays.values()),
    shape_and_slices=[""] * len(arrays),
)
(folder / "checkpoint").write_text('model_checkpoint_path: "model-7"')
"""
