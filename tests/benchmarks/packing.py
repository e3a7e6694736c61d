"""Throughput of several simultaneous trials on one machine: ``python -m tests.benchmarks.training --packed``.

Each trial is a process with one CPU thread, as under Ray. On a GPU all share it, each limited to its share of the memory.
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

#: The smallest number of trials with this share of the greatest throughput is recommended.
ENOUGH = 0.95

#: Training images.
IMAGES = 512


def measure(
    counts: Sequence[int], size: tuple[int, int, int, int, int], steps: int, device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield one row per number of simultaneous trials.

    Args:
        counts: the numbers of trials.
        size: resolution, width, batch, critic steps, and generator steps between two readings of the clock.
        steps: generator steps of one trial; evaluation is not included.
        device: ``cpu`` or ``cuda``.
        seconds: duration of the measurement for each number.
    """
    spawn = multiprocessing.get_context("spawn")
    for count in counts:
        barrier = spawn.Barrier(count)
        with spawn.Pool(count, _join, (barrier, device, 1 / count)) as pool:
            trials = pool.starmap(_throughput, [(size, device, seconds)] * count, chunksize=1)
        rate = sum(rate for rate, _ in trials)
        yield {
            "packed": count,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "resolution": size[0],
            "width": size[1],
            "batch": size[2],
            "critic_steps": size[3],
            "steps_per_trial": steps,
            "trials_per_hour": 3600 * rate / steps,
            "gpu_mib_per_trial": max(peak for _, peak in trials),
        }


def recommend(rows: Sequence[dict[str, Any]]) -> int:
    """Return the smallest number of simultaneous trials with nearly the greatest throughput; see `ENOUGH`."""
    most = max(row["trials_per_hour"] for row in rows)
    return min(int(row["packed"]) for row in rows if row["trials_per_hour"] >= ENOUGH * most)


_barrier: Barrier


def _join(barrier: Barrier, device: str, share: float) -> None:
    global _barrier
    _barrier = barrier
    torch.set_num_threads(1)
    if device == "cuda" and share < 1:
        torch.cuda.set_per_process_memory_fraction(share)


def _throughput(size: tuple[int, int, int, int, int], device: str, seconds: float) -> tuple[float, float]:
    """Return the generator steps per second of one of the simultaneous trials, and its peak memory on a GPU, MiB."""
    resolution, width, batch, critic_steps, chunk = size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, resolution, resolution, 3), dtype=np.uint8)
    training = TrainingConfig(batch=batch, critic_steps=critic_steps)
    gan = Gan(GanConfig(resolution=resolution, width=width), training, classes=0, seed=0, device=device)
    gan.train(images, None, chunk)
    _barrier.wait()
    began, first = time.perf_counter(), gan.step
    while time.perf_counter() - began < seconds:
        gan.train(images, None, gan.step + chunk)  # ends with a check of the losses, which waits for a GPU
    elapsed = time.perf_counter() - began
    _barrier.wait()  # every trial occupies the machine until all are measured
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return (gan.step - first) / elapsed, peak
