"""CLIP's image features, by clean-fid's mode for CLIP; the `clip` package must be installed."""

import numpy as np
import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import weights_file
from trainers.evaluation.embeddings.embedding import Embedding


class Clip(Embedding):
    """CLIP ViT-B/32's image features on a device."""

    licence = "MIT (CLIP by OpenAI)"
    batch = 50

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the weights.

        Raises:
            UserError: the file is missing, or the `clip` package is not installed.
        """
        super().__init__(identity, device)
        file = weights_file(name)
        try:
            from cleanfid.clip_features import CLIP_fx, img_preprocess_clip
        except ImportError as error:
            raise UserError(
                "embedding 'clip' needs the clip package: pip install git+https://github.com/openai/CLIP.git"
            ) from error
        self._network = CLIP_fx(name=str(file), device=device)
        self._network.model.float()  # the package uses float16 on a GPU; a metric must not depend on the device
        self._prepare = img_preprocess_clip

    def _features(self, images: np.ndarray) -> Tensor:
        prepared = np.stack([self._prepare(image) for image in images])
        features: Tensor = self._network(torch.from_numpy(prepared.transpose(0, 3, 1, 2)).to(self.device))
        return features
