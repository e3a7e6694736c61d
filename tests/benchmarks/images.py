"""Speed of loading images, compared with torchvision: ``python -m tests.benchmarks.images``.

One folder of JPEG files is read by torchvision's `ImageFolder` with a `DataLoader`, and prepared by our code, including writing
the cache; then batches are read from the cache. The loader resizes once with its default, bilinear, and once with the bicubic
filter that we (and clean-fid) use. All alternate in one run, and medians are reported. Memory is the anonymous memory of a new
process that draws batches from a small and from a large prepared domain (Linux only); pages of the mapped file do not count.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.command import make_parser, positive, show
from trainers.domains import get
from trainers.domains.files.folder import Folder

#: Images per batch, and batches per measurement of reading the cache.
BATCH, BATCHES = 64, 500


def photographs(folder: Path, count: int, side: int) -> None:
    """Write `count` JPEG files of `side` pixels with fine detail: enlarged textures with noise."""
    textures = get("textures").load("train", 32).images
    random = np.random.default_rng(0)
    for i in range(count):
        image = Image.fromarray(textures[i % len(textures)]).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(image) + random.normal(0, 8, (side, side, 3))
        (folder / f"{i % 10}").mkdir(exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i % 10}" / f"{i:06}.jpg", quality=90)


def loader_epoch(folder: Path, resolution: int, workers: int, interpolation: str = "bilinear") -> float:
    """Return the images per second of one epoch of torchvision's loader: decoded, resized, cropped, as tensors."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToTensor

    data = ImageFolder(
        str(folder), Compose([Resize(resolution, InterpolationMode(interpolation)), CenterCrop(resolution), ToTensor()])
    )
    started = time.perf_counter()
    seen = sum(len(images) for images, _ in DataLoader(data, BATCH, num_workers=workers))
    return seen / (time.perf_counter() - started)


def preparation(folder: Path, resolution: int) -> float:
    """Return the images per second of our decoding and writing, with an empty cache."""
    shutil.rmtree(os.environ["TRANSFERGAN_CACHE"], ignore_errors=True)
    started = time.perf_counter()
    domain = Folder(folder)
    domain.prepare(resolution)
    return (domain.count("train") + domain.count("reference")) / (time.perf_counter() - started)


def batches(images: np.ndarray, count: int) -> Iterator[object]:
    """Yield `count` random batches as float tensors (N, 3, H, W)."""
    import torch

    random = np.random.default_rng(0)
    for _ in range(count):
        chosen = np.sort(random.integers(0, len(images), BATCH))
        yield torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float()


def prepared_reading(folder: Path, resolution: int) -> float:
    """Return the images per second of batches from the prepared cache."""
    images = Folder(folder).load("train", resolution).images
    started = time.perf_counter()
    for _ in batches(images, BATCHES):
        pass
    return BATCHES * BATCH / (time.perf_counter() - started)


def growth(count: int, resolution: int) -> float:
    """Return the anonymous memory, MiB, that a new process needs to draw batches from `count` prepared images."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "images.u8")
        block = np.random.default_rng(0).integers(0, 256, (1000, resolution, resolution, 3), np.uint8).tobytes()
        with file.open("wb") as out:
            for _ in range(count // 1000):
                out.write(block)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(own_memory, file, resolution).result()


def own_memory(file: Path, resolution: int) -> float:
    """Return the growth of this process's anonymous memory, MiB, while it draws batches."""
    row = (resolution, resolution, 3)
    images = np.memmap(file, np.uint8, "r").reshape(-1, *row)
    for _ in batches(images[:1000], 2):  # memory that the libraries allocate at first use
        pass
    before = _anonymous()
    for _ in batches(images, BATCHES):
        pass
    return _anonymous() - before


def _anonymous() -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the benchmark and print one row per measurement."""
    parser = make_parser(
        "images",
        "Measure the speed and memory of loading images, compared with torchvision's ImageFolder.",
        "--count 2000 --resolution 32 --json",
        rounds=3,
    )
    parser.add_argument("--images", type=Path, help="folder with one sub-folder per class (synthetic images)")
    parser.add_argument("--count", type=positive, default=12000, help="number of synthetic images (%(default)s)")
    parser.add_argument("--side", type=positive, default=128, help="side of synthetic images, pixels (%(default)s)")
    parser.add_argument("--resolution", type=positive, default=64, help="resolution to prepare, pixels (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="workers of the DataLoader (%(default)s)")
    parser.add_argument(
        "--memory", type=positive, nargs="*", default=(10_000, 1_000_000),
        help="numbers of prepared images for the measurement of memory (10000 1000000)",
    )  # fmt: skip
    options = parser.parse_args()
    show(_rows(options), options.json)


def _rows(options: argparse.Namespace) -> Iterator[tuple[dict[str, object], str]]:
    """Yield each row and its text."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRANSFERGAN_CACHE"] = str(Path(scratch, "cache"))
        folder = options.images or Path(scratch, "photographs")
        if options.images is None:
            folder.mkdir()
            photographs(folder, options.count, options.side)
        contestants: dict[str, Callable[[], float]] = {
            "ImageFolder + DataLoader": lambda: loader_epoch(folder, options.resolution, options.workers),
            "the same, bicubic as ours": lambda: loader_epoch(folder, options.resolution, options.workers, "bicubic"),
            "prepare, with writing": lambda: preparation(folder, options.resolution),
            "read prepared batches": lambda: prepared_reading(folder, options.resolution),
        }
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, measure in contestants.items():
                rates[name].append(measure())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        ratio = rate / medians["ImageFolder + DataLoader"]
        text = f"{name:<27}{rate:>10,.0f} images/s  {ratio:.2f}x the loader"
        yield {"what": name, "images_per_s": rate, "ratio": ratio}, text
    if sys.platform == "linux":
        for count in options.memory:
            mib = growth(count, 32)
            text = f"memory for batches from {count:>9,} prepared images  {mib:6.1f} MiB"
            yield {"what": "memory", "images": count, "mib": mib}, text


if __name__ == "__main__":
    main()
