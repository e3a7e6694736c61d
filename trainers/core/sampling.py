"""Sampling of images from a generator."""

import numpy as np
import torch

from trainers.common.heartbeat import beat
from trainers.common.seeds import derive_seed
from trainers.networks import Generator

#: Images per batch. Batch norm uses the statistics of the batch, so changing this changes what is measured.
BATCH = 250


@torch.no_grad()
def sample(generator: Generator, latent: int, n: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return n generated images, uint8 (n, H, W, 3).

    The same seed gives the same latents for every generator, so images of two generators can be compared side by side.
    `labels` are the requested classes int64 (n,), by default all in turn if the generator is conditional.
    """
    device = next(generator.parameters()).device
    random = torch.Generator().manual_seed(derive_seed("latents", seed))
    if labels is None and generator.classes:
        labels = np.arange(n) % generator.classes
    batches = []
    generator.eval()  # affects running statistics only
    for start in range(0, n, BATCH):
        # Always a full batch, so that its statistics do not depend on n.
        z = torch.randn(BATCH, latent, generator=random)
        requested = None
        if labels is not None:
            requested = torch.from_numpy(np.resize(labels[start : start + BATCH], BATCH)).to(device)
        images = generator(z.to(device), requested)
        batches.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
        beat()
    generator.train()
    return torch.cat(batches)[:n].numpy()


def proportional(counts: np.ndarray, n: int) -> np.ndarray:
    """Return classes int64 (n,) whose shares, in every prefix, are about those of `counts`, int64 (K,).

    A class with count 0 does not occur. Equal counts give the classes in turn.
    """
    requested, deficits = np.empty(n, np.int64), np.zeros(len(counts), np.int64)
    for i in range(n):
        deficits += counts
        requested[i] = deficits.argmax()  # the class that is furthest behind its share
        deficits[requested[i]] -= counts.sum()
    return requested
