"""Normalisations, each fused with the (leaky) ReLU that always follows it, which saves a pass over memory."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added to variances.
EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch norm, then ReLU; scale and shift per class when conditional (Dumoulin et al. 2017).

    It normalises by the batch's statistics, also when sampling, as the authors of Wang et al. (2018) did. With `running`,
    sampling (``eval()``) uses running averages of the statistics of training instead.
    """

    mean: Tensor | None
    variance: Tensor | None

    def __init__(self, channels: int, classes: int = 0, *, running: bool = False, slope: float = 0.0) -> None:
        super().__init__()
        shape = (classes, channels) if classes else (channels,)
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))
        self.slope = slope
        self.register_buffer("mean", torch.zeros(channels) if running else None)
        self.register_buffer("variance", torch.ones(channels) if running else None)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W), labels int64 (N,) or None, to (N, C, H, W)."""
        per_class = self.scale.ndim == 2
        scale, shift = (None, None) if per_class else (self.scale, self.shift)
        by_batch = self.training or self.mean is None
        x = F.batch_norm(x, self.mean, self.variance, scale, shift, training=by_batch, momentum=0.1, eps=EPSILON)
        if per_class:
            assert labels is not None, "a conditional network needs labels"
            x = x * self.scale[labels][:, :, None, None] + self.shift[labels][:, :, None, None]
        return F.leaky_relu_(x, self.slope) if self.slope else F.relu_(x)


class LayerNorm(nn.Module):
    """Layer norm over (C, H, W) with a scale and a shift per channel, then ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W); labels are ignored."""
        y: Tensor = _LayerNormReLU.apply(x, self.scale, self.shift)
        return y


class Activation(nn.Module):
    """ReLU in place of a norm, for a network without norms."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W); labels are ignored."""
        return F.relu(x)


class _LayerNormReLU(torch.autograd.Function):
    """max(0, scale * (x - mean) * r + shift) with r = (variance + epsilon)^(-1/2); twice differentiable, in few passes.

    PyTorch composes the second derivative of about thirty elementwise operations; here it is written out.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        x = _laid_out(x)
        y, mean, r = torch.ops.aten.native_group_norm(x, scale, shift, *_sizes(x), 1, EPSILON)
        y = F.relu_(y)
        ctx.save_for_backward(x, scale, y, mean, r)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (g,) = gradients
        result: tuple[Tensor, ...] = _LayerNormReLUGradient.apply(g, *ctx.saved_tensors)
        return result


class _LayerNormReLUGradient(torch.autograd.Function):
    """The gradients with respect to x, scale and shift, from that of the output, g.

    Let x^ be the normalised x, u = g where the output is positive and 0 elsewhere, and P(w) = r (w - mean(w) - x^ mean(w x^))
    over each image. The gradient with respect to x is P(scale u). P is symmetric, so the derivative of <v, P(scale u)> with
    respect to g is scale P(v) where the output is positive. With respect to x, through x^ and r, it is
    -r (b P(v) + c P(scale u)) - r <v, P(scale u)> x^ / m, with b = mean(scale u x^), c = mean(v x^) and m the number of
    elements of an image.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, scale: Tensor, y: Tensor, mean: Tensor, r: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        u = torch.ops.aten.threshold_backward(g, y, 0)
        gx, gscale, gshift = _group_norm_backward(u, x, mean, r, scale)
        ctx.save_for_backward(u, x, scale, y, mean, r, gx)
        ctx.set_materialize_grads(False)
        return gx, gscale, gshift

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        v, vscale, vshift = gradients
        if vscale is not None or vshift is not None:
            raise NotImplementedError("the derivative of the gradients of layer norm's scale and shift is not implemented")
        if v is None:
            return (None,) * 6
        u, x, scale, y, mean, r, gx = ctx.saved_tensors
        channels = scale.view(1, -1, 1, 1)
        mean, r = mean.view(-1, 1, 1, 1), r.view(-1, 1, 1, 1)
        m = x[0].numel()
        pv = _group_norm_backward(v, x, mean, r, None)[0]
        gscale = (u * pv).sum((0, 2, 3))
        gg = torch.ops.aten.threshold_backward(pv, y, 0).mul_(channels)
        su = u * channels
        b, c = ((_dot(w, x) - mean * w.sum((1, 2, 3), keepdim=True)) * r / m for w in (su, v))
        along = -_dot(v, gx) * r * r / m
        second = (pv * (-r * b)).addcmul_(gx, -r * c).addcmul_(x, along).sub_(along * mean)
        return gg, second, gscale, None, None, None


def _sizes(x: Tensor) -> tuple[int, int, int]:
    n, c, height, width = x.shape
    return n, c, height * width


def _laid_out(x: Tensor) -> Tensor:
    """Return x in a layout that PyTorch's group norm handles without a copy: any on the CPU, elsewhere contiguous.

    Elsewhere PyTorch up to 2.13 refuses channels-last tensors; later versions copy in each pass, this copies once for all.
    """
    return x if x.device.type == "cpu" else x.contiguous()


def _group_norm_backward(g: Tensor, x: Tensor, mean: Tensor, r: Tensor, scale: Tensor | None) -> tuple[Tensor, ...]:
    g, n = _laid_out(g), len(x)
    output_mask = [True, scale is not None, scale is not None]
    gradients: tuple[Tensor, ...] = torch.ops.aten.native_group_norm_backward(
        g, x, mean.view(n, 1), r.view(n, 1), scale, *_sizes(x), 1, output_mask
    )
    return gradients


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each image in a with that in b, (N, 1, 1, 1); channels-last tensors are not copied."""
    n = len(a)
    rows, columns = a.permute(0, 2, 3, 1).reshape(n, 1, -1), b.permute(0, 2, 3, 1).reshape(n, -1, 1)
    return torch.bmm(rows, columns).view(n, 1, 1, 1)
