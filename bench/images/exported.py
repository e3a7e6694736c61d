"""The texts beside an exported generator: a README, a script that draws images and, beside bare weights, the network's code."""

from dataclasses import dataclass
from string import Template

from trainers.common.counts import counted
from trainers.common.seeds import derive_seed
from trainers.config.settings import STYLED
from trainers.config.trial import TrialConfig


@dataclass(frozen=True)
class Description:
    """An exported generator.

    Attributes:
        key: of its trial.
        step: the step and its FID, for people.
        classes: names of its classes; empty if it is unconditional.
        trained: indices of the classes that it had training images of.
    """

    key: str
    step: str
    trial: TrialConfig
    classes: tuple[str, ...]
    trained: tuple[int, ...]

    @property
    def training(self) -> str:
        """What the networks were trained on, and how."""
        trial = self.trial
        images = f"{counted(trial.size, 'image')} of {trial.domain.name}"
        if trial.kind == "pretrain":
            return f"{images} ({trial.gan.family})"
        source = "" if trial.source is None else f" from {trial.source.name}"
        return f"{images} ({trial.gan.family}, {trial.strategy}{source})"

    @property
    def class_names(self) -> str:
        """A line of a README with the classes by index; empty for an unconditional generator."""
        if not self.classes:
            return ""
        lacking = [str(index) for index in range(len(self.classes)) if index not in self.trained]
        without = f" Without training images, and so of no use: {', '.join(lacking)}." if lacking else ""
        names = ", ".join(f"{index} {name}" for index, name in enumerate(self.classes))
        return f"\n- `classes`: int64 (N,): {names}.{without}"


#: By format: the packages that the script needs, and how a program loads and calls the generator.
_USE = {
    "torchscript": ("torch pillow", '`images = torch.jit.load("generator.pt")($arguments)`'),
    "onnx": (
        "onnxruntime numpy pillow",
        '`onnxruntime.InferenceSession("generator.onnx").run(None, {$feed})`, a list with the images',
    ),
    "safetensors": ("torch safetensors pillow", "`from generator import draw; images = draw($arguments)` in this folder"),
}

_README = """\
# The generator of transfergan's trial $key

Trained on $trained_on; $step.

- Draw: $use.
- `latents`: float32 (N, $latent), from the standard normal distribution.$classes
- `images`: float32 (N, 3, $resolution, $resolution), RGB, in [-1, 1]$beyond; `(images + 1) * 127.5` is in [0, 255].
- $batches
- `pip install $packages`, then `python draw.py` draws 64 images into grid.png; transfergan is not needed.
"""

_BY_BATCH = (
    "Draw 250 images at a time$mixed: batch norm uses the statistics of the batch, so an image depends slightly on the others "
    "in its batch, and small batches draw poor images."
)
_ALONE = "Batches may have any size: an image depends on its latent alone."

_DRAW_WITH_TORCH = '''\
"""Draw $what into grid.png."""

from pathlib import Path

import torch
from PIL import Image
$import_draw

here = Path(__file__).resolve().parent
$load_draw
# The latents of `transfergan generate --seed 0`; another number draws other images.
latents = torch.randn(250, $latent, generator=torch.Generator().manual_seed($seed))
$make_classes
with torch.no_grad():
    images = draw($arguments)[:64]
pixels = images.add(1).mul(127.5).round().clamp(0, 255).byte()
grid = pixels.unflatten(0, (8, 8)).permute(0, 3, 1, 4, 2)  # row, y, column, x, colour
Image.frombytes("RGB", ($side, $side), bytes(grid.flatten().tolist())).save(here / "grid.png")
'''

_DRAW_WITH_ONNX = '''\
"""Draw $what into grid.png."""

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

here = Path(__file__).resolve().parent
session = onnxruntime.InferenceSession(here / "generator.onnx")
latents = np.random.default_rng(0).standard_normal((250, $latent), np.float32)
$make_classes
(images,) = session.run(None, {$feed})
pixels = ((images[:64] + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
grid = pixels.reshape(8, 8, *pixels.shape[1:]).transpose(0, 3, 1, 4, 2)  # row, y, column, x, colour
Image.fromarray(grid.reshape($side, $side, 3)).save(here / "grid.png")
'''

#: The generators of `trainers.networks`, in few lines: a file without a class for each layer is easier to take elsewhere.
_HEAD = '''\
"""The generator whose weights are in generator.safetensors, in PyTorch."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

weights = load_file(Path(__file__).resolve().with_name("generator.safetensors"))


def draw(latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
    """Map latents float32 (N, $latent)$and_classes to images float32 (N, 3, $resolution, $resolution) in [-1, 1]."""
    if "input.miner.first.weight" in weights:
        latents = latents + linear(F.relu(linear(latents, "input.miner.first")), "input.miner.second")
'''

_NORMED = '''\
    x = linear(latents, "input.latent")
    if "input.classes.weight" in weights:
        x = x + weights["input.classes.weight"][classes]
    x = x.unflatten(1, (-1, $base, $base))
$body

def linear(x: torch.Tensor, name: str) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x: torch.Tensor, name: str, classes: torch.Tensor | None) -> torch.Tensor:
    """Batch norm, with scales and shifts per class if there are any, then ReLU."""
    mean, variance = weights.get(f"{name}.mean"), weights.get(f"{name}.variance")
    scale, shift = weights[f"{name}.scale"], weights[f"{name}.shift"]
    if scale.ndim == 1:
        return F.relu(F.batch_norm(x, mean, variance, scale, shift, training=mean is None, eps=1e-5))
    x = F.batch_norm(x, mean, variance, training=mean is None, eps=1e-5)
    return F.relu(x * scale[classes][..., None, None] + shift[classes][..., None, None])
'''

_STYLE = '''\
    w = latents * (latents.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    w = equalised(w, "input.latent", 0.01)
    if "input.classes.weight" in weights:
        w = w + weights["input.classes.weight"][classes] * 0.01
    w = leaky(w)
    for i in range($mapping - 1):
        w = leaky(equalised(w, f"input.layers.{i}", 0.01))
    x = styled(weights["first.constant"].expand(w.shape[0], -1, -1, -1), w, "first.layer")
    images = to_image(x, w, "first.to_image")
    for i in range($blocks):
        x = styled(styled(x, w, f"blocks.{i}.up", up=True), w, f"blocks.{i}.layer")
        images = F.conv_transpose2d(images, 4 * low_pass(3), stride=2, padding=1, groups=3)
        images = images + to_image(x, w, f"blocks.{i}.to_image")
    return images


def linear(x: torch.Tensor, name: str) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def equalised(x: torch.Tensor, name: str, rate: float = 1.0) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"] * (rate / x.shape[1] ** 0.5), weights[f"{name}.bias"] * rate)


def leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2) * 2**0.5


def low_pass(channels: int) -> torch.Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(line, line).expand(channels, 1, -1, -1)


def modulated(x: torch.Tensor, w: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the modulated feature map, the weight, and the norms to divide by."""
    scales = equalised(w, f"{name}.modulation")
    weight = weights[f"{name}.weight"]
    weight = weight / weight[0].numel() ** 0.5
    norms = (F.linear(scales.square(), weight.square().sum((2, 3))) + 1e-8).sqrt()
    return x * scales[..., None, None], weight, norms[..., None, None]


def styled(x: torch.Tensor, w: torch.Tensor, name: str, up: bool = False) -> torch.Tensor:
    x, weight, norms = modulated(x, w, f"{name}.conv")
    if up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        x = F.conv2d(x, 4 * low_pass(x.shape[1]), padding=1, groups=x.shape[1])
    else:
        x = F.conv2d(x, weight, padding=1)
    x = x / norms + weights[f"{name}.strength"] * weights[f"{name}.noise"]
    return leaky(x + weights[f"{name}.shift"][:, None, None])


def to_image(x: torch.Tensor, w: torch.Tensor, name: str) -> torch.Tensor:
    x, weight, _ = modulated(x, w, f"{name}.conv")
    return F.conv2d(x, weight) + weights[f"{name}.shift"][:, None, None]
'''

#: The families whose generators are written here.
WRITTEN = ("resnet", "sngan", "dcgan", "style")

_RESNET = '''\
    for i in range($blocks):
        h = norm(x, f"blocks.{i}.norm1", classes)
        up = i % $depth == 0
        h = convolve_up(h, f"blocks.{i}.conv1") if up else convolve(h, f"blocks.{i}.conv1")
        h = convolve(norm(h, f"blocks.{i}.norm2", classes), f"blocks.{i}.conv2")
        if f"blocks.{i}.shortcut.weight" in weights:
            x = convolve(x, f"blocks.{i}.shortcut")
        x = h + (F.interpolate(x, scale_factor=2) if up else x)
    return torch.tanh(convolve(norm(x, "norm", classes), "output"))


def convolve(x: torch.Tensor, name: str) -> torch.Tensor:
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, weights.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def convolve_up(x: torch.Tensor, name: str) -> torch.Tensor:
    """Up-sample to twice the size, then convolve: as one transposed convolution with a kernel of 4 x 4."""
    weight = F.pad(weights[f"{name}.weight"].flip(2, 3), (1, 1, 1, 1))
    weight = weight[:, :, 1:] + weight[:, :, :-1]
    weight = weight[..., 1:] + weight[..., :-1]
    return F.conv_transpose2d(x, weight.transpose(0, 1), weights.get(f"{name}.bias"), stride=2, padding=1)
'''

_DCGAN = """\
    for i in range($blocks):
        x = norm(x, f"norms.{i}", classes)
        x = F.conv_transpose2d(x, weights[f"ups.{i}.weight"], stride=2, padding=1)
    return torch.tanh(x)
"""


def texts(file_format: str, description: Description) -> dict[str, str]:
    """Return the texts beside a generator exported in a format, by file name."""
    gan, classes = description.trial.gan, description.classes
    packages, use = _USE[file_format]
    values: dict[str, object] = {
        "key": description.key, "step": description.step, "trained_on": description.training, "packages": packages,
        "latent": gan.latent, "resolution": gan.resolution, "base": gan.base, "depth": gan.depth, "side": 8 * gan.resolution,
        "seed": derive_seed("latents", 0), "blocks": gan.scales * (gan.depth if gan.family in ("resnet", "sngan") else 1),
        "mapping": gan.mapping, "beyond": " but for few pixels, to be clamped" if gan.family in STYLED else "",
        "arguments": "latents, classes" if classes else "latents",
        "feed": '"latents": latents, "classes": classes' if classes else '"latents": latents',
        "and_classes": f", and classes int64 (N,) from 0 to {len(classes) - 1}," if classes else "",
        "mixed": ", with the classes mixed as in your data" if classes else "",
        "what": "64 images, the classes in turn," if classes else "64 images",
        "classes": description.class_names, "make_classes": _classes_in_turn(file_format, description),
        "import_draw": "\nfrom generator import draw" if file_format == "safetensors" else "",
        "load_draw": 'draw = torch.jit.load(here / "generator.pt")' if file_format == "torchscript" else "",
    }  # fmt: skip
    values["use"] = _fill(use, values)
    values["batches"] = _fill(_BY_BATCH, values) if gan.batch_norm == "batch" and gan.family not in STYLED else _ALONE
    values["body"] = _fill(_DCGAN if gan.family == "dcgan" else _RESNET, values)
    network = _HEAD + (_STYLE if gan.family in STYLED else _NORMED)
    files = {"README.md": _README, "draw.py": _DRAW_WITH_ONNX if file_format == "onnx" else _DRAW_WITH_TORCH}
    files |= {"generator.py": network} if file_format == "safetensors" else {}
    return {name: _fill(text, values) for name, text in files.items()}


def _fill(text: str, values: dict[str, object]) -> str:
    """Return a text with values for its names; lines that only name an empty value go."""
    lines = text.splitlines(keepends=True)
    return Template("".join(line for line in lines if values.get(line.strip().removeprefix("$"), line))).substitute(values)


def _classes_in_turn(file_format: str, description: Description) -> str:
    if not description.classes:
        return ""
    library = "np.array({}, np.int64)" if file_format == "onnx" else "torch.tensor({})"
    indices = library.format(list(description.trained))
    arange = "np.arange" if file_format == "onnx" else "torch.arange"
    return f"classes = {indices}[{arange}(250) % {len(description.trained)}]"
