"""K textbook GANs as one network of grouped convolutions, with the package's arithmetic: folded resampling, written-out norms.

Images are (N, 3 K, H, W), channels-last, with the channels of each GAN together; parameters are those of the plain networks,
concatenated, or stacked for linear layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.networks.convolutions import _spread

Parameters = dict[str, Tensor]


def joined(networks: list[nn.Module]) -> Parameters:
    """Return the parameters of plain generators or critics, those of each name in one tensor."""
    states = [dict(network.named_parameters()) for network in networks]
    parameters = {}
    for name, first in states[0].items():
        parts = [state[name].detach() for state in states]
        linear = name.startswith("score") or (name.startswith("input") and states[0]["input.weight"].ndim == 2)
        tensor = torch.stack(parts) if linear else torch.cat(parts)
        layout = torch.channels_last if first.ndim == 4 else torch.contiguous_format
        parameters[name] = tensor.contiguous(memory_format=layout).requires_grad_(True)
    return parameters


def critic(p: Parameters, x: Tensor, k: int) -> Tensor:
    """Return the scores (K, N) of images."""
    h = F.conv2d(x, p["input.weight"], p["input.bias"], padding=1, groups=k)
    for block in _blocks(p):
        a = F.conv2d(_layer_norm(h, p, f"{block}.norm1", k), p[f"{block}.conv1.weight"], padding=1, groups=k)
        a = _layer_norm(a, p, f"{block}.norm2", k)
        a = F.conv2d(a, _spread(p[f"{block}.conv2.weight"]) / 4, p[f"{block}.conv2.bias"], 2, 1, groups=k)
        h = F.conv2d(F.avg_pool2d(h, 2), p[f"{block}.shortcut.weight"], p[f"{block}.shortcut.bias"], groups=k) + a
    features = h.reshape(len(x), k, -1).transpose(0, 1)
    return torch.baddbmm(p["score.bias"][:, None], features, p["score.weight"].transpose(1, 2)).squeeze(2)


def generator(p: Parameters, z: Tensor, k: int) -> Tensor:
    """Return images of latents (K, N, latent)."""
    h = torch.baddbmm(p["input.bias"][:, None], z, p["input.weight"].transpose(1, 2))
    h = h.transpose(0, 1).reshape(z.shape[1], -1, 4, 4).contiguous(memory_format=torch.channels_last)
    for block in _blocks(p):
        weight = _spread(p[f"{block}.conv1.weight"].flip(2, 3))
        weight = weight.unflatten(0, (k, -1)).transpose(1, 2).flatten(0, 1)  # a transposed convolution's: inputs first
        a = F.conv_transpose2d(_batch_norm(h, p, f"{block}.norm1"), weight, None, 2, 1, groups=k)
        a = F.conv2d(
            _batch_norm(a, p, f"{block}.norm2"), p[f"{block}.conv2.weight"], p[f"{block}.conv2.bias"], padding=1, groups=k
        )
        h = F.conv2d(h, p[f"{block}.shortcut.weight"], p[f"{block}.shortcut.bias"], groups=k)
        h = F.interpolate(h, scale_factor=2) + a
    return torch.tanh(F.conv2d(_batch_norm(h, p, "norm"), p["output.weight"], p["output.bias"], padding=1, groups=k))


def _blocks(p: Parameters) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".norm1")[0] for name in p if ".norm1" in name))


def _batch_norm(x: Tensor, p: Parameters, name: str) -> Tensor:
    return F.relu_(F.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], training=True))


def _layer_norm(x: Tensor, p: Parameters, name: str, k: int) -> Tensor:
    y: Tensor = _LayerNormReLU.apply(x, p[f"{name}.weight"], p[f"{name}.bias"], k)
    return y


class _LayerNormReLU(torch.autograd.Function):
    """`trainers.networks.norms` over each of K groups of channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, k: int) -> Tensor:
        y, mean, r = torch.ops.aten.native_group_norm(x, scale, shift, len(x), x.shape[1], x[0, 0].numel(), k, 1e-5)
        y = F.relu_(y)
        ctx.save_for_backward(x, scale, y, mean, r)
        ctx.k = k
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Gradient.apply(*gradients, *ctx.saved_tensors, ctx.k), None)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, scale: Tensor, y: Tensor, mean: Tensor, r: Tensor, k: int
    ) -> tuple[Tensor, ...]:  # fmt: skip
        u = torch.ops.aten.threshold_backward(g, y, 0)
        gradients: tuple[Tensor, ...] = _group_norm_backward(u, x, mean, r, scale, k)
        ctx.save_for_backward(u, x, scale, y, mean, r, gradients[0])
        ctx.k = k
        ctx.set_materialize_grads(False)
        return gradients

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        v, *_ = gradients
        if v is None:
            return (None,) * 7
        (u, x, scale, y, mean, r, gx), k = ctx.saved_tensors, ctx.k
        n, channels, height, width = x.shape
        each, m = channels // k, channels // k * height * width

        def total(values: Tensor) -> Tensor:  # over each group: (N, K)
            return values.permute(0, 2, 3, 1).reshape(n, -1, k, each).sum((1, 3))

        def spread(values: Tensor) -> Tensor:
            return values[:, :, None].expand(n, k, each).reshape(n, channels, 1, 1)

        along_channels = scale.view(1, -1, 1, 1)
        pv = _group_norm_backward(v, x, mean, r, None, k)[0]
        gg = torch.ops.aten.threshold_backward(pv, y, 0).mul_(along_channels)
        b, c = ((total(w * x) - mean * total(w)) * r / m for w in (u * along_channels, v))
        along = -total(v * gx) * r * r / m
        second = (pv * spread(-r * b)).addcmul_(gx, spread(-r * c)).addcmul_(x, spread(along)).sub_(spread(along * mean))
        return gg, second, (u * pv).sum((0, 2, 3)), None, None, None, None


def _group_norm_backward(
    g: Tensor, x: Tensor, mean: Tensor, r: Tensor, scale: Tensor | None, k: int
) -> tuple[Tensor, ...]:  # fmt: skip
    sizes, mask = (len(x), x.shape[1], x[0, 0].numel()), [True, scale is not None, scale is not None]
    gradients: tuple[Tensor, ...] = torch.ops.aten.native_group_norm_backward(g, x, mean, r, scale, *sizes, k, mask)
    return gradients
