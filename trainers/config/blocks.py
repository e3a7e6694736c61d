"""The blocks of each network, by which strategies keep or freeze a part of it.

A block is a tuple of patterns (as in fnmatch) over the names of tensors. It follows from the configuration alone, so planning
needs no torch.
"""

from collections.abc import Sequence
from typing import Literal

from trainers.config.settings import STYLED, GanConfig

Network = Literal["generator", "critic"]


def count(network: Network, gan: GanConfig) -> int:
    """Return how many blocks a network has."""
    return len(_layout(network, gan)[1])


def image_side(network: Network, gan: GanConfig, blocks: int) -> tuple[str, ...]:
    """Return the patterns of the `blocks` blocks nearest to the images and of the layers between them and the images."""
    last, from_images = _layout(network, gan)
    return last + tuple(pattern for block in from_images[:blocks] for pattern in block)


def latent_side(gan: GanConfig, blocks: int) -> tuple[str, ...]:
    """Return the patterns of the generator's `blocks` blocks nearest to the latent and of its linear map of the latent."""
    nearest = _layout("generator", gan)[1][::-1][:blocks]
    return ("input.*", *(pattern for block in nearest for pattern in block))


def scales_and_shifts(gan: GanConfig) -> tuple[str, ...]:
    """Return the patterns of the generator's layers that only scale and shift the channels of its feature maps."""
    return ("*.modulation.*", "*.strength", "*.shift") if gan.family in STYLED else ("*.scale", "*.shift")


def most_channels(gan: GanConfig) -> int:
    """Return the number of channels of the widest convolution."""
    most: int = min(gan.width * 2**gan.scales, 512) if gan.family in STYLED else gan.width * 2 ** min(gan.scales - 1, 3)
    return most


def feature_layers(network: Network, gan: GanConfig) -> tuple[str, ...]:
    """Return the module of each block at whose output its features are, in the order of computation."""
    from_images = [block[-1].removesuffix(".*") for block in _layout(network, gan)[1]]
    return tuple(from_images if network == "critic" else from_images[::-1])


def _layout(network: Network, gan: GanConfig) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Return the patterns of the layers between the blocks and the images, and of each block, from the images on."""
    residual = [(f"blocks.{i}.*",) for i in range(gan.scales * gan.depth)]
    per_scale = residual[: gan.scales]
    ups, downs = ([(f"{kind}.{i}.*", f"norms.{i}.*") for i in range(gan.scales)] for kind in ("ups", "downs"))
    resnet_generator = ("norm.*", "output.*"), residual[::-1]
    layouts: dict[tuple[str, Network], tuple[tuple[str, ...], Sequence[tuple[str, ...]]]] = {
        ("resnet", "generator"): resnet_generator,
        ("resnet", "critic"): (("input.*",), residual),
        ("sngan", "generator"): resnet_generator,
        ("sngan", "critic"): ((), [("first.*",), *residual[: (gan.scales - 1) * gan.depth + 1]]),
        ("dcgan", "generator"): (ups[-1], ups[:-1][::-1]),
        ("dcgan", "critic"): ((), [("input.*",), *downs[:-1]]),
        ("fast", "generator"): (("output.*",), [*per_scale[:0:-1], ("norm.*", *per_scale[0])]),
        ("fast", "critic"): (("input.*",), [*per_scale[:-1], ("decoders.*", *per_scale[-1])]),
        ("style", "generator"): ((), [*per_scale[::-1], ("first.*",)]),
        ("style", "critic"): (("input.*",), [*per_scale, ("last.*",)]),
        ("style-bilinear", "generator"): (("noise",), [*per_scale[::-1], ("first.*",)]),
        ("style-bilinear", "critic"): ((), [*((f"blocks.{i}.*",) for i in range(gan.scales + 2)), ("last.*",)]),
    }
    return layouts[gan.family, network]
