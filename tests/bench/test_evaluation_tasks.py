"""Evaluation beside training (`evaluation.where: task`): the same results as inline, also after a kill."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.on_ray import tasks
from bench.on_ray.cluster import cluster
from bench.on_ray.trainable import measure_on_ray
from bench.on_ray.tuner import run_trials
from bench.store import Store, open_store
from bench.sweeps.rows import record
from bench.worker.publishing import Publisher
from tests.support import tiny
from trainers.trial import checkpoints
from trainers.trial.rung import Rung

pytestmark = pytest.mark.slow

TASK = {"evaluation": {**tiny.SPEC["evaluation"], "where": "task"}}

#: What no two runs have in common.
TIMES = ["seconds", "evaluation_seconds", "images_per_second", "peak_memory_mib", "recorded_at"]

#: Two cells in which trials stop.
STOPPING: dict[str, Any] = {
    "strategies": ["scratch", "finetune", "finetune-d", "lora"],
    "conditional": [False, True],
    "stopping": {"rule": "halving", "protect_strategies": False},
}

#: One cell in which one of two trials stops.
SHORT: dict[str, Any] = {
    **STOPPING,
    "strategies": ["finetune", "finetune-d"],
    "conditional": [False],
    "training": {**tiny.SPEC["training"], "steps": 4},
    "pretrain": {"steps": 2},
}

#: A trial that diverges after its first rung.
DIVERGING: dict[str, Any] = {"sources": [], "strategies": ["scratch"], "training": {**tiny.SPEC["training"], "critic_lr": 1.0}}

#: An adaptive augmentation, and a source that ends at a plateau.
ADAPTIVE: dict[str, Any] = {
    "augmentation": ["ada"],
    "pretrain": {"steps": 4, "until": {"patience": 1, "every": 2, "samples": 64}},
}


def assert_same_results(one: Store, other: Store, *, reports: bool = True) -> None:
    """Check that two stores have the same rows and files, apart from times and, if not `reports`, the checkpoints' reports."""
    for table in ("measurements", "trials"):
        keys = ["trial", "step", "metric"] if table == "measurements" else ["key"]
        left, right = (
            store.read(table, large=True).drop(columns=TIMES, errors="ignore").sort_values(keys, ignore_index=True)
            for store in (one, other)
        )
        pd.testing.assert_frame_equal(left, right, check_exact=True)
        assert len(left) > 0
    for folder in ("samples", "generators", "checkpoints"):
        names = one.files(folder, below=True)
        assert list(names) == list(other.files(folder, below=True))
        for name in names:
            left_file, right_file = (store.read_file(name) for store in (one, other))
            if folder == "samples":
                assert left_file == right_file
                continue
            first, second = (checkpoints.load(data, name) for data in (left_file, right_file))
            assert first.tensors.keys() == second.tensors.keys(), name
            assert all(torch.equal(tensor, second.tensors[key]) for key, tensor in first.tensors.items())
            assert (first.step, first.matches, first.trial) == (second.step, second.matches, second.trial)
            if reports:
                left_report, right_report = (
                    {key: value for key, value in each.report.items() if key not in TIMES} for each in (first, second)
                )
                assert left_report == right_report, name
    assert not one.list_files("claims")


def stores(folder: Path) -> Iterator[Store]:
    return (open_store(str(folder / name), create=True) for name in ("inline", "task"))


@pytest.mark.parametrize(("changes", "ends"), [
    (STOPPING, {"done", "stopped"}), (DIVERGING, {"diverged"}), (ADAPTIVE, {"done"}),
], ids=["stopping", "diverging", "adaptive"])  # fmt: skip
def test_the_results_are_those_of_inline_evaluation_to_the_bit(changes: dict[str, Any], ends: set[str], tmp_path: Path):
    inline, beside = stores(tmp_path)
    plan, other = tiny.make(**changes), tiny.make(**changes, **TASK)
    assert list(plan.by_key) == list(other.by_key)
    tiny.run_here(plan, inline)
    tiny.run_here(other, beside)
    assert {*inline.read("trials")["status"]} == ends
    assert {*inline.read("measurements")["step"]} >= {0, 2}
    assert_same_results(inline, beside)


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the undisturbed short sweep; tests must not change it."""
    store = open_store(str(tmp_path_factory.mktemp("undisturbed") / "inline"), create=True)
    tiny.run_here(tiny.make(**SHORT), store)
    return store


class KilledError(BaseException):
    """Ends a run as a kill does."""


#: What a process that is killed has published of a rung.
PUBLISHED: dict[str, Callable[[Rung], Rung | None]] = {
    "nothing": lambda rung: None,
    "all but the checkpoint": lambda rung: replace(rung, checkpoint=None, finished=False),
    "all but the outcome": lambda rung: replace(rung, finished=False),
    "all": lambda rung: rung,
}


@pytest.mark.parametrize(("published", "alternating"), [
    ("nothing", True), ("all but the checkpoint", False), ("all but the outcome", True), ("all", False),
])  # fmt: skip
def test_a_kill_between_a_reached_rung_and_its_measurement_loses_and_doubles_nothing(
    published: str, alternating: bool, inline: Store, tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch
):
    """The run is killed at every rung of every trial; it may be continued with inline evaluation."""
    beside = open_store(str(tmp_path / "task"), create=True)
    publish, killed = Publisher.publish, []

    def dies(publisher: Publisher, rung: Rung) -> dict[str, Any]:
        if (here := (publisher.trial.key, rung.step)) in killed:
            return publish(publisher, rung)
        killed.append(here)
        if (part := PUBLISHED[published](rung)) is not None:
            publish(publisher, part)
        raise KilledError

    monkeypatch.setattr(Publisher, "publish", dies)
    plans = cycle([tiny.make(**SHORT, **TASK), *([tiny.make(**SHORT)] if alternating else [])])
    ended = False
    while not ended:
        with suppress(KilledError):
            tiny.run_here(next(plans), beside)
            ended = True
    assert len(killed) == 7
    # A trial that its measurements stop is not started again for the report in its checkpoint.
    assert_same_results(inline, beside, reports=published != "all but the checkpoint")
    if not alternating:  # a rung that inline evaluation has not measured is trained again
        assert sorted(steps) == sorted(step for reached in tiny.outcomes(inline)["steps"] for step in range(int(reached)))
    assert sum(map(len, beside.read_parts("trials").values())) == len(inline.read("trials"))
    if published == "nothing":
        assert sum(map(len, beside.read_parts("measurements").values())) == len(inline.read("measurements"))


@pytest.mark.endurance(only=True)  # test_sweep.py measures by tasks on Ray, none of which dies
def test_on_ray_trials_and_evaluations_take_turns_and_an_evaluation_that_dies_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    inline, beside = stores(tmp_path)
    changes = {**SHORT, "sources": [], "strategies": ["scratch"], "stopping": {"rule": "none"}}
    tiny.run_here(tiny.make(**changes), inline)
    plan, died = tiny.make(**changes, **TASK), tmp_path / "died"

    def dies_first(config: Mapping[str, Any], environment: str) -> dict[str, Any]:
        if not died.exists():
            died.touch()
            os._exit(1)
        return measure_on_ray(config, environment)

    monkeypatch.setattr(tasks, "measure_on_ray", dies_first)
    beside.write_sweep(plan.spec.name, record(plan))
    driver = Driver(Ledger.open(plan, beside), beside)
    with cluster(plan.spec.resources, cpus=1):
        run_trials(driver)
    assert died.exists()
    assert sorted(driver.ledger.status.values()) == ["done"]
    assert_same_results(inline, beside)
