"""TensorFlow checkpoints: read if TensorFlow is installed, converted to our layout, and the paper's names translated to ours.

The names are those of the code of Wang et al. (2018), taken from Gulrajani et al. (2017): a parameter is named ``LAYER.KIND``,
in most cases after its name scope (``Generator.Input/Generator.Input.W``).

========================================  ==============================================
their layer                               ours
========================================  ==============================================
Generator.Input                           generator.input.latent
Generator.Res1.BN1, .Conv2, .Shortcut     generator.blocks.0.norm1, .conv2, .shortcut
Generator.OutputN, Generator.Output       generator.norm, generator.output
Discriminator.Input                       critic.input
Discriminator.Res1.BN2, .Conv1            critic.blocks.0.norm2, .conv1
Discriminator.Output, .ACGANOutput        critic.score, critic.classify
========================================  ==============================================

The kinds W and Filters are our weight, b and Biases our bias, scale our scale, and offset our shift. Other tensors have no
counterpart: Adam's moments, and moving averages that their training never updates.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from torch import Tensor

from trainers.common.errors import UserError

_NETWORKS = {"Generator": "generator", "Discriminator": "critic"}
_LAYERS = {
    "Generator.Input": "generator.input.latent",
    "Generator.OutputN": "generator.norm",
    "Generator.Output": "generator.output",
    "Discriminator.Input": "critic.input",
    "Discriminator.Output": "critic.score",
    "Discriminator.ACGANOutput": "critic.classify",
}
_BLOCK = re.compile(r"(?P<network>Generator|Discriminator)\.Res(?P<number>[1-9])\.(?P<layer>BN1|BN2|Conv1|Conv2|Shortcut)")
_FILE = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_IN_BLOCK = {"BN1": "norm1", "BN2": "norm2", "Conv1": "conv1", "Conv2": "conv2", "Shortcut": "shortcut"}
_KINDS = {"W": "weight", "Filters": "weight", "b": "bias", "Biases": "bias", "scale": "scale", "offset": "shift"}


def our_name(name: str) -> str:
    """Return our name of a tensor of the paper's code; any other name unchanged.

    >>> our_name("Generator.Res1.Conv2/Generator.Res1.Conv2.Filters")
    'generator.blocks.0.conv2.weight'
    """
    layer, _, kind = name.rpartition("/")[2].rpartition(".")
    ours = _LAYERS.get(layer)
    if block := _BLOCK.fullmatch(layer):
        ours = f"{_NETWORKS[block['network']]}.blocks.{int(block['number']) - 1}.{_IN_BLOCK[block['layer']]}"
    return f"{ours}.{_KINDS[kind]}" if ours and kind in _KINDS else name


def is_checkpoint(path: Path) -> bool:
    """Return whether a path names a TensorFlow checkpoint, by its prefix, one of its files, or its folder."""
    return Path(f"{_prefix(path)}.index").is_file() or (path / "checkpoint").is_file()


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint (in a folder, of the last one) by their names in it, in our layout.

    Raises:
        UserError: TensorFlow is not installed, or cannot read the checkpoint.
    """
    if find_spec("tensorflow") is None:
        raise UserError(
            f"checkpoint {str(path)!r} is a TensorFlow checkpoint, and TensorFlow is not installed: run `pip install "
            "tensorflow-cpu`, or save its arrays by name with safetensors.numpy, convolutions as (out, in, height, width) and "
            "matrices as (out, in)"
        )
    # `-P` keeps the program's folder, whose tensorflow.py would shadow the library, off its module path.
    program = [sys.executable, "-P", str(Path(__file__).with_name("tensorflow_arrays.py")), _prefix(path)]
    done = subprocess.run(program, capture_output=True, check=False)  # noqa: S603 - our program
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise UserError(f"checkpoint {str(path)!r} is a TensorFlow checkpoint that TensorFlow cannot read: {reason!r}")
    return {name: in_our_layout(name, array) for name, array in load_arrays(done.stdout).items()}


def _prefix(path: Path) -> str:
    """Return the prefix of a checkpoint's file names, from the prefix itself or from the path of one file."""
    return _FILE.sub("", str(path))


def in_our_layout(name: str, array: np.ndarray) -> Tensor:
    """Return a TensorFlow array in our layout.

    Convolutions (height, width, in, out) become (out, in, height, width) and matrices (in, out) become (out, in). The scales
    and shifts of a norm, with a row per class if conditional, stay unchanged.
    """
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2 and not name.endswith((".scale", ".offset")):
        array = array.T
    return torch.from_numpy(np.array(array, order="C"))
