"""Measured times of the trials in a store, by rung, and the devices that they ran on.

Table `measurements` has the seconds up to every rung, also of trials that have not ended.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.store import Store, columns
from bench.store.plans import read_all
from bench.sweeps.rows import trial_of
from trainers.common.errors import unknown_name
from trainers.config.trial import TrialConfig

#: Device, and whether it is a GPU, of a trial whose device is not recorded.
_UNKNOWN: tuple[str | None, bool] = None, False


@dataclass(frozen=True)
class Measured:
    """The measured times of a trial in a store.

    Attributes:
        device: the name of the GPU or processor that it ran on; None if the store does not record it.
        setup_seconds: seconds until step 0 had been measured; None if step 0 is not recorded.
        legs: for every rung whose predecessor is recorded too: its steps since that one, whether it is the last, its seconds.
        evaluation_share: the part of its seconds that evaluation took; None if that is not recorded, as of a trial that has not
            ended.
    """

    trial: TrialConfig
    device: str | None
    gpu: bool
    setup_seconds: float | None
    legs: tuple[tuple[int, bool, float], ...]
    evaluation_share: float | None = None

    @property
    def seconds(self) -> float:
        """All measured seconds."""
        return (self.setup_seconds or 0) + sum(seconds for *_, seconds in self.legs)


def devices(timings: Sequence[Measured], *, gpu: bool) -> list[str]:
    """Return the GPUs, or the processors, that trials ran on, the one with most trials first."""
    counts = Counter(trial.device for trial in timings if trial.device is not None and trial.gpu == gpu)
    return [device for device, _ in counts.most_common()]


def on_device(timings: Sequence[Measured], device: str | None = None, *, gpu: bool) -> list[Measured]:
    """Return the trials that ran on a device; for None the one with most trials or, if none is recorded, those without one."""
    names = devices(timings, gpu=gpu)
    if device is not None and device not in names:
        raise unknown_name("measured device", device, names)
    device = device or next(iter(names), None)
    return [trial for trial in timings if trial.device == device and trial.gpu == gpu]


def measured(store: Store) -> list[Measured]:
    """Return the measured times of all trials in a store, up to the rungs that they have reached.

    The device of a trial that has not ended is not recorded. It is assumed to be that of the others if they all ran on one
    device; otherwise it is unknown, and a GPU if they all ran on GPUs.
    """
    trials = store.rows("trials").select(["key", "environment", "seconds", "evaluation_seconds", "config"]).to_pylist()
    machine = {
        row["environment"]: _device(row["details"])
        for row in store.rows("environments").select(["environment", "details"]).to_pylist()
    }
    # Without seconds, the driver recorded the end of a trial that had not reported, with its own environment.
    ran = {row["key"]: machine.get(row["environment"], _UNKNOWN) for row in trials if row["seconds"] is not None}
    used = set(ran.values()) or set(machine.values())
    common = used.pop() if len(used) == 1 else (None, bool(used) and all(gpu for _, gpu in used))
    evaluated = (row for row in trials if row["seconds"] and row["evaluation_seconds"] is not None)
    shares = {row["key"]: row["evaluation_seconds"] / row["seconds"] for row in evaluated}
    configs = {row["key"]: row["config"] for planned in read_all(store) for row in planned["trials"]}
    configs |= {row["key"]: row["config"] for row in trials}
    timings = []
    for key, seconds in sorted(_seconds_by_step(store).items()):
        trial = trial_of(configs[key]) if key in configs else None
        if trial is not None and not trial.imported:
            timings.append(_measured(trial, ran.get(key, common), shares.get(key), dict(sorted(seconds.items()))))
    return timings


def _seconds_by_step(store: Store) -> dict[str, dict[int, float]]:
    """Return the seconds by trial and step. A generator that was measured anew has the time at which training reached it."""
    rows = store.rows("measurements").select(["trial", "step", "seconds"])
    rows = columns.kept(rows, columns.present(rows["seconds"]))
    by_trial: dict[str, dict[int, float]] = {}
    for trial, step, seconds in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        by_trial.setdefault(trial, {}).setdefault(step, seconds)
    return by_trial


def _measured(
    trial: TrialConfig, device: tuple[str | None, bool], share: float | None, seconds: Mapping[int, float]
) -> Measured:
    """Return the measured times of a trial from its seconds by step."""
    last = trial.training.steps if trial.until is None else max(seconds)
    legs = [
        (step - before, step == last, seconds[step] - seconds[before])
        for before, step in pairwise((0, *trial.rungs))
        if before in seconds and step in seconds
    ]
    return Measured(trial, *device, seconds.get(0), tuple(legs), share)


def _device(details: str) -> tuple[str | None, bool]:
    """Return the device of an environment, None if it is not recorded, and whether it is a GPU."""
    environment = json.loads(details)
    gpu = environment.get("device", "cpu") != "cpu"
    return environment.get("device" if gpu else "processor"), gpu
