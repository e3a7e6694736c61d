"""The training images of a GAN on its device, and the minibatches that are drawn from them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.config.settings import TrainingConfig


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

    def choose(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return the indices int64 (n,) of a minibatch and their classes; classes have equal probability."""
        if self.order is None or self.present is None or self.starts is None or self.counts is None:
            return draw(len(self.pixels), n, random), None
        k = draw(len(self.present), n, random)
        fraction = torch.rand(n, generator=random, device=random.device)
        within = (fraction * self.counts[k]).long().minimum(self.counts[k] - 1)
        return self.order[self.starts[k] + within], self.present[k]


def real_images(pixels: Tensor, chosen: Tensor, training: TrainingConfig, random: torch.Generator) -> Tensor:
    """Return the chosen images (n, 3, H, W) in [-1, 1], with the configuration's random mirroring and translation.

    `pixels` are uint8 (N, 3, H, W), `chosen` int64 (n,).
    """
    if not (training.flip or training.crop):
        return pixels[chosen].float().div(127.5).sub(1)
    side, n = pixels.shape[-1], len(chosen)
    rows = columns = torch.arange(side, device=pixels.device).expand(n, side)
    if training.flip:
        mirrored = draw(2, n, random)[:, None].bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    if training.crop:
        rows, columns = (
            _mirror_at_edges(index + draw(2 * training.crop + 1, n, random)[:, None] - training.crop, side)
            for index in (rows, columns)
        )
    picked = pixels[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (n, H, W, 3)
    return picked.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def draw(high: int, n: int, random: torch.Generator) -> Tensor:
    """Return random integers int64 (n,) in [0, high), on the device of the random numbers."""
    return torch.randint(high, (n,), generator=random, device=random.device)


def _mirror_at_edges(index: Tensor, side: int) -> Tensor:
    """Return indices in [0, side) from indices less than `side` outside it, mirrored at the first and the last pixel."""
    index = index.abs()
    return torch.where(index < side, index, 2 * (side - 1) - index)


def channels_first(images: np.ndarray) -> Tensor:
    """Return images (N, H, W, 3) as a tensor (N, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
