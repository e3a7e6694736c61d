"""Resampling by a factor of two with the low-pass filter [1, 3, 3, 1] in each direction (Karras et al. 2020); zeros outside."""

import torch
import torch.nn.functional as F
from torch import Tensor


def kernel_like(x: Tensor, taps: int = 4) -> Tensor:
    """Return the filter in both directions, with sum 1, once for each channel of x (N, C, H, W): (C, 1, taps, taps).

    It is [1, 3, 3, 1], with three `taps` [1, 2, 1]. It is computed on the device, as a recorded step cannot copy it there.
    """
    i = torch.arange(taps, dtype=x.dtype, device=x.device)
    line = i * (taps - 1 - i) + 1
    return (torch.outer(line, line) / line.sum().square()).expand(x.shape[1], 1, -1, -1)


def blur(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Return x (N, C, H, W), with zeros around it, filtered and times `gain`: (N, C, H + 2 * padding - 3, ...)."""
    return F.conv2d(x, kernel_like(x) * gain, padding=padding, groups=x.shape[1])


def up(x: Tensor) -> Tensor:
    """Return x (N, C, H, W) at twice the size: zeros between its pixels, then the filter with gain 4."""
    return F.conv_transpose2d(x, kernel_like(x) * 4, stride=2, padding=1, groups=x.shape[1])


def down(x: Tensor) -> Tensor:
    """Return x (N, C, H, W), filtered, at half the size."""
    return F.conv2d(x, kernel_like(x), stride=2, padding=1, groups=x.shape[1])
