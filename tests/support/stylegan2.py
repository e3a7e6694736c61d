"""StyleGAN 2 in NumPy and float64, from its papers, on tensors in the layout of rosinality's stylegan2-pytorch.

Weights are modulated and demodulated image by image, zeros are inserted by hand, and the filters are SciPy's `upfirdn`: nothing
is shared with the package's networks, which modulate the feature maps instead.
"""

import math

import numpy as np
from scipy.signal import upfirdn

Arrays = dict[str, np.ndarray]

FILTER = np.array([1.0, 3.0, 3.0, 1.0]) / 8


def shapes(channels: list[int], latent: int, mapping: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of ``g_ema`` and ``d`` by name; `channels` are those from 4x4 to full resolution."""
    result: dict[str, tuple[int, ...]] = {}

    def modulated(name: str, inputs: int, outputs: int, kernel: int) -> None:
        result[f"{name}.weight"] = (1, outputs, inputs, kernel, kernel)
        result[f"{name}.modulation.weight"], result[f"{name}.modulation.bias"] = (inputs, latent), (inputs,)

    def styled(name: str, inputs: int, outputs: int, *, upsample: bool = False) -> None:
        modulated(f"{name}.conv", inputs, outputs, 3)
        result[f"{name}.noise.weight"], result[f"{name}.activate.bias"] = (1,), (outputs,)
        if upsample:
            result[f"{name}.conv.blur.kernel"] = (4, 4)

    def to_rgb(name: str, inputs: int) -> None:
        modulated(f"{name}.conv", inputs, 3, 1)
        result[f"{name}.bias"] = (1, 3, 1, 1)

    for i in range(1, mapping + 1):
        result[f"style.{i}.weight"], result[f"style.{i}.bias"] = (latent, latent), (latent,)
    result["input.input"] = (1, channels[0], 4, 4)
    styled("conv1", channels[0], channels[0])
    to_rgb("to_rgb1", channels[0])
    result["noises.noise_0"] = (1, 1, 4, 4)
    for i, (inputs, outputs) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
        styled(f"convs.{2 * i}", inputs, outputs, upsample=True)
        styled(f"convs.{2 * i + 1}", outputs, outputs)
        to_rgb(f"to_rgbs.{i}", outputs)
        result[f"to_rgbs.{i}.upsample.kernel"] = (4, 4)
        for j in (1, 2):
            result[f"noises.noise_{2 * i + j}"] = (1, 1, 8 * 2**i, 8 * 2**i)
    generator = {f"g_ema.{name}": shape for name, shape in result.items()}
    critic: dict[str, tuple[int, ...]] = {"convs.0.0.weight": (channels[-1], 3, 1, 1), "convs.0.1.bias": (channels[-1],)}
    backwards = channels[::-1]
    for i, (inputs, outputs) in enumerate(zip(backwards[:-1], backwards[1:], strict=True), 1):
        critic[f"convs.{i}.conv1.0.weight"], critic[f"convs.{i}.conv1.1.bias"] = (inputs, inputs, 3, 3), (inputs,)
        critic[f"convs.{i}.conv2.0.kernel"] = critic[f"convs.{i}.skip.0.kernel"] = (4, 4)
        critic[f"convs.{i}.conv2.1.weight"], critic[f"convs.{i}.conv2.2.bias"] = (outputs, inputs, 3, 3), (outputs,)
        critic[f"convs.{i}.skip.1.weight"] = (outputs, inputs, 1, 1)
    last = channels[0]
    critic["final_conv.0.weight"], critic["final_conv.1.bias"] = (last, last + 1, 3, 3), (last,)
    critic["final_linear.0.weight"], critic["final_linear.0.bias"] = (last, last * 16), (last,)
    critic["final_linear.1.weight"], critic["final_linear.1.bias"] = (1, last), (1,)
    return generator | {f"d.{name}": shape for name, shape in critic.items()}


def checkpoint(channels: list[int], latent: int, mapping: int, seed: int = 0) -> Arrays:
    """Return random tensors of all these shapes, float32, with the filters as they are stored."""
    random = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes(channels, latent, mapping).items():
        if name.endswith("kernel"):
            arrays[name] = np.outer(FILTER, FILTER).astype("float32") * (1 if name.startswith("d.") else 4)
        else:
            slow = 100.0 if ".style." in name and name.endswith("weight") else 1.0  # divided by the rate of the mapping
            arrays[name] = (random.normal(0.1 if name.endswith("bias") else 0.0, 1.0, shape) * slow).astype("float32")
    return arrays


def resample(x: np.ndarray, up: int, down: int, before: int, after: int, gain: float) -> np.ndarray:
    """Return x (..., H, W), zeros inserted, padded with zeros, filtered, times `gain`, and every `down`-th pixel."""
    for axis in (-2, -1):
        x = np.moveaxis(x, axis, -1)
        side = x.shape[-1] * up + before + after - 3
        full = upfirdn(FILTER, x, up, 1, axis=-1)
        full = np.concatenate([full, np.zeros((*full.shape[:-1], 8))], -1)
        x = np.moveaxis(full[..., 3 - before : 3 - before + side][..., ::down], -1, axis)
    return x * gain


def convolve(x: np.ndarray, weight: np.ndarray, padding: int, stride: int = 1) -> np.ndarray:
    """Return the correlation of x (N, I, H, W) with weight (O, I, K, K)."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    return np.einsum("niyxhw,oihw->noyx", windows[:, :, ::stride, ::stride], weight, optimize=True)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def modulated_convolution(
    x: np.ndarray, weight: np.ndarray, scales: np.ndarray, *, demodulate: bool = True, upsample: bool = False
) -> np.ndarray:
    """Return x (N, I, H, W) convolved, each image with the weight (O, I, K, K) times its scales (N, I)."""
    images = []
    factor = 1 / math.sqrt(weight[0].size)
    for image, scale in zip(x, scales, strict=True):
        own = weight * factor * scale[None, :, None, None]
        if demodulate:
            for out in range(len(own)):
                own[out] = own[out] / math.sqrt((own[out] ** 2).sum() + 1e-8)
        if upsample:
            side = image.shape[-1]
            spread = np.zeros((1, len(image), 2 * side - 1, 2 * side - 1))
            spread[0, :, ::2, ::2] = image
            h = convolve(spread, own[:, :, ::-1, ::-1], 2)
            images.append(resample(h, 1, 1, 1, 1, 4.0)[0])
        else:
            images.append(convolve(image[None], own, weight.shape[-1] // 2)[0])
    return np.stack(images)


def minibatch_deviation(h: np.ndarray) -> np.ndarray:
    """Return for each image (N,) the mean standard deviation within its group of four, or of as many as divide N."""
    size = max(size for size in range(1, 5) if len(h) % size == 0)
    groups = len(h) // size
    result = np.zeros(len(h))
    for group in range(groups):
        members = [group + groups * i for i in range(size)]
        variances = ((h[members] - h[members].mean(0)) ** 2).mean(0)
        result[members] = np.sqrt(variances + 1e-8).mean()
    return result


class Official:
    """The networks of a checkpoint, in float64."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = {name: array.astype("float64") for name, array in arrays.items()}

    def linear(self, name: str, x: np.ndarray, rate: float = 1.0) -> np.ndarray:
        weight, bias = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
        return x @ weight.T * (rate / math.sqrt(weight.shape[1])) + bias * rate

    def style(self, z: np.ndarray) -> np.ndarray:
        w = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
        layer = 1
        while f"g_ema.style.{layer}.weight" in self.arrays:
            w = leaky(self.linear(f"g_ema.style.{layer}", w, rate=0.01))
            layer += 1
        return w

    def modulated(
        self, name: str, x: np.ndarray, w: np.ndarray, *, demodulate: bool = True, upsample: bool = False
    ) -> np.ndarray:
        scales = self.linear(f"{name}.modulation", w)
        return modulated_convolution(x, self.arrays[f"{name}.weight"][0], scales, demodulate=demodulate, upsample=upsample)

    def styled(self, name: str, x: np.ndarray, w: np.ndarray, layer: int, *, upsample: bool = False) -> np.ndarray:
        h = self.modulated(f"g_ema.{name}.conv", x, w, upsample=upsample)
        h = h + self.arrays[f"g_ema.{name}.noise.weight"] * self.arrays[f"g_ema.noises.noise_{layer}"]
        return leaky(h + self.arrays[f"g_ema.{name}.activate.bias"][:, None, None])

    def rgb(self, name: str, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return self.modulated(f"g_ema.{name}.conv", x, w, demodulate=False) + self.arrays[f"g_ema.{name}.bias"]

    def generator(self, z: np.ndarray) -> np.ndarray:
        """Return the images (N, 3, R, R) of latents (N, latent), with the stored noise."""
        w = self.style(z)
        h = self.styled("conv1", np.repeat(self.arrays["g_ema.input.input"], len(z), 0), w, 0)
        image, i = self.rgb("to_rgb1", h, w), 0
        while f"g_ema.to_rgbs.{i}.bias" in self.arrays:
            h = self.styled(f"convs.{2 * i}", h, w, 2 * i + 1, upsample=True)
            h = self.styled(f"convs.{2 * i + 1}", h, w, 2 * i + 2)
            image = resample(image, 2, 1, 2, 1, 4.0) + self.rgb(f"to_rgbs.{i}", h, w)
            i += 1
        return image

    def convolved(self, name: str, bias: str, x: np.ndarray, padding: int, stride: int = 1) -> np.ndarray:
        weight = self.arrays[f"d.{name}.weight"]
        h = convolve(x, weight / math.sqrt(weight[0].size), padding, stride)
        return leaky(h + self.arrays[f"d.{bias}.bias"][:, None, None]) if bias else h

    def critic(self, images: np.ndarray) -> np.ndarray:
        """Return the scores (N,) of images (N, 3, R, R)."""
        h, i = self.convolved("convs.0.0", "convs.0.1", images, 0), 1
        while f"d.convs.{i}.skip.1.weight" in self.arrays:
            inner = self.convolved(f"convs.{i}.conv1.0", f"convs.{i}.conv1.1", h, 1)
            inner = self.convolved(f"convs.{i}.conv2.1", f"convs.{i}.conv2.2", resample(inner, 1, 1, 2, 2, 1.0), 0, 2)
            skip = self.convolved(f"convs.{i}.skip.1", "", resample(h, 1, 2, 1, 1, 1.0), 0)
            h, i = (inner + skip) / math.sqrt(2), i + 1
        deviation = np.broadcast_to(minibatch_deviation(h)[:, None, None, None], (len(h), 1, 4, 4))
        h = self.convolved("final_conv.0", "final_conv.1", np.concatenate([h, deviation], 1), 1)
        return self.linear("d.final_linear.1", leaky(self.linear("d.final_linear.0", h.reshape(len(h), -1))))[:, 0]
