"""An embedding that another package defines."""

import numpy as np
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import PluginEmbedding
from trainers.evaluation.embeddings.embedding import checked_features, in_batches, last_line

BATCH = 100


class Plugin:
    """The embedding of a plug-in on a device; see :class:`trainers.evaluation.embeddings.embedding.Embedding`."""

    def __init__(self, plugin: PluginEmbedding, identity: str, device: str) -> None:
        """Load the network.

        Raises:
            UserError: the plug-in cannot load it.
        """
        self.identity, self.licence = identity, plugin.licence
        self._name = plugin.name
        try:
            self._compute = plugin.load(device)
        except Exception as error:  # it runs the code of another package
            raise UserError(f"embedding {plugin.name!r} cannot be loaded: {last_line(error)}") from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, D) of images uint8 (N, H, W, 3).

        Raises:
            UserError: the plug-in fails, or does not return finite features (N, D).
        """
        return in_batches(self._features, images, BATCH)

    def _features(self, images: np.ndarray) -> Tensor:
        call = f"embedding {self._name!r}, given images uint8 {images.shape},"
        return checked_features(call, self._compute, images.copy(), len(images))
