"""The cost of checkpoints between rungs: the same training with and without them, in pairs."""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import ResourcesConfig, SweepSpec
from bench.worker.trial import task, train
from trainers.trial import run as training

#: Generator steps of a training, and seconds between checkpoints in the one that has them: many more than a sweep has, so that
#: the cost of one of them can be measured.
STEPS, EVERY = 100, 0.5

#: The networks and steps of the quickstart.
_SPEC: dict[str, Any] = {
    "name": "checkpoints",
    "sources": [],
    "targets": ["digits"],
    "sizes": [500],
    "strategies": ["scratch"],
    "gan": {"resolution": 16, "width": 16},
    "training": {"batch": 32, "critic_steps": 1},
    "evaluation": {"samples": 100},
}


def measure(rounds: int, steps: int = STEPS, every: float = EVERY) -> dict[str, Any]:
    """Return the seconds of a checkpoint, and its share of the training between two of them, as often as a sweep has them.

    The cost is what training takes longer with checkpoints than without; one is packed while training waits, and written to a
    directory while it goes on. The median over the rounds counts.
    """
    threads = torch.get_num_threads()
    _seconds(steps, math.inf)  # warms up
    costs, plain = [], []
    for _ in range(rounds):
        without, _ = _seconds(steps, math.inf)
        seconds, checkpoints = _seconds(steps, every)
        costs.append((seconds - without) / max(1, checkpoints))
        plain.append(without / steps)
    torch.set_num_threads(threads)
    cost, between = statistics.median(costs), 60 * ResourcesConfig().checkpoint_minutes
    share = cost / between
    return {"step_ms": 1000 * statistics.median(plain), "checkpoint_ms": 1000 * cost, "every_s": between, "share": share}


def _seconds(steps: int, every: float) -> tuple[float, int]:
    """Return the seconds that a trial trains, without its evaluations, and how many checkpoints it wrote meanwhile."""
    plan = make_plan(SweepSpec.model_validate({**_SPEC, "training": {**_SPEC["training"], "steps": steps}}))
    times: list[float] = []
    evaluations: list[float] = []
    checkpoints = 0

    def timed(*arguments: Any, **options: Any) -> Iterator[Any]:
        nonlocal checkpoints
        for event in training.run(*arguments, **{**options, "checkpoint_seconds": every}):
            if isinstance(event, training.Interim):
                checkpoints += 1
            else:
                times.append(time.perf_counter())
                evaluations.append(event.evaluation_seconds)
            yield event

    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        store = open_store(str(Path(folder) / "store"), create=True)
        for _ in train(task(plan, store, plan.trials[-1].key), run=timed):
            pass
    return times[-1] - times[0] - (evaluations[-1] - evaluations[0]), checkpoints
