"""The number of trials that share a GPU, by the memory that they used."""

from pathlib import Path
from typing import Any

import pytest

from bench.costs.gpu_share import MARGIN, MOST, PROCESS, share_gpus
from bench.store import open_store
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec, as_mapping
from tests.support import tiny
from tests.support.timed import write

AUTO = {"gpus": "auto"}


def shared(plan: Plan, folder: Path, **written: Any) -> Plan:
    """Return the plan with its share of a GPU by a store in which the trials of `tiny.make()` have been measured."""
    store = open_store(str(folder), create=True)
    write(store, tiny.make(), **written)
    return share_gpus(plan, store)


def test_a_plan_with_a_given_share_is_unchanged(tmp_path: Path):
    plan = tiny.make(resources={"gpus": 0.5})
    assert shared(plan, tmp_path, device="H100", memory=80_000, peak=lambda trial: 100) is plan


@pytest.mark.parametrize(("memory", "fits"), [(1e6, MOST), (3 * (MARGIN * 2000 + PROCESS) + 1, 3), (500, 1)])
def test_as_many_trials_share_a_gpu_as_its_memory_holds(tmp_path: Path, memory: float, fits: int):
    plan = tiny.make(resources=AUTO)
    assert plan.spec.resources.gpus == 1
    assert SweepSpec.model_validate(as_mapping(plan.spec)) == plan.spec, "a job determines the share on its cluster"
    images = max(trial.size for trial in plan.trials) * 3 * 8**2 / 2**20
    found = shared(plan, tmp_path, device="H100", memory=memory, peak=lambda trial: 2000 if trial.size > 20 else 2000 - images)
    assert as_mapping(found.spec)["resources"]["gpus"] == pytest.approx(1 / fits)
    assert f"{fits} fit" in found.notes[-1]
    assert found.by_key.keys() == plan.by_key.keys()


def test_the_smallest_gpu_of_several_decides(tmp_path: Path):
    store = open_store(str(tmp_path), create=True)
    write(store, tiny.make(), device="H100", memory=80_000, peak=lambda trial: 8000)
    write(store, tiny.make(sources=["shapes"], seeds=[1]), device="T4", memory=24_000, peak=lambda trial: 8000)
    assert share_gpus(tiny.make(resources=AUTO), store).spec.resources.gpus == 0.5


@pytest.mark.parametrize("written", [{}, {"device": "H100", "memory": 80_000}], ids=["on a CPU", "no peak"])
def test_each_trial_has_a_whole_gpu_if_nothing_was_measured(tmp_path: Path, written: dict[str, Any]):
    found = shared(tiny.make(resources=AUTO), tmp_path, **written)
    assert found.spec.resources.gpus == 1
    assert "no like trial" in found.notes[-1]
    larger = tiny.make(resources=AUTO, gan={**tiny.SPEC["gan"], "width": 8})
    other = shared(larger, tmp_path / "other", device="H100", memory=80_000, peak=lambda trial: 100)
    assert other.spec.resources.gpus == 1
