"""Inception v3, the embedding of published FIDs, with clean-fid's extractor and resizing (Parmar et al. 2022)."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import PUBLISHED, weights_file
from trainers.evaluation.embeddings.embedding import Embedding

#: The file name that clean-fid expects.
NAME = "inception-2015-12-05.pt"


class Inception(Embedding):
    """Inception's pool features on a device.

    Each image is resized to 299x299, bicubic and antialiased, in float32 without rounding.
    """

    licence = PUBLISHED["inception"].licence
    batch = 50

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the weights.

        Raises:
            UserError: the file is missing, or is not clean-fid's network.
        """
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        super().__init__(identity, device)
        file = weights_file(name)
        try:
            with TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # clean-fid loads TorchScript, which is deprecated
                (Path(folder) / NAME).symlink_to(file.absolute())  # it takes a folder with a file of this name
                self._network = InceptionV3W(folder, download=False)
        except (RuntimeError, AttributeError) as error:
            raise UserError(f"{str(file)!r} is not clean-fid's {NAME}, or it is damaged; replace it") from error
        self._network.to(self.device).eval()
        self._resize = build_resizer("clean")

    def _features(self, images: np.ndarray) -> Tensor:
        resized = np.stack([self._resize(image) for image in images])
        features: Tensor = self._network(torch.from_numpy(resized.transpose(0, 3, 1, 2)).to(self.device))
        return features
