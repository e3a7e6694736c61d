"""How fast images come: ``python -m tests.benchmarks.images``.

One folder of JPEG files is read by torchvision's `ImageFolder` under a `DataLoader`, as one would without this package, and
prepared by us, the writing included; then batches are drawn from what was prepared. The loader resizes by its default, which
is bilinear, and once more by the bicubic filter that we use, as clean-fid does. All take turns in one run; the figures are
medians. Memory is that of a fresh process that draws batches from a small and from a large prepared domain: what it has to
itself (Linux only), not the pages of the file that the system may drop again.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.domains import get
from trainers.domains.files.folder import Folder

BATCH = 64

#: Batches that are drawn from the prepared images for one figure.
BATCHES = 500


def photographs(folder: Path, count: int, side: int) -> None:
    """Write JPEG files that look busy enough: textures, enlarged, with noise."""
    textures = get("textures").load("train", 32).images
    random = np.random.default_rng(0)
    for i in range(count):
        image = Image.fromarray(textures[i % len(textures)]).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(image) + random.normal(0, 8, (side, side, 3))
        (folder / f"{i % 10}").mkdir(exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i % 10}" / f"{i:06}.jpg", quality=90)


def loader_epoch(folder: Path, resolution: int, workers: int, interpolation: str = "bilinear") -> float:
    """Return the images per second of a plain epoch: decoded, resized, cropped, as tensors."""
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
    """Return the images per second of our decoding and writing, from nothing."""
    shutil.rmtree(os.environ["TRANSFERGAN_CACHE"], ignore_errors=True)
    started = time.perf_counter()
    domain = Folder(folder)
    domain.prepare(resolution)
    return (domain.count("train") + domain.count("reference")) / (time.perf_counter() - started)


def batches(images: np.ndarray, count: int) -> Iterator[object]:
    """Yield random batches, as float tensors (N, 3, H, W)."""
    import torch

    random = np.random.default_rng(0)
    for _ in range(count):
        chosen = np.sort(random.integers(0, len(images), BATCH))
        yield torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float()


def prepared_reading(folder: Path, resolution: int) -> float:
    """Return the images per second of batches from the prepared images."""
    images = Folder(folder).load("train", resolution).images
    started = time.perf_counter()
    for _ in batches(images, BATCHES):
        pass
    return BATCHES * BATCH / (time.perf_counter() - started)


def growth(count: int, resolution: int) -> float:
    """Return how much memory of its own a fresh process needs to draw batches from so many prepared images, MiB."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "images.u8")
        block = np.random.default_rng(0).integers(0, 256, (1000, resolution, resolution, 3), np.uint8).tobytes()
        with file.open("wb") as out:
            for _ in range(count // 1000):
                out.write(block)
        arguments = ["--own-memory", str(file), "--resolution", str(resolution)]
        command = [sys.executable, "-m", "tests.benchmarks.images", *arguments]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_memory(file: Path, resolution: int) -> float:
    """Return the growth of this process's anonymous memory while it draws batches, MiB."""
    row = (resolution, resolution, 3)
    images = np.memmap(file, np.uint8, "r").reshape(-1, *row)
    for _ in batches(images[:1000], 2):  # what the libraries take the first time
        pass
    before = _anonymous()
    for _ in batches(images, BATCHES):
        pass
    return _anonymous() - before


def _anonymous() -> float:
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of images in sub-folders; made up when left out")
    parser.add_argument("--count", type=int, default=12000, help="how many images to make up (%(default)s)")
    parser.add_argument("--side", type=int, default=128, help="of those, pixels (%(default)s)")
    parser.add_argument("--resolution", type=int, default=64, help="to prepare at, pixels (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the DataLoader (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print rows of JSON")
    parser.add_argument(
        "--memory",
        type=int,
        nargs="*",
        default=(10_000, 1_000_000),
        help="prepared images to measure memory with (%(default)s)",
    )
    parser.add_argument("--own-memory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own_memory:
        print(own_memory(options.own_memory, options.resolution))
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRANSFERGAN_CACHE"] = str(Path(scratch, "cache"))
        folder = options.images or Path(scratch, "photographs")
        if options.images is None:
            folder.mkdir()
            photographs(folder, options.count, options.side)
        contestants: dict[str, Callable[[], float]] = {
            "ImageFolder + DataLoader": lambda: loader_epoch(folder, options.resolution, options.workers),
            "the same, bicubic as ours": lambda: loader_epoch(folder, options.resolution, options.workers, "bicubic"),
            "prepare, write included": lambda: preparation(folder, options.resolution),
            "read prepared batches": lambda: prepared_reading(folder, options.resolution),
        }
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, measure in contestants.items():
                rates[name].append(measure())
    plain = statistics.median(rates["ImageFolder + DataLoader"])
    rows: list[dict[str, object]] = [
        {"what": name, "images_per_s": statistics.median(found), "ratio": statistics.median(found) / plain}
        for name, found in rates.items()
    ]
    if sys.platform == "linux":
        rows += [{"what": "memory", "images": n, "mib": growth(n, 32)} for n in options.memory]
    for row in rows:
        if options.json:
            print(json.dumps(row))
        elif "mib" in row:
            print(f"memory drawing batches from {row['images']:>9,} prepared images  {row['mib']:6.1f} MiB more")
        else:
            print(f"{row['what']:<27}{row['images_per_s']:>10,.0f} images/s  {row['ratio']:.2f}x the loader")


if __name__ == "__main__":
    main()
