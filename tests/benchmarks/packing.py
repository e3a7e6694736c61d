"""How many trials at a time get the most done on one machine: ``python -m tests.benchmarks.training --packed``.

Each trial is a process of its own, as under Ray, with one CPU thread; on a GPU they share it, each held to its part of the
memory.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.gan import Gan

#: A number of trials is recommended when no smaller one gets this share of the most.
ENOUGH = 0.95

#: Training images, as of a small target.
IMAGES = 512


def measure(
    counts: Sequence[int], size: tuple[int, int, int, int, int], steps: int, device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of trials at a time.

    Args:
        counts: the numbers of trials.
        size: resolution, width, batch, critic steps, and generator steps between two looks at the clock.
        steps: what a trial is, in generator steps, evaluation left out.
        device: ``cpu`` or ``cuda``.
        seconds: how long each number is measured.
    """
    spawn = multiprocessing.get_context("spawn")
    for count in counts:
        together = spawn.Barrier(count)
        with spawn.Pool(count, _join, (together, device, 1 / count)) as pool:
            found = pool.starmap(_throughput, [(size, device, seconds)] * count, chunksize=1)
        rate = sum(each for each, _ in found)
        yield {
            "packed": count,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "resolution": size[0],
            "width": size[1],
            "batch": size[2],
            "critic_steps": size[3],
            "steps_per_trial": steps,
            "trials_per_hour": 3600 * rate / steps,
            "gpu_mib_per_trial": max(peak for _, peak in found),
        }


def recommend(rows: Sequence[dict[str, Any]]) -> int:
    """Return the least number of trials at a time that gets nearly the most done; fewer lose less when one is killed."""
    most = max(row["trials_per_hour"] for row in rows)
    return min(int(row["packed"]) for row in rows if row["trials_per_hour"] >= ENOUGH * most)


_together: Barrier


def _join(together: Barrier, device: str, share: float) -> None:
    global _together
    _together = together
    torch.set_num_threads(1)
    if device == "cuda" and share < 1:
        torch.cuda.set_per_process_memory_fraction(share)


def _throughput(size: tuple[int, int, int, int, int], device: str, seconds: float) -> tuple[float, float]:
    """Return the generator steps per second of one trial among its neighbours, and its peak memory on a GPU, MiB."""
    resolution, width, batch, critic_steps, chunk = size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, resolution, resolution, 3), dtype=np.uint8)
    training = TrainingConfig(batch=batch, critic_steps=critic_steps)
    gan = Gan(GanConfig(resolution=resolution, width=width), training, classes=0, seed=0, device=device)
    gan.train(images, None, chunk)
    _together.wait()
    began, first = time.perf_counter(), gan.step
    while time.perf_counter() - began < seconds:
        gan.train(images, None, gan.step + chunk)  # ends with a look at the losses, which waits for a GPU
    elapsed = time.perf_counter() - began
    _together.wait()  # none may rest while its neighbours are still measured
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return (gan.step - first) / elapsed, peak
