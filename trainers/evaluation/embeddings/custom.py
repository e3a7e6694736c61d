"""An embedding in a network file of the user's: TorchScript (.pt) or an exported program (.pt2).

The network takes images uint8 (N, 3, H, W) of any size, resizes and normalises them itself, and returns features float (N, D).
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.embeddings import CUSTOM, weights_file
from trainers.evaluation.embeddings.embedding import Embedding, checked_features, last_line


class Custom(Embedding):
    """The user's network on a device."""

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the network.

        Raises:
            UserError: the file is missing, or not of the format that its suffix names.
        """
        super().__init__(identity, device)
        self._file = weights_file(name)
        try:
            self._network = _load(self._file, self.device)
        except Exception as error:  # a parser may raise anything on an invalid file
            what = CUSTOM[self._file.suffix]
            raise UserError(f"embedding file {str(self._file)!r} cannot be read as {what}: {last_line(error)}") from error

    def _features(self, images: np.ndarray) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self.device)
        call = f"embedding file {str(self._file)!r}, given images uint8 {tuple(x.shape)},"
        return checked_features(call, self._network, x, len(x))


def _load(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    if file.suffix == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but users have such files
            return torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call, no-any-return]
    from torch.export.passes import move_to_device_pass

    with _without_unpickling():
        program = torch.export.load(file)
    return move_to_device_pass(program, str(device)).module()


@contextmanager
def _without_unpickling() -> Iterator[None]:
    """Keep PyTorch from unpickling parts of an exported program: a pickle can run any code."""
    name, logger = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", logging.getLogger("torch.export")
    before, level = os.environ.get(name), logger.level
    os.environ[name] = "1"
    logger.setLevel(logging.CRITICAL)  # it logs the traceback of an exception that it also raises
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
