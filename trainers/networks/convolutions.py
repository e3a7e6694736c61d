"""Convolutions with resampling folded in, and with gradients that may be computed in bfloat16.

A convolution is bilinear, and so are the two convolutions of its gradient; the derivatives of each are the other two. Three
functions that call each other are therefore differentiable any number of times, as a gradient penalty requires.

With low-precision gradients the forward pass stays in float32, and every convolution of a backward pass (also of the backward
pass of a backward pass) rounds its operands to bfloat16. At least two thirds of the multiplications are there, and rounding
does little harm there: its errors average out in a gradient, but flip ReLUs in the forward pass.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: The type to which low-precision gradients round the operands of their convolutions.
LOW = torch.bfloat16


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, low_gradients: bool) -> Tensor:
    """Return ``conv2d``: x (N, I, H, W), weight (O, I, K, K), bias (O,) or None."""
    if not low_gradients:
        return F.conv2d(x, weight, bias, stride, padding)
    return _apply(_Forward, x, weight, bias, stride, padding, False)


def convolve_transposed(x: Tensor, weight: Tensor, stride: int, padding: int, low_gradients: bool) -> Tensor:
    """Return ``conv_transpose2d`` without a bias: x (N, I, H, W), weight (I, O, K, K)."""
    if not low_gradients:
        return F.conv_transpose2d(x, weight, None, stride, padding)
    n, _, height, width = x.shape
    sides = [(side - 1) * stride - 2 * padding + weight.shape[-1] for side in (height, width)]
    return _apply(_InputGradient, x, weight, (n, weight.shape[1], *sides), stride, padding, False)


def up_convolve(x: Tensor, weight: Tensor, low_gradients: bool) -> Tensor:
    """Return the 3x3 convolution of x up-sampled (nearest) as one 4x4 transposed convolution: 4/9 of the multiplications."""
    return convolve_transposed(x, _spread(weight.flip(2, 3)).transpose(0, 1), 2, 1, low_gradients)


def convolve_down(x: Tensor, weight: Tensor, bias: Tensor | None, low_gradients: bool) -> Tensor:
    """Return the 2x2 means of the 3x3 convolution of x as one 4x4 convolution of stride 2: 4/9 of the multiplications."""
    return convolve(x, _spread(weight) / 4, bias, 2, 1, low_gradients)


def _spread(weight: Tensor) -> Tensor:
    """Return a kernel (O, I, 3, 3) summed over its four positions within 4x4: (O, I, 4, 4)."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[:, :, :, 1:] + rows[:, :, :, :-1]


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result


class _Forward(torch.autograd.Function):
    """conv2d(x, weight) + bias; with `low` the operands are rounded and the bias is ignored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, low: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        if low:
            return F.conv2d(x.to(LOW), weight.to(LOW), None, stride, padding).to(x.dtype)
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias, *_ = ctx.needs_input_grad
        return (
            _apply(_InputGradient, g, weight, x.shape, *ctx.geometry, True) if for_x else None,
            _apply(_WeightGradient, x, g, weight.shape, *ctx.geometry, True) if for_weight else None,
            g.sum((0, 2, 3)) if for_bias else None,
            *(None,) * 3,
        )


class _InputGradient(torch.autograd.Function):
    """The gradient with respect to the input, of shape `shape`, from that of the output, g: a transposed convolution."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: tuple[int, ...], stride: int, padding: int, low: bool) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.geometry = stride, padding
        like = torch.empty(shape, dtype=_dtype(g, low), device=g.device, memory_format=torch.channels_last)
        return _convolution_backward(g, like, weight, stride, padding, low, which=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = gradients
        g, weight = ctx.saved_tensors
        for_g, for_weight, *_ = ctx.needs_input_grad
        return (
            _apply(_Forward, v, weight, None, *ctx.geometry, True) if for_g else None,
            _apply(_WeightGradient, v, g, weight.shape, *ctx.geometry, True) if for_weight else None,
            *(None,) * 4,
        )


class _WeightGradient(torch.autograd.Function):
    """The gradient with respect to the weight, of shape `shape`, from the input x and the gradient of the output, g."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, shape: tuple[int, ...], stride: int, padding: int, low: bool) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.geometry = stride, padding
        like = torch.empty(shape, dtype=_dtype(g, low), device=g.device, memory_format=torch.channels_last)
        return _convolution_backward(g, x, like, stride, padding, low, which=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = gradients
        x, g = ctx.saved_tensors
        for_x, for_g, *_ = ctx.needs_input_grad
        return (
            _apply(_InputGradient, g, v, x.shape, *ctx.geometry, True) if for_x else None,
            _apply(_Forward, x, v, None, *ctx.geometry, True) if for_g else None,
            *(None,) * 4,
        )


def _dtype(tensor: Tensor, low: bool) -> torch.dtype:
    return LOW if low else tensor.dtype


def _convolution_backward(g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, low: bool, *, which: int) -> Tensor:
    """Return one gradient of conv2d, in g's dtype: with respect to the input (`which` 0) or to the weight (1)."""
    g_, x_, weight_ = (tensor.to(_dtype(g, low)) for tensor in (g, x, weight))
    output_mask = [which == 0, which == 1, False]
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        g_, x_, weight_, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, output_mask
    )
    return gradients[which].to(g.dtype)
