"""Speed of a training step of the style-based family compared with a plain textbook one, a part of the benchmark `training`."""

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.gan import Gan
from trainers.trial.rung import peak_memory_mib

#: As published, but for the size; a multiple of both intervals of regularisation is a fair number of steps.
GAN = GanConfig(family="style", resolution=32, width=32, latent=128, mapping=4)
TRAINING = TrainingConfig(
    loss="non-saturating", batch=32, critic_steps=1, gradient_penalty=1.0, penalty_every=16, path_length=2.0,
    generator_lr=2e-3, critic_lr=2e-3, betas=(0.0, 0.99), ema=0.999,
)  # fmt: skip
STEPS = 16

#: The contestants: the plain one, and the precisions of ours.
MODES = ("plain", "float32", "bf16")


class Contestant:
    """Trains on random images, with networks of its own."""

    def __init__(self, mode: str, device: str, gan: GanConfig, training: TrainingConfig) -> None:
        shape = (256, gan.resolution, gan.resolution, 3)
        self._images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        if mode == "plain":
            from tests.support.plain_style import PlainStyleGan

            self._plain = PlainStyleGan(gan, training, device)
            self._pixels = torch.from_numpy(self._images).permute(0, 3, 1, 2).contiguous().to(device)
        else:
            precise = TrainingConfig.model_validate({**training.model_dump(), "precision": mode})
            self._gan = Gan(gan, precise, classes=0, seed=0, device=device)
        self._mode = mode

    def train(self, steps: int) -> None:
        """Take generator steps."""
        if self._mode == "plain":
            self._plain.train(self._pixels, steps)
        else:
            self._gan.train(self._images, None, self._gan.step + steps)


def peak(mode: str, device: str, gan: GanConfig, training: TrainingConfig) -> float:
    """Return the peak memory of one step with all regularisers, MiB, minus that of a process that has only loaded torch."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (mode, device, gan, training))


def _peak(mode: str, device: str, gan: GanConfig, training: TrainingConfig) -> float:
    torch.set_num_threads(1)
    before = _memory(device)
    Contestant(mode, device, gan, training).train(2)
    return _memory(device) - before


def _memory(device: str) -> float:
    """Return the peak memory so far, MiB; on the CPU of this process alone, unlike getrusage after a fork."""
    if device == "cuda":
        return peak_memory_mib(torch.device(device))
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(
    device: str, rounds: int, gan: GanConfig = GAN, training: TrainingConfig = TRAINING, steps: int = STEPS, *,
    memory: bool = True,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield a row per mode; the modes alternate, and a first round, which is not counted, warms up."""
    contestants = {mode: Contestant(mode, device, gan, training) for mode in MODES}
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    for turn in range(rounds + 1):
        for mode, contestant in contestants.items():
            began = time.perf_counter()
            contestant.train(steps)
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[mode].append((time.perf_counter() - began) / steps)
    medians = {mode: statistics.median(times) for mode, times in seconds.items()}
    for mode, median in medians.items():
        yield {
            "mode": f"style {mode}", "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "resolution": gan.resolution, "width": gan.width, "batch": training.batch, "critic_steps": training.critic_steps,
            "steps_per_s": 1 / median, "images_per_s": training.batch / median, "times_plain": medians["plain"] / median,
            "step_mib": peak(mode, device, gan, training) if memory else None,
        }  # fmt: skip
