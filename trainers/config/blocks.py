"""The blocks of each network, by which strategies keep or freeze a part of it.

A block is a tuple of patterns (as in fnmatch) over the names of tensors. It follows from the configuration alone, so planning
needs no torch.
"""

from typing import Literal

from trainers.config.settings import GanConfig

Network = Literal["generator", "critic"]


def count(network: Network, gan: GanConfig) -> int:
    """Return how many blocks a network has."""
    return len(_blocks(network, gan))


def image_side(network: Network, gan: GanConfig, blocks: int) -> tuple[str, ...]:
    """Return the patterns of the `blocks` blocks nearest to the images and of the layers between them and the images."""
    return _last(network, gan) + tuple(pattern for block in _blocks(network, gan)[:blocks] for pattern in block)


def latent_side(gan: GanConfig, blocks: int) -> tuple[str, ...]:
    """Return the patterns of the generator's `blocks` blocks nearest to the latent and of its linear map of the latent."""
    nearest = _blocks("generator", gan)[::-1][:blocks]
    return ("input.*", *(pattern for block in nearest for pattern in block))


def _last(network: Network, gan: GanConfig) -> tuple[str, ...]:
    """Return the patterns of the layers between the blocks and the images."""
    if network == "critic":
        return ("input.*",) if gan.family == "resnet" else ()
    return _pair(gan.scales - 1) if gan.family == "dcgan" else ("norm.*", "output.*")


def _blocks(network: Network, gan: GanConfig) -> list[tuple[str, ...]]:
    """Return the patterns of each block, from the images on."""
    if gan.family == "dcgan":
        if network == "generator":
            return [_pair(i) for i in reversed(range(gan.scales - 1))]
        return [("input.*",), *((f"downs.{i}.*", f"norms.{i}.*") for i in range(gan.scales - 1))]
    if network == "critic" and gan.family == "sngan":
        return [("first.*",), *((f"blocks.{i}.*",) for i in range((gan.scales - 1) * gan.depth + 1))]
    blocks: list[tuple[str, ...]] = [(f"blocks.{i}.*",) for i in range(gan.scales * gan.depth)]
    return blocks if network == "critic" else blocks[::-1]


def _pair(i: int) -> tuple[str, ...]:
    return f"ups.{i}.*", f"norms.{i}.*"
