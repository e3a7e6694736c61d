"""DINOv2 and CLIP: torchvision's vision transformer with the weights of their official files.

Images are prepared as for published values: FD-DINOv2 of Stein et al. (2023), and CLIP's own code. No file is unpickled.
"""

import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from trainers.common.errors import UserError, first_line
from trainers.config.embeddings import PUBLISHED, weights_file
from trainers.evaluation.embeddings.embedding import Embedding

State = Mapping[str, Tensor]

#: Dimensions of an attention head in all these networks.
_HEAD = 64

#: Our names of a block's tensors by those in the files of DINOv2 and of CLIP.
_DINOV2 = {
    "norm1": "ln_1", "norm2": "ln_2", "attn.qkv.": "self_attention.in_proj_", "attn.proj": "self_attention.out_proj",
    "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3",
}  # fmt: skip
_CLIP = {"attn.": "self_attention.", "mlp.c_fc": "mlp.0", "mlp.c_proj": "mlp.3"}


class _VisionTransformer(Embedding):
    """A published vision transformer on a device.

    Each image is resized to 224x224 by Pillow, bicubic, and rounded to bytes, then normalised by `mean` and `std`.
    """

    batch = 32
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the weights.

        Raises:
            UserError: the file is missing, or is not the network's.
        """
        super().__init__(identity, device)
        published, file = PUBLISHED[identity.partition(":")[0]], weights_file(name)
        self.licence, self._side = published.licence, published.side
        official = f"{str(file)!r} is not {published.file.name} of {published.network}, or it is damaged; replace it"
        try:
            self._network, dimensions = self.read(file, self._side)
        except Exception as error:  # a parser may raise anything on an invalid file
            raise UserError(f"{official} ({first_line(error)})") from error
        if dimensions != published.dimensions:
            raise UserError(f"{official} (its features have {dimensions} dimensions, not {published.dimensions})")
        self._network.to(self.device).eval()

    @staticmethod
    def read(file: Path, side: int) -> tuple[nn.Module, int]:
        """Return the network in a file for images of `side` pixels, and the dimensions of its features."""
        raise NotImplementedError

    def prepare(self, images: np.ndarray) -> Tensor:
        """Return images uint8 (N, H, W, 3) as the network takes them, float32 (N, 3, side, side)."""
        size = (self._side, self._side)
        resized = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in images])
        x = torch.from_numpy(resized).permute(0, 3, 1, 2).float().div(255)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return ((x - mean) / std).contiguous()

    def _features(self, images: np.ndarray) -> Tensor:
        features: Tensor = self._network(self.prepare(images).to(self.device))
        return features


class Dinov2(_VisionTransformer):
    """DINOv2's class token after the last norm, without registers (Oquab et al. 2023)."""

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    @staticmethod
    def read(file: Path, side: int) -> tuple[nn.Module, int]:
        """Return the network in a file, a state dict of the authors' code."""
        return dinov2(torch.load(file, map_location="cpu", weights_only=True), side)


class Clip(_VisionTransformer):
    """CLIP's image features in the space that it shares with text, not normalised (Radford et al. 2021)."""

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

    @staticmethod
    def read(file: Path, side: int) -> tuple[nn.Module, int]:
        """Return the network in a file, a TorchScript program with float16 weights; the program is not run."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
            program = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
        state = {name: tensor for name, tensor in program.state_dict().items() if name.startswith("visual.")}
        return clip({name: tensor.float() for name, tensor in state.items()}, side)


def dinov2(state: State, side: int) -> tuple[nn.Module, int]:
    """Return DINOv2's network for images of `side` pixels from its state dict, and the dimensions of its features.

    The scales of its layers (LayerScale) are multiplied into the weights before them.
    """
    patches = state["patch_embed.proj.weight"]
    ours = {
        "conv_proj.weight": patches, "conv_proj.bias": state["patch_embed.proj.bias"], "class_token": state["cls_token"],
        "encoder.pos_embedding": positions(state["pos_embed"], side // patches.shape[-1]),
        "encoder.ln.weight": state["norm.weight"], "encoder.ln.bias": state["norm.bias"],
    }  # fmt: skip
    for prefix, number in _blocks(state, r"blocks\.(\d+)\."):
        of_block = _renamed(state, prefix, _DINOV2)
        for layer, scale in (("self_attention.out_proj", "ls1.gamma"), ("mlp.3", "ls2.gamma")):
            gamma = of_block.pop(scale)
            of_block[f"{layer}.weight"] = of_block[f"{layer}.weight"] * gamma[:, None]
            of_block[f"{layer}.bias"] = of_block[f"{layer}.bias"] * gamma
        ours |= {f"encoder.layers.encoder_layer_{number}.{name}": tensor for name, tensor in of_block.items()}
    network = _empty(ours, side, 1e-6)
    network.heads = nn.Identity()
    network.load_state_dict(ours, assign=True)
    return network, len(patches)


def clip(state: State, side: int) -> tuple[nn.Module, int]:
    """Return CLIP's network of images for `side` pixels from its state dict, and the dimensions of its features."""
    visual = {name.removeprefix("visual."): tensor for name, tensor in state.items() if name.startswith("visual.")}
    patches, projection = visual["conv1.weight"], visual["proj"]
    ours = {
        "conv_proj.weight": patches, "conv_proj.bias": torch.zeros(len(patches)),
        "class_token": visual["class_embedding"][None, None], "encoder.pos_embedding": visual["positional_embedding"][None],
        "encoder.layers.ln_pre.weight": visual["ln_pre.weight"], "encoder.layers.ln_pre.bias": visual["ln_pre.bias"],
        "encoder.ln.weight": visual["ln_post.weight"], "encoder.ln.bias": visual["ln_post.bias"], "heads.weight": projection.T,
    }  # fmt: skip
    for prefix, number in _blocks(visual, r"transformer\.resblocks\.(\d+)\."):
        of_block = _renamed(visual, prefix, _CLIP)
        ours |= {f"encoder.layers.encoder_layer_{number}.{name}": tensor for name, tensor in of_block.items()}
    network, (width, dimensions) = _empty(ours, side, 1e-5), projection.shape
    with torch.device("meta"):
        network.heads = nn.Linear(width, dimensions, bias=False)
        network.encoder.layers = nn.Sequential(
            OrderedDict([("ln_pre", nn.LayerNorm(width)), *network.encoder.layers.named_children()])
        )
    for layer in network.encoder.layers[1:]:
        layer.mlp[1] = _QuickGelu()
    network.load_state_dict(ours, assign=True)
    return network, dimensions


class _QuickGelu(nn.Module):
    """CLIP's approximation of the GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return x * torch.sigmoid(1.702 * x)


def positions(embedding: Tensor, grid: int) -> Tensor:
    """Return DINOv2's embedding of positions (1, 1 + M*M, D) for a grid of other size, (1, 1 + grid*grid, D).

    As in the authors' code, the scale of the interpolation is that of a grid of `grid` + 0.1, which moves the samples slightly.
    """
    of_class, of_patches = embedding[:, :1], embedding[:, 1:]
    before = round(of_patches.shape[1] ** 0.5)
    if before == grid:
        return embedding
    square = of_patches.reshape(1, before, before, -1).permute(0, 3, 1, 2)
    square = F.interpolate(square, scale_factor=(grid + 0.1) / before, mode="bicubic")
    return torch.cat([of_class, square.flatten(2).permute(0, 2, 1)], 1)


def _blocks(state: State, pattern: str) -> list[tuple[str, int]]:
    """Return the prefix and the number of each block in a state dict, in order."""
    prefixes = {(match[0], int(match[1])) for name in state if (match := re.match(pattern, name))}
    return sorted(prefixes, key=lambda block: block[1])


def _renamed(state: State, prefix: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors of a block without its prefix, under our names."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            short = name.removeprefix(prefix)
            old = next((old for old in names if short.startswith(old)), "")
            renamed[names.get(old, "") + short.removeprefix(old)] = tensor
    return renamed


def _empty(state: State, side: int, eps: float) -> Any:
    """Return torchvision's `VisionTransformer` without weights, of the size that the tensors of a state dict have."""
    from torchvision.models import VisionTransformer

    width, _, patch, _ = state["conv_proj.weight"].shape
    depth = sum(name.endswith("ln_1.weight") for name in state)
    with torch.device("meta"):
        norm = partial(nn.LayerNorm, eps=eps)
        return VisionTransformer(side, patch, depth, width // _HEAD, width, 4 * width, norm_layer=norm)
