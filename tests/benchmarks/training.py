"""Speed of a training step compared with a plain textbook step: ``python -m tests.benchmarks.training``.

The modes alternate, so that other load on the machine affects all of them alike; the median over the rounds is reported. On
the CPU each uses one thread, like a trial with one CPU, and seconds are of the processor. ``--style`` measures the style-based
family instead; ``--quality`` trains each mode for equally many steps from several seeds and compares FID; ``--packed`` measures
the throughput of several simultaneous trials.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from tests.benchmarks import packing, style_step
from tests.benchmarks.command import make_parser, positive, show
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.flops import FlopCounter
from trainers.core.gan import Gan
from trainers.core.sampling import sample
from trainers.trial.rung import peak_memory_mib

#: Resolution, width, batch, critic steps, and generator steps per round; on the CPU first the quickstart's size.
SIZES = {"cpu": [(16, 16, 32, 2, 10), (32, 32, 32, 5, 1)], "cuda": [(32, 32, 64, 5, 20), (64, 64, 64, 5, 10)]}

#: Training images.
IMAGES = 512

#: Side of the square matrices whose product estimates the device's greatest rate.
MATRIX = {"cpu": 1024, "cuda": 8192}

#: By mode, the precision and whether steps are replayed as CUDA graphs.
MODES = {
    "cpu": {"float32": ("float32", False), "bf16": ("bf16", False)},
    "cuda": {
        "float32": ("float32", False),
        "bf16": ("bf16", False),
        "float32 graphs": ("float32", True),
        "bf16 graphs": ("bf16", True),
    },
}

#: Numbers of simultaneous trials.
PACKED = (1, 2, 4, 8)

#: Takes a number of generator steps.
Contestant = Callable[[int], None]


def contestants(resolution: int, width: int, batch: int, critic_steps: int, device: str) -> dict[str, Contestant]:
    """Return the training functions at a size, by mode, each with separate networks."""
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
    """Return one row per mode, with the throughput of the median round and the peak memory.

    A first round, which is not counted, warms up. The peak memory is that of the allocator on a GPU, including the networks of
    all modes, and that of the process so far on the CPU. `model_gflops_per_s` counts the floating-point operations of the
    textbook step, also for a mode that saves some of them. `matmul_share` is that rate divided by the rate of a large float32
    matrix product in the same run.
    """
    resolution, width, batch, critic_steps, steps = size
    modes = contestants(resolution, width, batch, critic_steps, device)
    with FlopCounter() as counter:  # type: ignore[no-untyped-call]  # torch's base class is untyped
        modes["plain"](1)
    flops, clock = counter.total, _clock(device)
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    peaks = dict.fromkeys(modes, 0.0)
    products = []
    for turn in range(rounds + 1):
        products.append(_matmul_seconds(device))
        for mode, train in modes.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = clock()
            train(steps)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[mode].append((clock() - began) / steps)
            peaks[mode] = max(peaks[mode], peak_memory_mib(torch.device(device)))
    medians = {mode: statistics.median(times) for mode, times in seconds.items()}
    matmul = 2 * MATRIX[device] ** 3 / statistics.median(products[1:])
    return [
        {
            "mode": mode,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "resolution": resolution,
            "width": width,
            "batch": batch,
            "critic_steps": critic_steps,
            "steps_per_s": 1 / median,
            "images_per_s": batch * critic_steps / median,
            "times_plain": medians["plain"] / median,
            "model_gflops_per_s": flops / median / 1e9,
            "matmul_share": flops / median / matmul,
            "peak_mib": peaks[mode],
        }
        for mode, median in medians.items()
    ]


def quality(seeds: int, steps: int, device: str) -> Iterator[dict[str, Any]]:
    """Yield one row per mode: the FID (`builtin` embedding) after training on digits at the quickstart's size, over seeds.

    Each row also has the FID of the plain step, which is the first, over the same seeds.
    """
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
            if mode == "plain":  # starts from our initialisation; our generator draws the samples
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
        figures = {"mean": statistics.mean(values), "low": min(values), "high": max(values)}
        if mode == "plain":
            of_plain = {f"plain_{name}": value for name, value in figures.items()}
        row = {"mode": mode, "steps": steps, "seeds": seeds, **{f"fid_{name}": value for name, value in figures.items()}}
        yield {**row, **of_plain, "times_plain": figures["mean"] / of_plain["plain_mean"]}


def _clock(device: str) -> Callable[[], float]:
    """Return the clock of the processor on the CPU: other load on the machine changes it least."""
    return time.perf_counter if device == "cuda" else time.process_time


def _matmul_seconds(device: str) -> float:
    """Return the seconds that a product of two square float32 matrices takes."""
    a, clock = torch.ones(MATRIX[device], MATRIX[device], device=device), _clock(device)
    began = clock()
    a @ a
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def _rows(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row and its text."""
    if arguments.quality:
        for row in quality(arguments.seeds, arguments.steps, arguments.device):
            spread = f"{row['fid_low']:.2f} to {row['fid_high']:.2f} over {row['seeds']} seeds"
            text = f"{row['mode']:14} FID {row['fid_mean']:.2f} after {row['steps']} steps, {spread}"
            yield row, text + f"  {row['times_plain']:.2f}x plain"
    elif arguments.style:
        yield from _style_rows(arguments)
    elif arguments.packed:
        size, rows = SIZES[arguments.device][-1], []
        for row in packing.measure(PACKED, size, arguments.steps, arguments.device, arguments.seconds):
            rows.append(row)
            text = (
                f"{row['packed']} simultaneous: {row['trials_per_hour']:.1f} trials per hour ({row['steps_per_trial']} steps), "
                f"{row['resolution']}x{row['resolution']} width {row['width']}"
            )
            yield row, text + (f", {row['gpu_mib_per_trial']:.0f} MiB each" if arguments.device == "cuda" else "")
        best = packing.recommend(rows)
        setting = f"resources.gpus {1 / best:g}" if arguments.device == "cuda" else "resources.cpus 1"
        yield {"recommended": best}, f"recommended: {best} simultaneous ({setting})"
    else:
        for size in SIZES[arguments.device]:
            for row in measure(size, arguments.device, arguments.rounds):
                yield (
                    row,
                    f"{row['resolution']}x{row['resolution']} width {row['width']} batch {row['batch']}  {row['mode']:14} "
                    f"{row['steps_per_s']:8.2f} steps/s {row['images_per_s']:8.0f} images/s  {row['times_plain']:.2f}x plain  "
                    f"{row['model_gflops_per_s']:.0f} GFLOP/s ({row['matmul_share']:.0%} of matmul)  "
                    f"peak {row['peak_mib']:.0f} MiB",
                )


def _style_rows(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    for row in style_step.measure(arguments.device, arguments.rounds):
        yield (
            row,
            f"{row['resolution']}x{row['resolution']} width {row['width']} batch {row['batch']}  {row['mode']:14} "
            f"{row['steps_per_s']:8.2f} steps/s {row['images_per_s']:8.0f} images/s  {row['times_plain']:.2f}x plain  "
            f"step {row['step_mib']:.0f} MiB",
        )


def main() -> None:
    """Run the benchmark and print one row per mode and size."""
    parser = make_parser(
        "training", "Measure training steps, compared with a plain textbook WGAN-GP step.", "--rounds 9 --json", rounds=5
    )
    parser.add_argument(
        "--device", choices=sorted(SIZES), default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)"
    )
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--quality", action="store_true", help="compare FID after equally many steps instead of speed")
    task.add_argument("--style", action="store_true", help="measure steps of the style-based family")
    task.add_argument("--packed", action="store_true", help=f"measure trials per hour for {PACKED} simultaneous trials")
    parser.add_argument("--seeds", type=positive, default=5, help="--quality: number of seeds (%(default)s)")
    parser.add_argument("--steps", type=positive, default=200, help="--quality, --packed: generator steps (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=20, help="--packed: seconds per number of trials (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    show(_rows(arguments), arguments.json)


if __name__ == "__main__":
    main()
