"""The families of networks, and what training and transfer need to know of any network.

A new family is a module with a `Generator` and a `Critic`, one entry of `FAMILIES`, its name in `trainers.config.settings` and
its blocks in `trainers.config.blocks`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import dcgan, fast, resnet, sngan
from trainers.networks.layers import Critic, Generator
from trainers.networks.style import bilinear
from trainers.networks.style import critic as style_critic
from trainers.networks.style import generator as style_generator

__all__ = [
    "FAMILIES", "Critic", "Family", "Generator", "convolution_layers", "for_classes_only", "make_critic", "make_generator",
    "per_class", "set_low_gradients",
]  # fmt: skip


class Family(NamedTuple):
    """Constructors of a family's networks; both take the configuration and the number of classes."""

    generator: Callable[[GanConfig, int], Generator]
    critic: Callable[[GanConfig, int], Critic]


#: By name, as in `GanConfig.family`.
FAMILIES = {
    "resnet": Family(resnet.Generator, resnet.Critic),
    "sngan": Family(resnet.Generator, sngan.Critic),
    "dcgan": Family(dcgan.Generator, dcgan.Critic),
    "fast": Family(fast.Generator, fast.Critic),
    "style": Family(style_generator.Generator, style_critic.Critic),
    "style-bilinear": Family(bilinear.Generator, bilinear.Critic),
}


def make_generator(gan: GanConfig, classes: int = 0) -> Generator:
    """Return a new generator of `gan.family`; `classes` is 0 for an unconditional one."""
    return FAMILIES[gan.family].generator(gan, classes)


def make_critic(gan: GanConfig, classes: int = 0) -> Critic:
    """Return a new critic of `gan.family`; `classes` is 0 for one without a class head."""
    critic = FAMILIES[gan.family].critic(gan, classes)
    if classes and gan.class_head == "projection":
        critic.project()
    return critic


def convolution_layers(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the convolutions of a network, of any family: the modules with an attribute `low_gradients`."""
    return (module for module in network.modules() if hasattr(module, "low_gradients"))


def set_low_gradients(network: nn.Module, low: bool) -> None:
    """Set whether a network's gradients compute their convolutions in bfloat16; the forward pass stays in float32."""
    for module in convolution_layers(network):
        setattr(module, "low_gradients", low)  # noqa: B010 - nn.Module declares only tensors and modules as attributes


def for_classes_only(name: str) -> bool:
    """Return whether only conditional networks have the tensor of this name (in the state dict)."""
    return name.startswith(("classify.", "input.classes."))


def per_class(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor has one row per class, by its name in the network's state dict."""
    if name.startswith("classify."):
        return not name.endswith("._v")  # the other side of a spectral norm
    return for_classes_only(name) or (name.endswith((".scale", ".shift")) and tensor.ndim == 2)
