"""Paths of a trial's checkpoints, generators, critics and sample grids in the store, and its last checkpoint.

A checkpoint names its trial. One that lies under the path of another trial is not read: training would continue or start from
other networks than the plan says.
"""

import re
from collections.abc import Iterable

from pydantic import ValidationError

from bench.store import Store
from bench.store.plans import read_all
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError, UserError
from trainers.config.trial import TrialConfig

_NETWORKS = re.compile(r"(?P<folder>checkpoints|generators|critics)/(?P<key>[^/]+)/(?P<step>\d{1,18})\.safetensors", re.ASCII)
_SAMPLES = re.compile(r"samples/(?P<key>[0-9a-f]{16})-\d+(-nearest)?\.png")


def checkpoint_path(key: str, step: int) -> str:
    """Return the path of a trial's checkpoint at a step; the paths of a trial sort by step."""
    return f"checkpoints/{key}/{step:08d}.safetensors"


def checkpoints_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the checkpoints among paths in the store, by trial key and step."""
    return _by_trial("checkpoints", names)


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
            check_checkpoint(store, name, data)
        except DamagedError as error:
            store.set_aside(name, str(error))
            continue
        return name, data
    return None


def generator_path(key: str, step: int) -> str:
    """Return the path of a trial's generator at a step; those of all rungs are kept."""
    return f"generators/{key}/{step:08d}.safetensors"


def generators_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the generators among paths in the store, by trial key and step, ascending."""
    return _by_trial("generators", names)


def generators(store: Store, key: str) -> dict[int, str]:
    """Return the paths of a trial's generators in the store by step, ascending."""
    return generators_by_trial(store.list_files(f"generators/{key}")).get(key, {})


def critic_path(key: str, step: int) -> str:
    """Return the path of a trial's critic at a step; that of the best rung so far is kept."""
    return f"critics/{key}/{step:08d}.safetensors"


def critics_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the critics among paths in the store, by trial key and step, ascending."""
    return _by_trial("critics", names)


def critics(store: Store, key: str) -> dict[int, str]:
    """Return the paths of a trial's critics in the store by step, ascending; usually there is one."""
    return critics_by_trial(store.list_files(f"critics/{key}")).get(key, {})


def _by_trial(folder: str, names: Iterable[str]) -> dict[str, dict[int, str]]:
    by_trial: dict[str, dict[int, str]] = {}
    for match in sorted(filter(None, map(_NETWORKS.fullmatch, names)), key=lambda match: int(match["step"])):
        if match["folder"] == folder:
            by_trial.setdefault(match["key"], {})[int(match["step"])] = match[0]
    return by_trial


def check_checkpoint(store: Store, name: str, data: bytes) -> None:
    """Check the bytes of a checkpoint, a generator or a critic, given its path, and that they are of the path's trial.

    A trial of another version of transfergan, or with an embedding that is not on this machine, cannot be compared.

    Raises:
        DamagedError: the bytes are damaged, are no checkpoint, or are of another trial.
    """
    sealed_tensors.check(data)
    config = sealed_tensors.metadata(data).get("trial")
    if config is None:
        raise DamagedError("it is no checkpoint: it names no trial")
    match = _NETWORKS.fullmatch(name)
    owner = _key(config)
    if match is None or owner in (None, match["key"]) or config in _configurations(store, match["key"]):
        return
    raise DamagedError(f"it is the checkpoint of another trial, {owner}")


def owner_by_path(name: str) -> str | None:
    """Return the key of the trial that a path of a checkpoint, a network or a sample grid names; None for another path."""
    match = _NETWORKS.fullmatch(name) or _SAMPLES.fullmatch(name)
    return None if match is None else match["key"]


def _key(config: str) -> str | None:
    """Return the key of a trial, given as canonical JSON, or None if it cannot be computed here."""
    try:
        trial = TrialConfig.model_validate_json(config)
        return trial.key if trial.canonical_json() == config else None
    except (ValidationError, UserError):
        return None


def _configurations(store: Store, key: str) -> set[str]:
    """Return what the store has recorded and planned as the configuration of a trial; a former version made other keys."""
    recorded = store.read_rows("trials", lambda name, why: None).select(["key", "config"]).to_pylist()
    planned = (row for plan in read_all(store) for row in plan["trials"])
    return {row.get("config") for row in (*recorded, *planned) if row["key"] == key}


def samples_path(key: str, step: int) -> str:
    """Return the path of a trial's sample grid at a step; the grids of earlier steps are kept."""
    return f"samples/{key}-{step:08d}.png"


def nearest_path(key: str, step: int) -> str:
    """Return the path of the grid of training images that a trial's sample grid at a step is nearest to, place by place."""
    return f"samples/{key}-{step:08d}-nearest.png"


def real_samples_path(trial: TrialConfig) -> str:
    """Return the path of the grid of the trial's domain's reference images."""
    identity = trial.domain.fingerprint.replace("/", "-").replace(":", "-")
    return f"samples/real-{identity}-{trial.gan.resolution}.png"
