"""How fast a training step is, beside a plain textbook step in the same run: ``python -m trainers.benchmark``.

The contestants take turns, so that whatever else the machine does falls on all of them; what is told is the median of the
rounds. One thread on the CPU, as in a trial with one CPU. Needs the tests' reference module, so run it in a checkout.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainers.config import GanConfig, TrainingConfig
from trainers.core import Gan

#: resolution, width, batch, critic steps, generator steps per round: the quickstart's size, and the next one up.
SIZES = {"cpu": [(16, 16, 32, 2, 10), (32, 32, 32, 5, 1)], "cuda": [(32, 32, 64, 5, 20), (64, 64, 64, 5, 10)]}

IMAGES = 512

#: A contestant takes so many generator steps.
Contestant = Callable[[int], None]


def contestants(resolution: int, width: int, batch: int, critic_steps: int, device: str) -> dict[str, Contestant]:
    """Return the contestants at a size, by mode, each with networks of its own."""
    from tests.reference import PlainGan

    images = np.random.default_rng(0).integers(0, 256, (IMAGES, resolution, resolution, 3), dtype=np.uint8)
    config = GanConfig(resolution=resolution, width=width)
    plain = PlainGan(resolution, width, batch, critic_steps, config.latent, device)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)
    ours = Gan(config, TrainingConfig(batch=batch, critic_steps=critic_steps), classes=0, seed=0, device=device)
    return {
        "plain": lambda steps: plain.train(pixels, steps),
        "float32": lambda steps: ours.train(images, None, ours.step + steps),
    }


def measure(size: tuple[int, int, int, int, int], device: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row per mode: throughput by the median round (the first warms up and does not count), and peak memory.

    The peak is the allocator's on a GPU, and that of the process so far, over all modes, on the CPU.
    """
    resolution, width, batch, critic_steps, steps = size
    modes = contestants(resolution, width, batch, critic_steps, device)
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    peaks = dict.fromkeys(modes, 0.0)
    for turn in range(rounds + 1):
        for mode, train in modes.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            train(steps)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[mode].append((time.perf_counter() - began) / steps)
            peaks[mode] = max(peaks[mode], _peak_mib(device))
    plain = statistics.median(seconds["plain"])
    return [
        {
            "mode": mode,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "resolution": resolution,
            "width": width,
            "batch": batch,
            "critic_steps": critic_steps,
            "steps_per_s": 1 / statistics.median(each),
            "images_per_s": batch * critic_steps / statistics.median(each),
            "times_plain": plain / statistics.median(each),
            "peak_mib": peaks[mode],
        }
        for mode, each in seconds.items()
    ]


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Measure every size and print a row per mode."""
    parser = argparse.ArgumentParser(
        description="Measure training steps beside a plain textbook WGAN-GP step.",
        epilog="Example: python -m trainers.benchmark --rounds 9 --json",
    )
    parser.add_argument("--device", choices=sorted(SIZES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; their median is told")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    torch.set_num_threads(1)
    for size in SIZES[arguments.device]:
        for row in measure(size, arguments.device, arguments.rounds):
            if arguments.json:
                line = json.dumps(row)
            else:
                line = (
                    f"{row['resolution']}x{row['resolution']} width {row['width']} batch {row['batch']}  {row['mode']:8} "
                    f"{row['steps_per_s']:8.2f} steps/s {row['images_per_s']:8.0f} images/s  "
                    f"{row['times_plain']:.2f}x plain  peak {row['peak_mib']:.0f} MiB"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
