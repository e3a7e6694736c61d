"""Paths of a trial's checkpoints, generators and sample grids in the store, and its last checkpoint."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from bench.store import Store
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError
from trainers.config.trial import TrialConfig

_CHECKPOINT = re.compile(r"checkpoints/(?P<key>[^/]+)/(?P<step>\d+)\.safetensors")


def checkpoint_path(key: str, step: int) -> str:
    """Return the path of a trial's checkpoint at a step; the paths of a trial sort by step."""
    return f"checkpoints/{key}/{step:08d}.safetensors"


def checkpoints_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the checkpoints among paths in the store, by trial key and step."""
    checkpoints: dict[str, dict[int, str]] = {}
    for match in filter(None, map(_CHECKPOINT.fullmatch, names)):
        checkpoints.setdefault(match["key"], {})[int(match["step"])] = match[0]
    return checkpoints


def checkpoint_paths(store: Store, key: str) -> list[str]:
    """Return the paths of a trial's checkpoints in the store, oldest first."""
    return [name for name in store.list_files(f"checkpoints/{key}") if name.endswith(".safetensors")]


def checkpoint_step(store: Store, key: str) -> int:
    """Return the step of a trial's last checkpoint, damaged or not; 0 if there is none."""
    return max(checkpoints_by_trial(checkpoint_paths(store, key)).get(key, {}), default=0)


def last_checkpoint(store: Store, key: str) -> tuple[str, bytes] | None:
    """Return the path and bytes of a trial's last undamaged checkpoint, or None; damaged ones are set aside."""
    for name in reversed(checkpoint_paths(store, key)):
        data = store.read_file(name)
        try:
            sealed_tensors.check(data)
        except DamagedError as error:
            store.set_aside(name, str(error))
            continue
        return name, data
    return None


def generator_path(key: str, step: int) -> str:
    """Return the path of a trial's generator at a step; those of all rungs are kept."""
    return f"generators/{key}/{step:08d}.safetensors"


def generators(store: Store, key: str) -> dict[int, str]:
    """Return the paths of a trial's generators in the store by step, ascending."""
    names = (name for name in store.list_files(f"generators/{key}") if name.endswith(".safetensors"))
    return {int(PurePosixPath(name).stem): name for name in sorted(names)}


def samples_path(key: str, step: int) -> str:
    """Return the path of a trial's sample grid at a step; the grids of earlier steps are kept."""
    return f"samples/{key}-{step:08d}.png"


def real_samples_path(trial: TrialConfig) -> str:
    """Return the path of the grid of the trial's domain's reference images."""
    identity = trial.domain.fingerprint.replace("/", "-").replace(":", "-")
    return f"samples/real-{identity}-{trial.gan.resolution}.png"
