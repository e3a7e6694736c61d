"""Trains the built-in embedding: ``python -m trainers.evaluation.embeddings.train_builtin`` writes the weights that ship.

A classifier of all (domain, class) pairs of the built-in domains, at several resolutions, on corrupted images, so that its
features depend on both the content and the quality of an image. New weights have a new identity; stored metrics keep the old.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from trainers.common.seeds import derive_seed
from trainers.config.embeddings import BUILTIN_WEIGHTS
from trainers.domains import Split, builtin_names, get
from trainers.evaluation.embeddings.builtin import DIMENSIONS, Features, prepare

RESOLUTIONS = (16, 32)

#: Corruptions of the images. The network learns to classify them, so that its features depend on them.
SPOILS = ("none", "noise", "blur", "shift")


def load(split: Split) -> tuple[Tensor, Tensor, int]:
    """Return all images of a split float (N, 3, 32, 32), their labels int64 (N,), and the number of classes."""
    images, labels, classes = [], [], 0
    for name in builtin_names():
        domain = get(name)
        for resolution in RESOLUTIONS:
            data = domain.load(split, resolution)
            assert data.labels is not None
            # Digits are few, so they are repeated to have equal weight.
            repeats = max(1, round(get("letters").count(split) / domain.count(split)))
            images += [prepare(torch.tensor(data.images))] * repeats
            labels += [torch.from_numpy(data.labels + classes)] * repeats
        classes += len(domain.classes)
    return torch.cat(images), torch.cat(labels), classes


def spoil(x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, H, W), each with a random corruption, and its number in `SPOILS`, int64 (N,)."""
    n = len(x)
    way = torch.randint(len(SPOILS), (n,), generator=random)
    strength = torch.rand(n, 1, 1, 1, generator=random)
    noisy = x + (0.05 + 0.5 * strength) * torch.randn(x.shape, generator=random)
    blurred = F.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    blurred = x + (0.3 + 0.7 * strength) * (blurred - x)
    moved = torch.roll(x, tuple(int(torch.randint(-3, 4, (), generator=random)) for _ in range(2)), (2, 3))
    x = torch.where((way == 1)[:, None, None, None], noisy, x)
    x = torch.where((way == 2)[:, None, None, None], blurred, x)
    x = torch.where((way == 3)[:, None, None, None], moved, x)
    return x.clamp(-1, 1), way


@torch.no_grad()
def standardise(features: Features, images: Tensor) -> None:
    """Scale and shift the last layer so that every feature has mean 0 and variance 1 over the images.

    KID's kernel is designed for features of about that size, and no single feature dominates FID.
    """
    z = torch.cat([features(batch) for batch in torch.split(images, 500)])
    last = features.layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight /= z.std(0)[:, None]
    last.bias.sub_(z.mean(0)).div_(z.std(0))


def main() -> None:
    """Train, report the accuracy on the reference splits, and write the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="Example: python -m trainers.evaluation.embeddings.train_builtin --out weights.safetensors",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(BUILTIN_WEIGHTS))
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()

    torch.manual_seed(derive_seed("builtin embedding"))
    torch.use_deterministic_algorithms(True)
    random = torch.Generator().manual_seed(derive_seed("builtin embedding", "batches"))
    images, labels, classes = load("train")
    features, names, ways = Features(), nn.Linear(DIMENSIONS, classes), nn.Linear(DIMENSIONS, len(SPOILS))
    parameters = [*features.parameters(), *names.parameters(), *ways.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=arguments.steps)
    started = time.perf_counter()
    for step in range(1, arguments.steps + 1):
        chosen = torch.randint(len(images), (128,), generator=random)
        x, way = spoil(images[chosen], random)
        z = features(x)
        loss = F.cross_entropy(names(F.relu(z)), labels[chosen]) + 0.5 * F.cross_entropy(ways(F.relu(z)), way)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(
                f"step {step}/{arguments.steps}: loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )

    with torch.inference_mode():
        images, labels, _ = load("reference")
        guesses = torch.cat([names(F.relu(features(batch))).argmax(1) for batch in torch.split(images, 500)])
    print(f"accuracy on the reference splits: {(guesses == labels).double().mean():.3f} of {classes} classes")
    standardise(features, load("train")[0])
    save_file({name: value.contiguous() for name, value in features.state_dict().items()}, arguments.out)
    size = np.round(arguments.out.stat().st_size / 2**20, 2)
    print(f"{arguments.out}: {size} MiB")


if __name__ == "__main__":
    main()
