"""The base of generators with styles: mixing and truncation of styles, and fresh noise in training."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config.settings import GanConfig
from trainers.networks import layers
from trainers.networks.style.modulated import Mapping

#: Latents whose mean style images are truncated towards.
LATENTS = 1000

#: Returns noise (N, 1, H, W) for a feature map (N, C, H, W).
Noise = Callable[[Tensor], Tensor]


class StyleGenerator(layers.Generator):
    """Base: `forward` draws with the same noise in every image, training with fresh noise and mixed styles.

    A subclass sets `layers`, the number of styles that an image takes, and defines `synthesise`.
    """

    def __init__(self, gan: GanConfig, classes: int, mapping: Mapping, layers: int) -> None:
        super().__init__(classes)
        self.input = mapping
        self.layers = layers
        self.mixing = gan.mixing

    def synthesise(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the images of styles (N, layers, latent), with the network's own noise or with that which `noise` returns."""
        raise NotImplementedError

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one image per latent; a conditional generator requires `labels`, any other ignores them."""
        return self.synthesise(self._repeated(self.input(z, labels)))

    def training_images(self, z: Tensor, labels: Tensor | None, random: torch.Generator | None) -> Tensor:
        """Return images with fresh noise; a share of `mixing` takes the styles of a second latent from some layer on."""
        return self.synthesise(self.training_styles(z, labels, random), self.fresh_noise(z.shape[0], random))

    def fresh_noise(self, n: int, random: torch.Generator | None) -> Noise:
        """Return what draws noise from N(0, 1) for a feature map of n images, another for each layer."""

        def noise(h: Tensor) -> Tensor:
            return torch.randn(n, 1, *h.shape[2:], generator=random, device=h.device, dtype=h.dtype)

        return noise

    def training_styles(self, z: Tensor, labels: Tensor | None, random: torch.Generator | None) -> Tensor:
        """Return the styles (N, layers, latent) of latents (N, latent), mixed at random."""
        styles = self._repeated(self.input(z, labels))
        if not self.mixing:
            return styles
        n, device = len(z), z.device
        others = self._repeated(self.input(torch.randn(z.shape, generator=random, device=device, dtype=z.dtype), labels))
        # The other latent's styles begin at one of the layers 1, 2, ...; or behind the last, for an image that is not mixed.
        begins = torch.randint(1, self.layers, (n, 1), generator=random, device=device)
        mixed = torch.rand(n, 1, generator=random, device=device) < self.mixing
        begins = torch.where(mixed, begins, self.layers)
        taken = torch.arange(self.layers, device=device) >= begins
        return torch.where(taken[:, :, None], others, styles)

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Return the images of styles at this share of the way from the mean style to those of the latents."""
        random = torch.Generator().manual_seed(0)
        latents = torch.randn(LATENTS, z.shape[1], generator=random).to(z)
        classes = torch.arange(LATENTS, device=z.device) % self.classes if self.classes else None
        mean = self.input(latents, classes).mean(0)
        return self.synthesise(self._repeated(torch.lerp(mean, self.input(z, labels), truncation)))

    def _repeated(self, styles: Tensor) -> Tensor:
        return styles[:, None].expand(-1, self.layers, -1)
