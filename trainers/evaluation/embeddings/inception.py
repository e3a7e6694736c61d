"""Inception v3, the embedding of published FIDs, with clean-fid's extractor and resizing (Parmar et al. 2022)."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import weights_file
from trainers.evaluation.embeddings.embedding import in_batches

BATCH = 50

DIMENSIONS = 2048

#: The file name that clean-fid expects.
NAME = "inception-2015-12-05.pt"


class Inception:
    """Inception's pool features on a device; see :class:`trainers.evaluation.embeddings.embedding.Embedding`.

    Each image is resized to 299x299, bicubic and antialiased, in float32 without rounding.
    """

    licence = "Apache-2.0 (Inception v3 by Google, as distributed by NVIDIA)"

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the weights.

        Raises:
            UserError: the file is missing, or is not clean-fid's network.
        """
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        file = weights_file(name)
        try:
            with TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # clean-fid loads TorchScript, which is deprecated
                (Path(folder) / NAME).symlink_to(file.absolute())  # it takes a folder with a file of this name
                self._network = InceptionV3W(folder, download=False)
        except (RuntimeError, AttributeError) as error:
            raise UserError(f"{str(file)!r} is not clean-fid's {NAME}, or it is damaged; replace it") from error
        self.identity = identity
        self._device = torch.device(device)
        self._network.to(self._device).eval()
        self._resize = build_resizer("clean")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, 2048) of images uint8 (N, H, W, 3)."""
        return in_batches(self._features, images, BATCH)

    def _features(self, images: np.ndarray) -> Tensor:
        resized = np.stack([self._resize(image) for image in images])
        features: Tensor = self._network(torch.from_numpy(resized.transpose(0, 3, 1, 2)).to(self._device))
        return features
