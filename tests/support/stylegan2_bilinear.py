"""Lucidrains' variant of StyleGAN 2 in NumPy and float64, on tensors in the layout of its stylegan2-pytorch."""

import math

import numpy as np

from tests.support.stylegan2 import Arrays, convolve


def shapes(resolution: int, capacity: int, latent: int, mapping: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a checkpoint by name."""
    count = round(math.log2(resolution)) - 1
    sizes = [capacity * 2 ** (i + 1) for i in range(count)][::-1]
    result: dict[str, tuple[int, ...]] = {}
    for i in range(mapping):
        result[f"S.net.{2 * i}.weight"], result[f"S.net.{2 * i}.bias"] = (latent, latent), (latent,)
    result["G.initial_block"] = (1, sizes[0], 4, 4)
    result["G.initial_conv.weight"], result["G.initial_conv.bias"] = (sizes[0], sizes[0], 3, 3), (sizes[0],)
    for i, (inputs, outputs) in enumerate(zip([sizes[0], *sizes[:-1]], sizes, strict=True)):
        block = f"G.blocks.{i}"
        for number, channels in ((1, inputs), (2, outputs)):
            result[f"{block}.to_style{number}.weight"] = (channels, latent)
            result[f"{block}.to_style{number}.bias"] = (channels,)
            result[f"{block}.to_noise{number}.weight"], result[f"{block}.to_noise{number}.bias"] = (outputs, 1), (outputs,)
            result[f"{block}.conv{number}.weight"] = (outputs, channels, 3, 3)
        result[f"{block}.to_rgb.to_style.weight"], result[f"{block}.to_rgb.to_style.bias"] = (outputs, latent), (outputs,)
        result[f"{block}.to_rgb.conv.weight"] = (3, outputs, 1, 1)
        if i < count - 1:
            result[f"{block}.to_rgb.upsample.1.f"] = (3,)
    sizes = [3, *(4 * capacity * 2**i for i in range(count + 1))]
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        for layer, shape in (
            ("conv_res", (outputs, inputs, 1, 1)), ("net.0", (outputs, inputs, 3, 3)), ("net.2", (outputs, outputs, 3, 3)),
            *([("downsample.1", (outputs, outputs, 3, 3))] if i < count else []),
        ):  # fmt: skip
            result[f"D.blocks.{i}.{layer}.weight"], result[f"D.blocks.{i}.{layer}.bias"] = shape, (outputs,)
        if i < count:
            result[f"D.blocks.{i}.downsample.0.f"] = (3,)
    result["D.final_conv.weight"], result["D.final_conv.bias"] = (sizes[-1], sizes[-1], 3, 3), (sizes[-1],)
    result["D.to_logit.weight"], result["D.to_logit.bias"] = (1, 4 * sizes[-1]), (1,)
    return result


def checkpoint(resolution: int, capacity: int, latent: int, mapping: int) -> Arrays:
    """Return random tensors of all these shapes, float32, and the filters as they are stored."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes(resolution, capacity, latent, mapping).items():
        scale = 5.0 if name.startswith("S.") else 1 / math.sqrt(math.prod(shape[1:]))
        arrays[name] = random.normal(0.0, scale, shape).astype("float32")
        if name.endswith(".f"):
            arrays[name] = np.array([1, 2, 1], "float32")
    return arrays


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def doubled(x: np.ndarray) -> np.ndarray:
    """Return x (..., H, W) at twice the size, bilinear: each new pixel is 3/4 of the nearest old one and 1/4 of the next."""
    for axis in (-2, -1):
        x = np.moveaxis(x, axis, -1)
        before, after = np.concatenate([x[..., :1], x[..., :-1]], -1), np.concatenate([x[..., 1:], x[..., -1:]], -1)
        x = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], -1).reshape(*x.shape[:-1], -1)
        x = np.moveaxis(x, -1, axis)
    return x


def blurred(x: np.ndarray) -> np.ndarray:
    for axis in (-2, -1):
        x = np.moveaxis(x, axis, -1)
        padded = np.concatenate([x[..., 1:2], x, x[..., -2:-1]], -1)
        x = np.moveaxis((padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4, -1, axis)
    return x


class Official:
    """The networks of a checkpoint, in float64."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = {name: array.astype("float64") for name, array in arrays.items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]

    def style(self, z: np.ndarray) -> np.ndarray:
        w, i = z / np.linalg.norm(z, axis=1, keepdims=True), 0
        while f"S.net.{i}.weight" in self.arrays:
            w, i = leaky(self.linear(f"S.net.{i}", w) * 0.1), i + 2
        return w

    def modulated(self, name: str, x: np.ndarray, style: np.ndarray, *, demodulate: bool = True) -> np.ndarray:
        images = []
        for image, scales in zip(x, style, strict=True):
            weight = self.arrays[f"{name}.weight"] * (scales + 1)[None, :, None, None]
            if demodulate:
                weight = weight / np.sqrt((weight**2).sum((1, 2, 3), keepdims=True) + 1e-8)
            images.append(convolve(image[None], weight, weight.shape[-1] // 2)[0])
        return np.stack(images)

    def conv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        weight = self.arrays[f"{name}.weight"]
        return convolve(x, weight, weight.shape[-1] // 2, stride) + self.arrays[f"{name}.bias"][:, None, None]

    def generator(self, z: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return the images (N, 3, R, R), mostly in [0, 1], of latents (N, latent) with noise (N, R, R, 1)."""
        w = self.style(z)
        x = self.conv("G.initial_conv", np.repeat(self.arrays["G.initial_block"], len(z), 0))
        image, i = np.zeros((len(z), 3, 4, 4)), 0
        while f"G.blocks.{i}.conv1.weight" in self.arrays:
            block = f"G.blocks.{i}"
            if i:
                x, image = doubled(x), blurred(doubled(image))
            own = noise[:, : x.shape[2], : x.shape[3]]
            for number in (1, 2):
                x = self.modulated(f"{block}.conv{number}", x, self.linear(f"{block}.to_style{number}", w))
                x = leaky(x + self.linear(f"{block}.to_noise{number}", own).transpose(0, 3, 2, 1))
            style = self.linear(f"{block}.to_rgb.to_style", w)
            image, i = image + self.modulated(f"{block}.to_rgb.conv", x, style, demodulate=False), i + 1
        return image

    def critic(self, images: np.ndarray) -> np.ndarray:
        """Return the scores (N,) of images (N, 3, R, R) in [0, 1]."""
        x, i = images, 0
        while f"D.blocks.{i}.conv_res.weight" in self.arrays:
            block = f"D.blocks.{i}"
            h = leaky(self.conv(f"{block}.net.2", leaky(self.conv(f"{block}.net.0", x))))
            stride = 2 if f"{block}.downsample.1.weight" in self.arrays else 1
            if stride == 2:
                h = self.conv(f"{block}.downsample.1", blurred(h), 2)
            x, i = (h + self.conv(f"{block}.conv_res", x, stride)) / math.sqrt(2), i + 1
        return self.linear("D.to_logit", self.conv("D.final_conv", x).reshape(len(x), -1))[:, 0]
