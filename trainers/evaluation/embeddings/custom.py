"""An embedding of the user's own: a TorchScript file (.pt) or an exported program (.pt2).

It takes images uint8 (N, 3, H, W) of any size, resizes and normalises inside, and returns features float (N, D).
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
from trainers.evaluation.embeddings.embedding import in_batches

BATCH = 100


class Custom:
    """The user's embedding on a device; see :class:`trainers.evaluation.embeddings.Embedding`."""

    licence = "the owner's"

    def __init__(self, name: str, identity: str, device: str) -> None:
        """Load the network.

        Raises:
            UserError: the file is not there, or not what its name says.
        """
        self.identity = identity
        self._file = weights_file(name)
        self._device = torch.device(device)
        try:
            self._network = _load(self._file, self._device)
        except Exception as error:  # whatever a parser may say to bytes that are not its own
            what = CUSTOM[self._file.suffix]
            raise UserError(f"embedding file {str(self._file)!r} cannot be read as {what}: {_first_line(error)}") from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 (N, D) of images uint8 (N, H, W, 3).

        Raises:
            UserError: the network does not take such images, or does not return finite features (N, D).
        """
        return in_batches(self._features, images, BATCH)

    def _features(self, images: np.ndarray) -> Tensor:
        n, height, width = images.shape[:3]
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self._device)
        asked = f"embedding file {str(self._file)!r}, given images uint8 ({n}, 3, {height}, {width}),"
        try:
            found = self._network(x)
        except Exception as error:  # it runs the user's network
            raise UserError(f"{asked} fails: {_first_line(error)}") from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != n or not found.is_floating_point():
            what = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"{asked} returns {what} and must return features float ({n}, D)")
        if not bool(found.isfinite().all()):
            raise UserError(f"{asked} returns features that are not finite")
        return found


def _load(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    if file.suffix == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is on its way out, and users have it
            return torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call, no-any-return]
    from torch.export.passes import move_to_device_pass

    with _nothing_unpickled():
        program = torch.export.load(file)
    return move_to_device_pass(program, str(device)).module()


@contextmanager
def _nothing_unpickled() -> Iterator[None]:
    """Keep PyTorch from unpickling parts of an exported program, which could run whatever its author liked."""
    name, logger = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", logging.getLogger("torch.export")
    before, level = os.environ.get(name), logger.level
    os.environ[name] = "1"
    logger.setLevel(logging.CRITICAL)  # it logs the traceback of what it also raises
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
