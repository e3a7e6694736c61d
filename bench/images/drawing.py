"""What is drawn from a generator: from which latents, and of which classes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainers.common.errors import UserError

if TYPE_CHECKING:
    from trainers.networks import Generator
    from trainers.trial.checkpoints import Checkpoint

#: Frames of a walk from one latent to the next, and frames per second.
LEG = FRAME_RATE = 25


@dataclass(frozen=True)
class Drawing:
    """What is drawn from a generator.

    A truncated latent, a requested class or a step of a walk is drawn with the batch norms' statistics of the seed's first
    latents, untruncated and of all classes (see `trainers.core.sampling.fixed_statistics`), so that with a truncation of 1 the
    images are those of the seed.

    Attributes:
        n: the number of images.
        seed: that of the latents, z ~ N(0, I).
        truncation: factor of the latents (in a family with styles, of the styles' distance from their mean), in (0, 1]: towards
            0 images are more typical and less diverse.
        classes: names or indices of the classes to draw in turn; by default those trained, with the shares of the reference.
    """

    n: int
    seed: int = 0
    truncation: float = 1.0
    classes: Sequence[str] = ()

    def images(self, loaded: "Checkpoint", generator: "Generator") -> np.ndarray:
        """Return the images uint8 (n, H, W, 3). Raises UserError for a class that the generator was not trained on."""
        from trainers.core.sampling import draw, latents, sample

        latent = loaded.trial.gan.latent
        chosen = self.chosen(loaded)
        if self.truncation == 1 and chosen is None:
            return sample(generator, latent, self.n, self.seed, loaded.requested(self.n))
        labels = _all_classes(loaded, generator, self.n) if chosen is None else np.resize(chosen, self.n)
        with self._fixed(loaded, generator):
            return draw(generator, latents(latent, self.n, self.seed)[: self.n], labels, self.truncation)

    def walk(self, loaded: "Checkpoint", generator: "Generator", stops: int) -> np.ndarray:
        """Return the frames uint8 (stops * LEG, H, W, 3) of a walk through the latents of the first images, and back.

        Every leg begins at the latent of an image. A conditional generator draws one class: the first requested one.
        """
        import torch

        from trainers.core.sampling import draw, latents

        at = latents(loaded.trial.gan.latent, stops, self.seed)[:stops].double().numpy()
        along = np.arange(LEG) / LEG
        z = np.concatenate([slerp(at[i], at[(i + 1) % stops], along) for i in range(stops)])
        classes = self.chosen(loaded)
        labels = _all_classes(loaded, generator, 1) if classes is None else classes[:1]
        with self._fixed(loaded, generator):
            along_walk = None if labels is None else np.resize(labels, len(z))
            return draw(generator, torch.from_numpy(z).float(), along_walk, self.truncation)

    def chosen(self, loaded: "Checkpoint") -> np.ndarray | None:
        """Return the indices int64 of `classes`, or None if there are none. Raises UserError as `images`."""
        if not self.classes:
            return None
        names, counts = loaded.classes, loaded.tensors.get("class_counts")
        if not names:
            raise UserError(f"--classes: trial {loaded.trial.key} is not conditional; leave it out")
        indices = []
        for text in self.classes:
            if text not in names and not (text.isdecimal() and int(text) < len(names)):
                raise UserError(f"--classes {text!r}: the classes are {_listed(names)}, or their indices from 0")
            index = names.index(text) if text in names else int(text)
            if counts is not None and not counts[index]:
                raise UserError(f"--classes {text!r}: the trial has no training images of this class; name another")
            indices.append(index)
        return np.array(indices)

    def _fixed(self, loaded: "Checkpoint", generator: "Generator") -> AbstractContextManager[None]:
        from trainers.core.sampling import BATCH, fixed_statistics, latents

        z = latents(loaded.trial.gan.latent, BATCH, self.seed)
        return fixed_statistics(generator, z, _all_classes(loaded, generator, BATCH))


def slerp(start: np.ndarray, end: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the points (T, L) at shares `along` (T,) of the arc between two vectors (L,), which turn and grow evenly.

    The straight line between two normal latents leads past points nearer to the mean than nearly all latents. Here directions
    are interpolated on the sphere (White 2016, arXiv:1609.04468), and norms linearly.

    >>> slerp(np.array([1.0, 0.0]), np.array([0.0, 3.0]), np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [[1.0, 0.0], [1.414, 1.414], [0.0, 3.0]]
    """
    norms = np.linalg.norm(start), np.linalg.norm(end)
    a, b = start / norms[0], end / norms[1]
    angle = 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))
    t = along[:, None]
    if np.sin(angle) < 1e-6:  # parallel, or opposite: no arc, or no single one
        straight: np.ndarray = (1 - t) * start + t * end
        return straight
    directions = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    points: np.ndarray = directions * ((1 - t) * norms[0] + t * norms[1])
    return points


def _all_classes(loaded: "Checkpoint", generator: "Generator", n: int) -> np.ndarray | None:
    """Return the classes int64 (n,) that `sample` draws, None for an unconditional generator."""
    requested = loaded.requested(n)
    return np.arange(n) % generator.classes if requested is None and generator.classes else requested


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
