"""The training images of a GAN on its device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """Training images on the device and, when the GAN is conditional, which of them each class has.

    Attributes:
        pixels: uint8 (N, 3, H, W).
        order: int64 (N,), the images sorted by class.
        present: int64 (K,), the classes that have images.
        starts, counts: int64 (K,); class `present[k]` has the images `order[starts[k] : starts[k] + counts[k]]`.
        held_out: uint8 (M, 3, H, W), real images that are not trained on; only for an adaptive augmentation.
    """

    pixels: Tensor
    order: Tensor | None = None
    present: Tensor | None = None
    starts: Tensor | None = None
    counts: Tensor | None = None
    held_out: Tensor | None = None

    @classmethod
    def on(
        cls, device: torch.device, images: np.ndarray, labels: np.ndarray | None, held_out: np.ndarray | None = None
    ) -> "Data":
        """Move images uint8 (N, H, W, 3), their labels int64 (N,), None when unconditional, and others to a device."""
        pixels, others = (None if array is None else channels_first(array).to(device) for array in (images, held_out))
        assert pixels is not None
        if labels is None:
            return cls(pixels, held_out=others)
        present, counts = np.unique(labels, return_counts=True)
        arrays = np.argsort(labels, kind="stable"), present, np.cumsum(counts) - counts, counts
        order, classes, starts, numbers = (torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays)
        return cls(pixels, order, classes, starts, numbers, others)


def channels_first(images: np.ndarray) -> Tensor:
    """Return images (N, H, W, 3) as a tensor (N, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
