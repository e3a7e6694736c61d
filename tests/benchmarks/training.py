"""How fast a training step is, beside a plain textbook step in the same run: ``python -m tests.benchmarks.training``.

The contestants take turns, so that whatever else the machine does falls on all of them; what is told is the median of the
rounds. One thread on the CPU, as in a trial with one CPU. ``--quality`` trains each for as many steps from several seeds and
compares the FID that they reach; ``--packed`` tells how many trials at a time get the most done. Needs the tests' reference
module, so run it in a checkout.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from tests.benchmarks import packing
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.flops import FlopCounter
from trainers.core.gan import Gan
from trainers.core.sampling import sample
from trainers.trial.run import peak_memory_mib

#: resolution, width, batch, critic steps, generator steps per round: the quickstart's size, and the next one up.
SIZES = {"cpu": [(16, 16, 32, 2, 10), (32, 32, 32, 5, 1)], "cuda": [(32, 32, 64, 5, 20), (64, 64, 64, 5, 10)]}

IMAGES = 512

#: Side of the matrices whose product tells what the device can do at most.
MATRIX = {"cpu": 1024, "cuda": 8192}

#: Precision, and whether steps are replayed as CUDA graphs.
MODES = {
    "cpu": {"float32": ("float32", False), "bf16": ("bf16", False)},
    "cuda": {
        "float32": ("float32", False),
        "bf16": ("bf16", False),
        "float32 graphs": ("float32", True),
        "bf16 graphs": ("bf16", True),
    },
}

#: Trials at a time.
PACKED = (1, 2, 4, 8)

#: A contestant takes so many generator steps.
Contestant = Callable[[int], None]


def contestants(resolution: int, width: int, batch: int, critic_steps: int, device: str) -> dict[str, Contestant]:
    """Return the contestants at a size, by mode, each with networks of its own."""
    from tests.support.reference import PlainGan

    images = np.random.default_rng(0).integers(0, 256, (IMAGES, resolution, resolution, 3), dtype=np.uint8)
    config = GanConfig(resolution=resolution, width=width)
    plain = PlainGan(resolution, width, batch, critic_steps, config.latent, device)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)

    def ours(precision: str, graphs: bool) -> Contestant:
        training = TrainingConfig.model_validate({"batch": batch, "critic_steps": critic_steps, "precision": precision})
        gan = Gan(config, training, classes=0, seed=0, device=device, graphs=graphs)
        return lambda steps: gan.train(images, None, gan.step + steps)

    return {"plain": lambda steps: plain.train(pixels, steps), **{mode: ours(*how) for mode, how in MODES[device].items()}}


def measure(size: tuple[int, int, int, int, int], device: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row per mode: throughput by the median round (the first warms up and does not count), and peak memory.

    The peak is the allocator's on a GPU, with what the networks of all modes hold, and that of the process so far on the CPU.
    `model_gflops_per_s` are the textbook step's floating-point operations per second, whichever way a mode gets round some of
    them; `matmul_share` is that as a share of the rate of a large float32 matrix product in the same run.
    """
    resolution, width, batch, critic_steps, steps = size
    modes = contestants(resolution, width, batch, critic_steps, device)
    with FlopCounter() as counter:  # type: ignore[no-untyped-call]  # torch's base class is untyped
        modes["plain"](1)
    flops = counter.total
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    peaks = dict.fromkeys(modes, 0.0)
    products = []
    for turn in range(rounds + 1):
        products.append(_matmul_seconds(device))
        for mode, train in modes.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            train(steps)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[mode].append((time.perf_counter() - began) / steps)
            peaks[mode] = max(peaks[mode], peak_memory_mib(torch.device(device)))
    plain = statistics.median(seconds["plain"])
    matmul = 2 * MATRIX[device] ** 3 / statistics.median(products[1:])
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
            "model_gflops_per_s": flops / statistics.median(each) / 1e9,
            "matmul_share": flops / statistics.median(each) / matmul,
            "peak_mib": peaks[mode],
        }
        for mode, each in seconds.items()
    ]


def quality(seeds: int, steps: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield a row per mode: the FID (`builtin` embedding) that it reaches on digits at the quickstart's size, by seed."""
    from tests.support.reference import PlainGan, carry_over
    from trainers.domains import get
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.metrics.fid import fid
    from trainers.evaluation.metrics.fid import statistics as fid_statistics

    config = GanConfig()
    images = get("digits").load("train", config.resolution).images
    embed = load_embedding("builtin", device)
    real = fid_statistics(embed(get("digits").load("reference", config.resolution).images))
    settings = {"batch": 32, "critic_steps": 2, "generator_lr": 5e-4, "critic_lr": 5e-4}
    for mode, (precision, graphs) in {"plain": ("float32", False), **MODES[device]}.items():
        values = []
        for seed in range(seeds):
            training = TrainingConfig.model_validate({**settings, "precision": precision})
            gan = Gan(config, training, classes=0, seed=seed, device=device, graphs=graphs)
            if mode == "plain":  # from the same initialisation, and drawn by our generator again
                plain = PlainGan(config.resolution, config.width, 32, 2, config.latent, device, lr=5e-4)
                for ours, theirs in ((gan.generator, plain.generator), (gan.critic, plain.critic)):
                    carry_over(ours, theirs)
                torch.manual_seed(seed)
                plain.train(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device), steps)
                for parameter, trained in zip(gan.generator.parameters(), plain.parameters_like(gan.generator), strict=True):
                    parameter.data.copy_(trained)
            else:
                gan.train(images, None, steps)
            values.append(fid(real, fid_statistics(embed(sample(gan.generator, config.latent, 1000, 0)))))
        yield {
            "mode": mode,
            "steps": steps,
            "seeds": seeds,
            "fid_mean": statistics.mean(values),
            "fid_low": min(values),
            "fid_high": max(values),
        }


def _matmul_seconds(device: str) -> float:
    """Return how long the product of two square float32 matrices takes."""
    a = torch.ones(MATRIX[device], MATRIX[device], device=device)
    began = time.perf_counter()
    a @ a
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _rows(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row and how it reads."""
    if arguments.quality:
        for row in quality(arguments.seeds, arguments.steps, arguments.device):
            spread = f"{row['fid_low']:.2f} to {row['fid_high']:.2f} over {row['seeds']} seeds"
            yield row, f"{row['mode']:14} FID {row['fid_mean']:.2f} after {row['steps']} steps, {spread}"
        return
    if arguments.packed:
        size, rows = SIZES[arguments.device][-1], []
        for row in packing.measure(PACKED, size, arguments.steps, arguments.device, arguments.seconds):
            rows.append(row)
            words = (
                f"{row['packed']} at a time: {row['trials_per_hour']:.1f} trials of {row['steps_per_trial']} steps per hour, "
                f"{row['resolution']}x{row['resolution']} width {row['width']}"
            )
            yield row, words + (f", {row['gpu_mib_per_trial']:.0f} MiB each" if arguments.device == "cuda" else "")
        best = packing.recommend(rows)
        key = f"resources.gpus {1 / best:g}" if arguments.device == "cuda" else "resources.cpus 1"
        yield {"recommended": best}, f"recommended: {best} at a time ({key})"
        return
    for size in SIZES[arguments.device]:
        for row in measure(size, arguments.device, arguments.rounds):
            yield (
                row,
                f"{row['resolution']}x{row['resolution']} width {row['width']} batch {row['batch']}  {row['mode']:14} "
                f"{row['steps_per_s']:8.2f} steps/s {row['images_per_s']:8.0f} images/s  {row['times_plain']:.2f}x plain  "
                f"{row['model_gflops_per_s']:.0f} GFLOP/s ({row['matmul_share']:.0%} of matmul)  "
                f"peak {row['peak_mib']:.0f} MiB",
            )


def main() -> None:
    """Measure, and print a row per mode (and size)."""
    parser = argparse.ArgumentParser(
        description="Measure training steps beside a plain textbook WGAN-GP step.",
        epilog="Example: python -m tests.benchmarks.training --rounds 9 --json",
    )
    parser.add_argument("--device", choices=sorted(SIZES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds; their median is told")
    parser.add_argument("--quality", action="store_true", help="compare the FID reached after equal steps instead of speed")
    parser.add_argument("--packed", action="store_true", help=f"tell trials per hour for {PACKED} at a time instead")
    parser.add_argument("--seeds", type=int, default=5, help="with --quality: how many seeds")
    parser.add_argument("--steps", type=int, default=200, help="with --quality, --packed: generator steps")
    parser.add_argument("--seconds", type=float, default=20, help="with --packed: how long each number is measured")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    if arguments.quality and arguments.packed:
        parser.error("--quality and --packed are two benchmarks; ask for one")
    for name in ("rounds", "seeds", "steps", "seconds"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    torch.set_num_threads(1)
    for row, words in _rows(arguments):
        print(json.dumps(row) if arguments.json else words, flush=True)


if __name__ == "__main__":
    main()
