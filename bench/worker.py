"""One trial on Ray Tune: stands between `trainers.trial`, which knows of no store, and the store.

At every rung the measurements are published first, then the checkpoint, then Ray is told: killed at any moment, the trial
goes on from its last checkpoint and what it measures again reads as the same rows.
"""

from collections.abc import Mapping
from typing import Any

from ray import tune

from bench.environment import record_environment
from bench.outcomes import checkpoint_path, checkpoint_paths, outcome_row, real_samples_path, samples_path
from bench.store import Store, open_store
from trainers.config import TrialConfig


def train_on_ray(config: Mapping[str, Any]) -> None:
    """Run one trial, in a process of Ray's: the function that Ray Tune schedules.

    Args:
        config: "trial" (canonical JSON), "sweep" and "store" (URI) as strings; "cpus" and "gpus" that it may use.
    """
    import torch

    from trainers import checkpoints
    from trainers.trial import real_grid, run

    torch.set_num_threads(int(config["cpus"]))
    store = open_store(config["store"])
    trial = TrialConfig.model_validate_json(config["trial"])
    sweep = config["sweep"]
    environment = record_environment(store, sweep, gpu=bool(config["gpus"]))
    parent = None
    if trial.parent is not None:
        name = checkpoint_paths(store, trial.parent)[-1]
        parent = checkpoints.load(store.read_file(name), name)
    if not store.has_file(real_samples_path(trial)):
        store.write_file(real_samples_path(trial), real_grid(trial.domain.name, trial.gan.resolution))

    for rung in run(trial, parent=parent, resume=_resumable(store, trial.key), device="cuda" if config["gpus"] else "cpu"):
        if rung.measurements:
            store.append(
                "measurements",
                sweep,
                [
                    {
                        "trial": trial.key,
                        "step": rung.step,
                        "metric": measured.metric,
                        "embedding": rung.embedding,
                        "value": measured.value,
                        "standard_error": measured.standard_error,
                        "samples": measured.samples,
                        "images_seen": rung.images_seen,
                        "seconds": rung.seconds,
                    }
                    for measured in rung.measurements
                ],
            )
        name = checkpoint_path(trial.key, rung.step)
        if rung.samples is not None:
            store.write_file(samples_path(trial.key), rung.samples)
        if rung.checkpoint is not None:
            store.write_file(name, rung.checkpoint)
        columns = {
            "steps": rung.step,
            "seconds": rung.seconds,
            "images_per_second": rung.images_per_second,
            "peak_memory_mib": rung.peak_memory_mib,
        }
        status = "diverged" if rung.diverged else "done" if rung.finished else "running"
        if status != "running":
            files = {
                "checkpoint": name if rung.checkpoint is not None else None,
                "samples": samples_path(trial.key) if rung.samples is not None else None,
                "real_samples": real_samples_path(trial),
            }
            row = outcome_row(trial, status, environment, **columns, **files, error=rung.diverged)
            store.append("trials", sweep, [row])
        if rung.checkpoint is not None:
            # Only now: until the outcome is recorded, the rung before is what a killed trial goes on from.
            for older in checkpoint_paths(store, trial.key):
                if older < name:
                    store.delete_file(older)
        if rung.step or rung.diverged:
            values = {measured.metric: measured.value for measured in rung.measurements}
            tune.report({"status": status, "error": rung.diverged, "environment": environment, **columns, **values})


def _resumable(store: Store, key: str) -> Any:
    """Return the newest checkpoint that training can go on from, or None."""
    from trainers import checkpoints

    for name in reversed(checkpoint_paths(store, key)):
        checkpoint = checkpoints.load(store.read_file(name), name)
        if checkpoint.resumable:
            return checkpoint
    return None
