"""The built-in embedding: a small classifier of the built-in domains, whose weights ship with the package.

``python -m trainers.evaluation.embeddings.train_builtin`` trained it. Its FIDs are not comparable with published FIDs, which
use Inception's features.
"""

from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from trainers.config.embeddings import BUILTIN_DIMENSIONS, BUILTIN_LICENCE, BUILTIN_SIDE, BUILTIN_WEIGHTS
from trainers.evaluation.embeddings.embedding import Embedding

#: Side that every image is resized to, pixels, and dimensions of the features.
SIDE, DIMENSIONS = BUILTIN_SIDE, BUILTIN_DIMENSIONS

CHANNELS = (32, 64, 96)


class Features(nn.Module):
    """Images float (N, 3, 32, 32) in [-1, 1] -> features (N, 64).

    The last layer is linear: after a ReLU, features could be dead on the images of a distant domain. It sees the whole 4x4 map
    rather than its mean, because the positions of the strokes make a digit.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *CHANNELS[:-1]), CHANNELS, strict=True):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * (SIDE // 8) ** 2, DIMENSIONS))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.layers(x)
        return features


def prepare(images: Tensor) -> Tensor:
    """Return images uint8 (N, H, W, 3) as float (N, 3, 32, 32) in [-1, 1], resized with antialiasing."""
    x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    if x.shape[-1] == SIDE and x.shape[-2] == SIDE:
        return x
    return F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)


class Builtin(Embedding):
    """The built-in embedding on a device."""

    licence = BUILTIN_LICENCE
    batch = 250

    def __init__(self, identity: str, device: str) -> None:
        super().__init__(identity, device)
        weights = load_tensors((files("trainers.evaluation.embeddings") / BUILTIN_WEIGHTS).read_bytes())
        self.network = Features()
        self.network.load_state_dict(weights)
        self.network.to(self.device).to(memory_format=torch.channels_last).eval()

    def _features(self, images: np.ndarray) -> Tensor:
        x = prepare(torch.tensor(images.copy(), device=self.device)).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network(x)
        return features
