"""The layouts of published style-based networks in PyTorch: their names, translated into ours, and their networks.

=====================================  =================================  ===================================
network                                rosinality's stylegan2-pytorch     lucidrains' stylegan2-pytorch
=====================================  =================================  ===================================
family here                            style                              style-bilinear
generator, its average if there is one ``g_ema``, ``g``                   ``GE`` and ``SE``, ``G`` and ``S``
critic                                 ``d``                              ``D``
map from latents to styles             ``style.1``, ...                   ``S.net.0``, ...
learned constant                       ``input.input``                    ``G.initial_block``
a modulated convolution                ``convs.0.conv``                   ``G.blocks.1.conv1``
=====================================  =================================  ===================================

The second has no factors in its passes (but that of the map from latents to styles, 0.1) and adds 1 to a style's scales.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.networks.style.filters import kernel_like

#: By the name in a file: our name, and what the tensor becomes.
Names = dict[str, tuple[str, Callable[[Tensor], Tensor]]]


@dataclass(frozen=True)
class Layout:
    """The tensors of a file in a known layout.

    Attributes:
        whose: the name of the layout.
        generator, critic: the file's tensors by their names in the layout.
        parts: the names of the state dicts that they are from; without any if the file is one state dict.
        gan: the settings of the networks that the shapes tell, as in `GanConfig`.
        names: the names of both networks in the layout.
    """

    whose: str
    generator: dict[str, Tensor]
    critic: dict[str, Tensor]
    parts: tuple[str, ...]
    gan: dict[str, str | int]
    names: Names = field(repr=False)

    def check(self, gan: GanConfig, classes: int) -> None:
        """Raise UserError unless the networks are those of a configuration, without classes, and both are there."""
        expected = ", ".join(f"{name} {value}" for name, value in self.gan.items())
        given = ", ".join(f"{name} {getattr(gan, name)}" for name in self.gan)
        if expected != given:
            raise UserError(
                f"the checkpoint ({self.whose}) has networks of gan: {expected}; the sweep has {given}: name a sweep with the "
                "checkpoint's with --for, or --set gan.KEY=VALUE"
            )
        if gan.base != 4:
            raise UserError(f"the checkpoint ({self.whose}) has networks with gan.base 4; the sweep has {gan.base}")
        if classes:
            raise UserError(f"the checkpoint ({self.whose}) has networks without classes, and --conditional expects {classes}")
        if not self.critic:
            raise UserError(
                f"the checkpoint ({self.whose}) has a generator alone; a source has a critic too, as state dict "
                f"{'d' if self.gan['family'] == 'style' else 'D'!r}"
            )

    def translated(self) -> dict[str, Tensor]:
        """Return the tensors by our names, others by theirs; noise that the layout does not store is drawn, always the same."""
        ours: dict[str, Tensor] = {}
        for theirs, tensor in {**self.generator, **self.critic}.items():
            name, change = self.names.get(theirs, (theirs, _same))
            # A number or nothing, where weights are expected, stays what it is and fits nothing.
            weights = tensor.is_floating_point() and tensor.ndim and tensor.numel()
            ours[name] = change(tensor.float()) if weights else tensor
        random = torch.Generator().manual_seed(0)
        side = int(self.gan["resolution"])
        if self.gan["family"] == "style-bilinear":
            ours["generator.noise"] = torch.rand(1, 1, side, side, generator=random)
        return ours


def recognised(tensors: Mapping[str, Tensor]) -> Layout | None:
    """Return the layout of a file's tensors, None if it is none of these.

    Raises:
        UserError: it is one of these with a filter or an option that has no counterpart here.
    """
    for whose, parts, find in (("rosinality's", ("g_ema", "g", ""), _rosinality), ("lucidrains'", ("GAN", ""), _lucidrains)):
        for part in parts:
            prefix = f"{part}." if part else ""
            inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            if (layout := find(f"{whose} stylegan2-pytorch", part, inner, tensors)) is not None:
                return layout
    return None


# -- rosinality's -------------------------------------------------------------------------------------------------------


def _rosinality(whose: str, part: str, generator: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Layout | None:
    constant, image = generator.get("input.input"), _last(generator, "to_rgbs.{}.conv.weight")
    if constant is None or image is None or not _has_sizes(image[1], generator.get("style.1.weight")):
        return None
    scales, mapping = image[0] + 1, _count(generator, "style.{}.weight", 1)
    generator = {f"g.{name}": tensor for name, tensor in generator.items() if not name.startswith("d.")}
    critic = {name: tensor for name, tensor in tensors.items() if name.startswith("d.")}
    for network in (generator, critic):
        for name in [name for name in network if name.endswith(".kernel")]:
            _check_filter(whose, name, network.pop(name))
    return Layout(
        whose, generator, critic, tuple(filter(None, (part, "d"))),
        {"family": "style", "resolution": 4 * 2**scales, "width": image[1].shape[-3],
         "latent": generator["g.style.1.weight"].shape[0], "mapping": mapping},
        dict(_rosinality_names(scales, mapping)),
    )  # fmt: skip


def _check_filter(whose: str, name: str, kernel: Tensor) -> None:
    expected = kernel_like(torch.zeros(1, 1, 1, 1))[0, 0]
    kernel = kernel if kernel.is_complex() else kernel.to(expected.dtype)
    same = kernel.shape == expected.shape and kernel.dtype == expected.dtype
    if not same or not torch.allclose(kernel / kernel.sum(), expected, atol=1e-4):
        raise UserError(f"the checkpoint ({whose}) has another filter than [1, 3, 3, 1] in {name!r}, which is expected")


def _rosinality_names(scales: int, mapping: int) -> Iterator[tuple[str, tuple[str, Callable[[Tensor], Tensor]]]]:
    for i in range(mapping):
        for kind in ("weight", "bias"):
            yield f"g.style.{i + 1}.{kind}", (f"generator.input.{_mapping_layer(i)}.{kind}", _same)
    yield "g.input.input", ("generator.first.constant", _same)
    layers = ["first.layer", *(f"blocks.{i}.{name}" for i in range(scales) for name in ("up", "layer"))]
    for i, ours in enumerate(layers):
        theirs = "g.conv1" if i == 0 else f"g.convs.{i - 1}"
        yield from _modulated(f"{theirs}.conv", f"generator.{ours}.conv")
        yield f"{theirs}.noise.weight", (f"generator.{ours}.strength", _same)
        yield f"{theirs}.activate.bias", (f"generator.{ours}.shift", torch.flatten)
        yield f"g.noises.noise_{i}", (f"generator.{ours}.noise", _same)
    for i in range(scales + 1):
        theirs, ours = ("g.to_rgb1", "first") if i == 0 else (f"g.to_rgbs.{i - 1}", f"blocks.{i - 1}")
        yield from _modulated(f"{theirs}.conv", f"generator.{ours}.to_image.conv")
        yield f"{theirs}.bias", (f"generator.{ours}.to_image.shift", torch.flatten)
    pairs = [("convs.0.0.weight", "input.weight"), ("convs.0.1.bias", "input.bias")]
    for i in range(scales):
        for theirs, ours in (
            ("conv1.0.weight", "conv1.weight"), ("conv1.1.bias", "conv1.bias"), ("conv2.1.weight", "conv2.weight"),
            ("conv2.2.bias", "conv2.bias"), ("skip.1.weight", "shortcut.weight"),
        ):  # fmt: skip
            pairs.append((f"convs.{i + 1}.{theirs}", f"blocks.{i}.{ours}"))
    pairs += [("final_conv.0.weight", "last.conv.weight"), ("final_conv.1.bias", "last.conv.bias")]
    for kind in ("weight", "bias"):
        pairs += [(f"final_linear.0.{kind}", f"last.linear.{kind}"), (f"final_linear.1.{kind}", f"score.{kind}")]
    for theirs, ours in pairs:
        # Older files have biases of convolutions as (1, C, 1, 1).
        yield f"d.{theirs}", (f"critic.{ours}", torch.flatten if theirs.endswith("bias") else _same)


def _modulated(theirs: str, ours: str) -> Iterator[tuple[str, tuple[str, Callable[[Tensor], Tensor]]]]:
    yield f"{theirs}.weight", (f"{ours}.weight", lambda tensor: tensor[0])
    for kind in ("weight", "bias"):
        yield f"{theirs}.modulation.{kind}", (f"{ours}.modulation.{kind}", _same)


# -- lucidrains' --------------------------------------------------------------------------------------------------------


def _lucidrains(whose: str, part: str, inner: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Layout | None:
    average = "GE.blocks.0.to_rgb.conv.weight" in inner
    g, s = ("GE.", "SE.") if average else ("G.", "S.")
    generator = {f"G.{name.removeprefix(g)}": tensor for name, tensor in inner.items() if name.startswith(g)}
    image = _last(generator, "G.blocks.{}.to_rgb.conv.weight")
    if image is None or not _has_sizes(image[1], inner.get(f"{s}net.0.weight")):
        return None
    if "G.initial_block" not in generator or any(".attns." in name or ".attn_blocks." in name for name in inner):
        raise UserError(
            f"the checkpoint ({whose}) has no learned constant (no_const) or attention (attn_layers), which is expected"
        )
    if image[1].shape[0] != 3:
        raise UserError(f"the checkpoint ({whose}) draws transparent images; three colours are expected")
    generator |= {f"S.{name.removeprefix(s)}": tensor for name, tensor in inner.items() if name.startswith(s)}
    scales, mapping = image[0], _count(generator, "S.net.{}.weight", 0, 2)
    critic = {name: tensor for name, tensor in inner.items() if name.startswith("D.")}
    networks = [
        {name: tensor for name, tensor in network.items() if not name.endswith(".f")} for network in (generator, critic)
    ]  # without their filters
    return Layout(
        whose, networks[0], networks[1], tuple(f"{part}.{name}".strip(".") for name in (g, s, "D")),
        {"family": "style-bilinear", "resolution": 4 * 2**scales, "width": image[1].shape[1],
         "latent": generator["S.net.0.weight"].shape[0], "mapping": mapping},
        dict(_lucidrains_names(scales, mapping)),
    )  # fmt: skip


def _lucidrains_names(scales: int, mapping: int) -> Iterator[tuple[str, tuple[str, Callable[[Tensor], Tensor]]]]:
    kinds = ("weight", "bias")
    for i in range(mapping):
        for kind in kinds:
            yield f"S.net.{2 * i}.{kind}", (f"generator.input.{_mapping_layer(i)}.{kind}", _same)
    yield "G.initial_block", ("generator.first.constant", _same)
    for kind in kinds:
        yield f"G.initial_conv.{kind}", (f"generator.first.conv.{kind}", _same)
    for i in range(scales + 1):
        theirs, ours = f"G.blocks.{i}", f"generator.{'first.block' if i == 0 else f'blocks.{i - 1}'}"
        for number in (1, 2):
            yield f"{theirs}.conv{number}.weight", (f"{ours}.layer{number}.conv.weight", _by_fan_in)
            yield f"{theirs}.to_noise{number}.weight", (f"{ours}.layer{number}.strength", torch.flatten)
            yield f"{theirs}.to_noise{number}.bias", (f"{ours}.layer{number}.shift", _same)
        yield f"{theirs}.to_rgb.conv.weight", (f"{ours}.to_image.weight", _by_fan_in)
        for style, conv in (("to_style1", "layer1.conv"), ("to_style2", "layer2.conv"), ("to_rgb.to_style", "to_image")):
            yield f"{theirs}.{style}.weight", (f"{ours}.{conv}.modulation.weight", _by_fan_in)
            yield f"{theirs}.{style}.bias", (f"{ours}.{conv}.modulation.bias", lambda tensor: tensor + 1)
    for i in range(scales + 2):
        for layer, name in (("conv_res", "shortcut"), ("net.0", "conv1"), ("net.2", "conv2"), ("downsample.1", "down")):
            for kind in kinds:
                yield f"D.blocks.{i}.{layer}.{kind}", (f"critic.blocks.{i}.{name}.{kind}", _same)
    for kind in kinds:
        yield f"D.final_conv.{kind}", (f"critic.last.{kind}", _same)
        yield f"D.to_logit.{kind}", (f"critic.score.{kind}", _same)


# -- both ---------------------------------------------------------------------------------------------------------------


def _has_sizes(image: Tensor, mapping: Tensor | None) -> bool:
    """Return whether the tensors whose shapes tell the settings are a convolution's and a matrix."""
    return image.ndim >= 4 and mapping is not None and mapping.ndim == 2


def _mapping_layer(i: int) -> str:
    return "latent" if i == 0 else f"layers.{i - 1}"


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _by_fan_in(tensor: Tensor) -> Tensor:
    """Return the weight that gives this one, times the factor of our layer's pass."""
    return tensor * math.sqrt(tensor[0].numel())


def _count(tensors: Mapping[str, Tensor], name: str, start: int, step: int = 1) -> int:
    """Return how many tensors of a numbered name there are, from number `start` on."""
    count = 0
    while name.format(start + count * step) in tensors:
        count += 1
    return count


def _last(tensors: Mapping[str, Tensor], name: str) -> tuple[int, Tensor] | None:
    """Return the last number of a numbered name, from 0 on, and its tensor; None if there is none."""
    count = _count(tensors, name, 0)
    return (count - 1, tensors[name.format(count - 1)]) if count else None
