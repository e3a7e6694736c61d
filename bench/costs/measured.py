"""What the trials in a store have taken, rung by rung, and on what.

The seconds up to every rung stand in the table `measurements`, of trials that have not ended as well. No Ray in here.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from bench.store import Store
from trainers.common.errors import unknown_name
from trainers.config.trial import TrialConfig

#: The device, and whether it is a GPU, of a trial that does not say.
_NOWHERE: tuple[str | None, bool] = None, False


@dataclass(frozen=True)
class Measured:
    """What a trial in a store has taken.

    Attributes:
        trial: what it is.
        device: what it ran on: the GPU's name, or the processor's; None where the store does not say.
        gpu: whether that is a GPU.
        setup_seconds: until step 0 had been measured; None where that is not there.
        legs: of every rung that followed on one that is there: steps, whether it was the last, seconds.
    """

    trial: TrialConfig
    device: str | None
    gpu: bool
    setup_seconds: float | None
    legs: tuple[tuple[int, bool, float], ...]

    @property
    def seconds(self) -> float:
        """All that was measured."""
        return (self.setup_seconds or 0) + sum(seconds for *_, seconds in self.legs)


def devices(found: Sequence[Measured], *, gpu: bool) -> list[str]:
    """Return the devices that trials ran on, GPUs or processors, those of most trials first."""
    counts = Counter(each.device for each in found if each.device is not None and each.gpu == gpu)
    return [device for device, _ in counts.most_common()]


def on_device(found: Sequence[Measured], device: str | None = None, *, gpu: bool) -> list[Measured]:
    """Return the trials that ran on a device; where it is None, on the one that most ran on, or whose device is unknown."""
    known = devices(found, gpu=gpu)
    if device is not None and device not in known:
        raise unknown_name("measured device", device, known)
    device = device or next(iter(known), None)
    return [each for each in found if each.device == device and each.gpu == gpu]


def measured(store: Store) -> list[Measured]:
    """Return what every trial in a store has taken, as far as it came.

    A trial that has not ended does not say where it runs: it is taken to be where the others have, if that is one device, else
    where nobody knows, on a GPU if they all have.
    """
    trials, rows = store.read("trials"), store.read("measurements")
    machines = store.read("environments")
    machine = dict(zip(machines["environment"], map(_device, machines["details"]), strict=True))
    # An end that the driver records, of a trial that it did not hear from, says where the driver is.
    ran = {row.key: machine.get(row.environment, _NOWHERE) for row in trials[trials["seconds"].notna()].itertuples()}
    known = set(ran.values()) or set(machine.values())
    only = known.pop() if len(known) == 1 else (None, bool(known) and all(gpu for _, gpu in known))
    configs = {row["key"]: row["config"] for planned in store.read_sweeps().values() for row in planned["trials"]}
    configs |= dict(zip(trials["key"], trials["config"], strict=True))
    rows = rows[rows["seconds"].notna()].drop_duplicates(["trial", "step"]).sort_values("step")
    found = []
    for key, own in rows.groupby("trial"):
        trial = trial_of(configs[key]) if key in configs else None
        if trial is not None and not trial.imported:
            at = dict(zip(own["step"].astype(int), own["seconds"].astype(float), strict=True))
            found.append(_measured(trial, ran.get(key, only), at))
    return found


def trial_of(config: str) -> TrialConfig | None:
    """Return a trial from the canonical JSON of its configuration; None where it is of another version."""
    try:
        return TrialConfig.model_validate_json(config)
    except ValidationError:
        return None


def _measured(trial: TrialConfig, device: tuple[str | None, bool], at: Mapping[int, float]) -> Measured:
    """Return what a trial has taken, from its seconds by step."""
    steps = (0, *trial.rungs)
    legs = [
        (step - before, step == trial.training.steps, at[step] - at[before])
        for before, step in zip(steps, steps[1:], strict=False)
        if before in at and step in at
    ]
    return Measured(trial, *device, at.get(0), tuple(legs))


def _device(details: str) -> tuple[str | None, bool]:
    """Return the name of what an environment's trials ran on, where it is told, and whether it is a GPU."""
    said = json.loads(details)
    gpu = said.get("device", "cpu") != "cpu"
    return said.get("device" if gpu else "processor"), gpu
