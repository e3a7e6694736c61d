"""Cross-domain correspondence (CDC, Ojha et al. 2021): the similarities between images stay those of the source.

The critic is relaxed: only images of latents near a few fixed ones are judged as a whole, of all others only patches.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from trainers.config import blocks
from trainers.config.settings import GanConfig
from trainers.networks import layers

#: Images whose similarities with each other are compared, standard deviation of latents around an anchor, and the share of a
#: minibatch there: as in the authors' code, which takes one step in four on whole images; here each step takes a quarter.
GROUP, NEARBY, WHOLE = 4, 0.1, 1 / 4

#: How the names of a checkpoint's tensors of the frozen source begin.
_SOURCE = "correspondence.source."


class Correspondence:
    """The frozen source of a generator, and the anchors: latents near which images are judged as a whole."""

    def __init__(
        self, weight: float, anchors: int, generator: layers.Generator, gan: GanConfig, batch: int, random: torch.Generator
    ) -> None:
        """Take the generator right after the transfer, which is copied; `random` draws the anchors on the CPU."""
        like = next(generator.parameters())
        self._weight = weight
        self._source = copy.deepcopy(generator).requires_grad_(False)
        self._layers = blocks.feature_layers("generator", gan)
        self.anchors = torch.randn(anchors, gan.latent, generator=random).to(like)
        self.whole = whole_images(batch)

    def latents(self, z: Tensor, random: torch.Generator) -> Tensor:
        """Return latents z (N, latent) with the first `whole` of them moved near anchors chosen at random."""
        chosen = torch.randint(len(self.anchors), (self.whole,), generator=random, device=random.device)
        return torch.cat([self.anchors[chosen] + NEARBY * z[: self.whole], z[self.whole :]])

    def generate(self, generator: layers.Generator, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return a generator's images of latents from `latents`, and the weighted inconsistency with the source, a scalar.

        The latents near anchors take no part in it, as these images are to be those of the target.
        """
        with torch.no_grad(), features(self._source, self._layers) as theirs:
            self._source(z, labels)
        with features(generator, self._layers) as ours:
            images = generator(z, labels)
        pairs = [[each[self.whole :] for each in found] for found in (ours, theirs)]
        return images, self._weight * inconsistency(*pairs)

    def state(self) -> dict[str, Tensor]:
        """Return the anchors and the source, as a checkpoint stores them."""
        source = {f"{_SOURCE}{name}": tensor for name, tensor in self._source.state_dict().items()}
        return {"correspondence.anchors": self.anchors, **source}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors that `state` returned."""
        self.anchors.copy_(tensors["correspondence.anchors"])
        saved = {name.removeprefix(_SOURCE): tensor for name, tensor in tensors.items() if name.startswith(_SOURCE)}
        self._source.load_state_dict(saved)


def whole_images(batch: int) -> int:
    """Return how many images of a minibatch are judged as a whole; they are its first."""
    return max(1, round(batch * WHOLE))


def inconsistency(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Return the mean of p log(p / q) over layers, images and their partners, with gradients for `ours` alone, a scalar.

    For each image in a group of `GROUP`, q is the softmax of the cosine similarities of its features with those of the others,
    and p that of the source's. `ours` and `theirs` are the features (N, ...) of the same latents by layer.
    """
    terms = [
        F.kl_div(_similarities(q), _similarities(p), reduction="none", log_target=True).mean()
        for q, p in zip(ours, theirs, strict=True)
    ]
    return torch.stack(terms).mean()


def _similarities(features: Tensor) -> Tensor:
    """Return the logarithms (groups, G, G - 1) of the softmax over an image's similarities with the others of its group."""
    size = min(GROUP, len(features))
    rows = F.normalize(features[: len(features) // size * size].flatten(1), dim=1)
    rows = rows.view(-1, size, rows.shape[1])
    similar = rows @ rows.transpose(1, 2)
    # Without the diagonal: after the first, every (G + 1)th of the flattened matrix is on it.
    others = similar.flatten(1)[:, 1:].view(-1, size - 1, size + 1)[:, :, :-1].reshape(-1, size, size - 1)
    return F.log_softmax(others, dim=2)


@contextmanager
def features(network: nn.Module, names: tuple[str, ...]) -> Iterator[list[Tensor]]:
    """For the block, collect the outputs of a network's modules of these names, in the order in which they are computed.

    Of a module that returns its features and its part of the image, these are the features.
    """
    found: list[Tensor] = []

    def collect(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    hooks = [network.get_submodule(name).register_forward_hook(collect) for name in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class RelaxedCritic(layers.Critic):
    """A critic that scores the first images of each minibatch as a whole, and of the others each patch.

    It returns scores (N, P) for P patches; a whole image has the same score P times, so that means over all are as intended.
    """

    def __init__(self, critic: layers.Critic, gan: GanConfig, batch: int) -> None:
        """Take a critic with the head of `add_patch_head`; it scores one or more joined minibatches of `batch` images."""
        super().__init__()
        self.critic = critic
        self.keeps_images_apart, self.projects = critic.keeps_images_apart, critic.projects
        self._layer = _patch_layer(gan)
        self._batch = batch

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores (N, P) and class logits."""
        with features(self.critic, (self._layer,)) as found:
            scores, logits = self.critic(images)
        patches = self.critic.get_submodule("patch")(found[0]).flatten(1)
        return torch.where(self._whole(images)[:, None], scores[:, None], patches), logits

    def given(self, scores: Tensor, logits: Tensor | None, labels: Tensor | None) -> Tensor:
        """Return the scores given the classes, which are part of the score of a whole image alone."""
        whole = self._whole(scores)
        return scores + torch.where(whole, self.critic.given(torch.zeros_like(scores[:, 0]), logits, labels), 0.0)[:, None]

    def _whole(self, rows: Tensor) -> Tensor:
        return torch.arange(len(rows), device=rows.device) % self._batch < whole_images(self._batch)


def add_patch_head(critic: nn.Module, gan: GanConfig) -> None:
    """Add a convolution that scores patches by a critic's features half-way; under a spectral norm if the critic's head is."""
    like = next(critic.parameters())
    critic.eval()  # this pass is to leave running statistics and power iterations as they are
    with torch.no_grad(), features(critic, (_patch_layer(gan),)) as found:
        critic(like.new_zeros(1, 3, gan.resolution, gan.resolution))
    critic.train()
    head = layers.Conv(found[0].shape[1], 1, 3, he=False)
    if parametrize.is_parametrized(critic.get_submodule("score")):
        spectral_norm(head)
    critic.add_module("patch", head.to(like))


def _patch_layer(gan: GanConfig) -> str:
    of_blocks = blocks.feature_layers("critic", gan)
    return of_blocks[(len(of_blocks) - 1) // 2]
