"""The families of networks. Whoever trains them knows none: a generator draws, a critic scores."""

from typing import TypeAlias

from torch import Tensor, nn

from trainers.config.settings import GanConfig
from trainers.networks import dcgan, resnet, sngan
from trainers.networks.layers import Conv

__all__ = ["Critic", "Generator", "for_classes_only", "make_critic", "make_generator", "per_class", "set_low_gradients"]

#: z (N, latent), labels int64 (N,) or None -> images (N, 3, resolution, resolution) in [-1, 1].
Generator: TypeAlias = resnet.Generator | dcgan.Generator

#: Images (N, 3, resolution, resolution) in [-1, 1] -> scores (N,), class logits (N, classes) or None.
Critic: TypeAlias = resnet.Critic | sngan.Critic | dcgan.Critic


def make_generator(gan: GanConfig, classes: int = 0) -> Generator:
    """Return a fresh generator of the family asked for; `classes` is 0 for an unconditional one."""
    return dcgan.Generator(gan, classes) if gan.family == "dcgan" else resnet.Generator(gan, classes)


def make_critic(gan: GanConfig, classes: int = 0) -> Critic:
    """Return a fresh critic of the family asked for; `classes` is 0 for one without a class head."""
    if gan.family == "dcgan":
        return dcgan.Critic(gan, classes)
    return sngan.Critic(gan, classes) if gan.family == "sngan" else resnet.Critic(gan, classes)


def set_low_gradients(network: nn.Module, low: bool) -> None:
    """Say whether the convolutions of a network's gradients are computed in bfloat16; the forward pass never is."""
    for module in network.modules():
        if isinstance(module, Conv | dcgan.Down | dcgan.Up):
            module.low_gradients = low


def for_classes_only(name: str) -> bool:
    """Say whether a tensor, by its name in the state dict, is one that an unconditional network does not have."""
    return name.startswith(("classify.", "input.classes."))


def per_class(name: str, tensor: Tensor) -> bool:
    """Say whether a tensor of a network, by its name in the state dict, has one row per class."""
    if name.startswith("classify."):
        return not name.endswith("._v")  # the other side of a spectral norm
    return for_classes_only(name) or (name.endswith((".scale", ".shift")) and tensor.ndim == 2)
