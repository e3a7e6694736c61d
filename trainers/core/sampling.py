"""Sampling of images from a generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from trainers.common.heartbeat import beat
from trainers.common.seeds import derive_seed
from trainers.networks import Generator
from trainers.networks.norms import BatchNorm

#: Images per batch. Batch norm uses the statistics of the batch, so changing this changes what is measured.
BATCH = 250


def latents(latent: int, n: int, seed: int) -> Tensor:
    """Return the latents float32 (N, latent) of `sample`, drawn from N(0, I); N is n, rounded up to full batches."""
    random = torch.Generator().manual_seed(derive_seed("latents", seed))
    return torch.cat([torch.randn(BATCH, latent, generator=random) for _ in range(0, n, BATCH)])


def sample(generator: Generator, latent: int, n: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return n generated images, uint8 (n, H, W, 3).

    The same seed gives the same latents for every generator, so images of two generators can be compared side by side.
    `labels` are the requested classes int64 (n,), by default all in turn if the generator is conditional.
    """
    if labels is None and generator.classes:
        labels = np.arange(n) % generator.classes
    # Always full batches, so that their statistics do not depend on n.
    return draw(generator, latents(latent, n, seed), labels)[:n]


@torch.no_grad()
def draw(generator: Generator, z: Tensor, labels: np.ndarray | None = None, truncation: float = 1.0) -> np.ndarray:
    """Return the images uint8 (N, H, W, 3) of latents z (N, latent), drawn in batches of `BATCH`.

    `labels` are the requested classes int64, for a conditional generator; each batch repeats its own if they are too few.
    `truncation`, in (0, 1], is that of `Generator.truncated`.
    """
    device = next(generator.parameters()).device
    batches = []
    generator.eval()  # affects running statistics only
    for start in range(0, len(z), BATCH):
        batch = z[start : start + BATCH].to(device)
        requested = None
        if labels is not None:
            requested = torch.from_numpy(np.resize(labels[start : start + BATCH], len(batch))).to(device)
        images = generator(batch, requested) if truncation == 1 else generator.truncated(batch, requested, truncation)
        batches.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu())
        beat()
    generator.train()
    return torch.cat(batches).numpy()


@contextmanager
def fixed_statistics(generator: Generator, z: Tensor, labels: np.ndarray | None = None) -> Iterator[None]:
    """For the block, let batch norms that sample by the statistics of the batch use those of these latents and classes.

    An image then depends on its own latent and class only. By its own statistics a batch of truncated latents would be scaled
    up again, and small differences between latents enlarged. The arguments are those of `draw`.
    """

    def fix(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        norm.variance, norm.mean = torch.var_mean(arguments[0], (0, 2, 3), correction=0)

    norms = [module for module in generator.modules() if isinstance(module, BatchNorm) and module.mean is None]
    hooks = [norm.register_forward_pre_hook(fix) for norm in norms]
    try:
        draw(generator, z, labels)
    finally:
        for hook in hooks:
            hook.remove()
    try:
        yield
    finally:
        for norm in norms:
            norm.mean = norm.variance = None


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
