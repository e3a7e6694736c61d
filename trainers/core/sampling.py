"""Drawing images from a generator."""

import numpy as np
import torch

from trainers.common.heartbeat import beat
from trainers.common.seeds import derive_seed
from trainers.networks import Generator

#: Generated at once. Batch norm uses the batch's statistics, so this is part of what is measured.
BATCH = 250


@torch.no_grad()
def sample(generator: Generator, latent: int, n: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return n generated images, uint8 (n, H, W, 3).

    The same seed gives the same latents, whatever the generator: images of two generators can be laid side by side.

    Args:
        generator: maps latents (and labels) to images in [-1, 1]; has `classes`, 0 when unconditional.
        latent: dimensions of the latent.
        n: how many images.
        seed: decides the latents.
        labels: int64 (n,), the classes asked for; for a conditional generator, round robin when None.
    """
    device = next(generator.parameters()).device
    random = torch.Generator().manual_seed(derive_seed("latents", seed))
    if labels is None:
        labels = round_robin(n, generator.classes)
    batches = []
    generator.eval()  # matters to running statistics alone
    for start in range(0, n, BATCH):
        # Always a full batch: its statistics are part of the generator, and must not depend on n.
        z = torch.randn(BATCH, latent, generator=random)
        wanted = None
        if labels is not None:
            wanted = torch.from_numpy(np.resize(labels[start : start + BATCH], BATCH)).to(device)
        images = generator(z.to(device), wanted)
        batches.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
        beat()
    generator.train()
    return torch.cat(batches)[:n].numpy()


def round_robin(n: int, classes: int) -> np.ndarray | None:
    """Return the classes int64 (n,) that `sample` asks for in turn; None for an unconditional generator (`classes` 0)."""
    return np.arange(n) % classes if classes else None
