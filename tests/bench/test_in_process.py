"""A sweep in this process, without Ray (see also test_sweep): what an exception of a trial does, and what it refuses."""

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.cli import main
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.run import in_process
from bench.store import Store, open_store
from bench.store.trial_files import checkpoint_path
from bench.sweeps.rows import record
from bench.upkeep.repair import reopen
from bench.worker.trial import task, train
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import Left
from trainers.core.gan import Gan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), create=True)


def failing(error: Exception, after: int) -> Any:
    """Return a `train` that raises an error after a number of reports of a trial."""

    def trains(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for number, report in enumerate(train(config), 1):
            yield report
            if number == after:
                raise error

    return trains


def test_an_exception_of_a_trial_propagates_is_not_recorded_and_the_next_run_resumes(
    store: Store, finished_once: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = tiny.make()
    with monkeypatch.context() as patch:
        patch.setattr(in_process, "train", failing(ZeroDivisionError("a bug"), after=1))
        with pytest.raises(ZeroDivisionError, match="a bug") as caught:
            in_process.run_trials(Driver(Ledger.open(plan, store), store))
    assert caught.value.__notes__ == [
        f"trial {plan.trials[0].key} raised this; it is not recorded as failed, and the same command resumes it"
    ]
    assert "trains" in {entry.name for entry in caught.traceback}, "the trace leads to where it was raised"
    assert store.read("trials").empty
    assert tiny.claimed(Path(store.root)) == []
    assert set(tiny.values(store).index.get_level_values("step")) == {0, 2}

    tiny.run_here(plan, store)
    whole = open_store(str(finished_once))
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(whole), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(whole))
    trials = store.read("trials")
    assert ((trials["evaluation_seconds"] > 0) & (trials["evaluation_seconds"] < trials["seconds"])).all()


@pytest.mark.slow
def test_an_os_error_of_a_trial_has_its_stack_trace_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command line prints other OSErrors in one line; an error that leaves it is printed with its trace by Python."""
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    obstacle = tmp_path / "store" / "samples" / f"{tiny.make().trials[0].key}-00000000.png"
    open_store(str(tmp_path / "store"), create=True)
    obstacle.mkdir(parents=True)
    monkeypatch.setattr("sys.argv", ["transfergan", "run", str(spec), "--store", str(tmp_path / "store"), "--address", "here"])
    with pytest.raises(RuntimeError, match="the same command resumes it") as caught:
        main()
    trace = "".join(traceback.format_exception(caught.value))
    assert "IsADirectoryError" in trace
    assert "in write_file" in trace
    assert trace.splitlines()[-1].endswith("the same command resumes it")


def test_cpus_make_no_sense_for_one_trial_at_a_time(tmp_path: Path):
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    done = call("run", spec, "--store", tmp_path / "store", "--address", "here", "--cpus", 2)
    assert "leave it out with --address here" in str(done.exception)


def test_a_trial_that_dies_between_rungs_goes_on_from_its_last_checkpoint_by_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The budget has one rung, and a checkpoint every ten steps; the process dies at step 25."""
    changes = {"sources": [], "strategies": ["scratch"], "training": {"steps": 40, "batch": 8, "critic_steps": 1}}
    changes["evaluation"] = {"samples": 64, "first_rung": 40}
    plan = tiny.make(**changes, resources={"checkpoint_minutes": 1e-9})
    (key,) = plan.by_key
    taken: list[int] = []
    original = Gan._take_step_on

    def dies(self: Gan, *arguments: Any) -> None:
        taken.append(self.step)
        if self.step == 25 and len(taken) == 26:
            raise ZeroDivisionError
        original(self, *arguments)

    monkeypatch.setattr(Gan, "_take_step_on", dies)
    with pytest.raises(ZeroDivisionError):
        tiny.run_here(plan, store)
    assert store.list_files(f"checkpoints/{key}") == [checkpoint_path(key, 20)]
    assert tiny.run_here(plan, store) == []
    assert taken == [*range(26), *range(20, 40)]
    assert store.list_files(f"checkpoints/{key}") == [checkpoint_path(key, 40)]
    whole = open_store(str(tmp_path / "whole"), create=True)
    tiny.run_here(tiny.make(**changes), whole)
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(whole), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(whole))


def test_a_trial_that_leaves_has_a_checkpoint_in_the_store_and_the_next_run_repeats_no_step(
    store: Store, tmp_path: Path, steps: list[int]
):
    """It leaves between rungs, then at each of its two rungs before they are measured."""
    changes = {"sources": [], "strategies": ["scratch"], "training": {"steps": 6, "batch": 8, "critic_steps": 1}}
    plan = tiny.make(**changes, evaluation={"samples": 64, "first_rung": 3})
    (key,) = plan.by_key
    store.write_sweep(plan.spec.name, record(plan))
    for step in (2, 3, 6):
        with pytest.raises(Left):
            list(train(task(plan, store, key), leave=lambda: len(steps) >= step))  # noqa: B023 - called at once
        assert store.list_files(f"checkpoints/{key}") == [checkpoint_path(key, step)]
        assert list(reopen(plan, Ledger.open(plan, store), store)) == []
        assert set(tiny.values(store).index.get_level_values("step")) == ({0, 3} if step == 6 else {0})
    tiny.run_here(plan, store)
    assert steps == list(range(6))
    whole = open_store(str(tmp_path / "whole"), create=True)
    tiny.run_here(plan, whole)
    pd.testing.assert_series_equal(tiny.values(store), tiny.values(whole), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(whole))
