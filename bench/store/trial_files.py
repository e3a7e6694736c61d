"""How outcomes get into the store: the rows of table `trials`, where a trial's files lie, and what the driver records.

A trial records its own end; the driver records what only it can know: stopped, failed, blocked.
"""

import re
from collections.abc import Iterable

from bench.store import Store
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError
from trainers.config.trial import TrialConfig

_CHECKPOINT = re.compile(r"checkpoints/(?P<key>[^/]+)/(?P<step>\d+)\.safetensors")


def checkpoint_path(key: str, step: int) -> str:
    """Return where a trial's checkpoint at a step lies in the store; names sort by step."""
    return f"checkpoints/{key}/{step:08d}.safetensors"


def checkpoints_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return those paths in the store that are checkpoints', by the trial's key and the step."""
    found: dict[str, dict[int, str]] = {}
    for matched in filter(None, map(_CHECKPOINT.fullmatch, names)):
        found.setdefault(matched["key"], {})[int(matched["step"])] = matched[0]
    return found


def checkpoint_paths(store: Store, key: str) -> list[str]:
    """Return a trial's checkpoints in the store, oldest first."""
    return [name for name in store.list_files(f"checkpoints/{key}") if name.endswith(".safetensors")]


def last_checkpoint(store: Store, key: str) -> tuple[str, bytes] | None:
    """Return the name and the bytes of a trial's last checkpoint that is whole, if there is one; others are set aside."""
    for name in reversed(checkpoint_paths(store, key)):
        data = store.read_file(name)
        try:
            sealed_tensors.check(data)
        except DamagedError as error:
            store.set_aside(name, str(error))
            continue
        return name, data
    return None


def samples_path(key: str, step: int) -> str:
    """Return where a trial's sample grid at a step lies in the store; those of earlier steps stay there."""
    return f"samples/{key}-{step:08d}.png"


def real_samples_path(trial: TrialConfig) -> str:
    """Return where the grid of the domain's reference images lies in the store."""
    identity = trial.domain.fingerprint.replace("/", "-").replace(":", "-")
    return f"samples/real-{identity}-{trial.gan.resolution}.png"
