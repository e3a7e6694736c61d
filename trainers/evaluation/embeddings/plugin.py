"""An embedding that another package defines."""

import numpy as np
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import PluginEmbedding
from trainers.evaluation.embeddings.embedding import Embedding, checked_features, last_line


class Plugin(Embedding):
    """The embedding of a plug-in on a device."""

    def __init__(self, plugin: PluginEmbedding, identity: str, device: str) -> None:
        """Load the network.

        Raises:
            UserError: the plug-in cannot load it.
        """
        super().__init__(identity, device)
        self.licence = plugin.licence
        self._name = plugin.name
        try:
            self._compute = plugin.load(device)
        except Exception as error:  # it runs the code of another package
            raise UserError(f"embedding {plugin.name!r} cannot be loaded: {last_line(error)}") from error

    def _features(self, images: np.ndarray) -> Tensor:
        call = f"embedding {self._name!r}, given images uint8 {images.shape},"
        return checked_features(call, self._compute, images.copy(), len(images))
