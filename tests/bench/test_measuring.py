"""What was trained is measured anew, goes further, and is never trained again."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from analysis.frames import load
from bench.driver import sharing
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.run import in_process, measuring, sweep
from bench.run.launch import Launcher
from bench.store import Store, open_store
from bench.store.trial_files import checkpoint_path, generators
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record
from bench.upkeep.check import check
from bench.worker.publishing import read_checkpoint
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError
from trainers.config.metrics import STATE
from trainers.trial import checkpoints

#: Strategies that change the networks, classes and an adaptive augmentation: all that a generator's file could lack.
WIDE: dict[str, Any] = {
    "strategies": ["scratch", "lora", "mine"], "conditional": [True], "augmentation": ["ada"],
    "training": {"steps": 4, "batch": 8, "critic_steps": 1},
}  # fmt: skip
#: An evaluation of which nothing is measured yet in a store of the tiny sweep.
OTHER = {"samples": 96, "first_rung": 2, "raw": True, "selection": 0.3, "iw_steps": 2}


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Store:
    """A copy of a store in which the sweep of three trials has ended."""
    shutil.copytree(finished_once, tmp_path / "finished")
    return open_store(str(tmp_path / "finished"))


def new(folder: Path) -> Store:
    return open_store(str(folder), create=True)


#: A budget twice as long as that of the sweep of three trials.
LONGER: dict[str, Any] = {"training": {"steps": 16, "batch": 8, "critic_steps": 1}}


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the sweep of three trials, run at once with the longer budget; tests must not change it."""
    store = new(tmp_path_factory.mktemp("longer") / "whole")
    run(tiny.make(**LONGER), store)
    return store


def run(plan: Plan, store: Store, output: Console | None = None) -> Ledger:
    """Run a sweep as `transfergan run --address here` does, without its distances."""
    work = measuring.lacking(plan, store)
    measuring.check_budgets(work)
    sweep.measure_anew(plan, work, store, output or Console(quiet=True), address="here")
    tiny.run_here(plan, store)
    ledger = Ledger.open(plan, store)
    ledger.settle()
    return ledger


def in_view(store: Store, plan: Plan) -> "pd.Series[float]":
    values = tiny.values(store)
    return values[values.index.get_level_values("view") == plan.spec.evaluation.view]


def test_another_evaluation_trains_nothing_and_has_the_values_of_a_run_made_in_it(tmp_path: Path, steps: list[int]):
    before, after = tiny.make(**WIDE), tiny.make(**WIDE, evaluation=OTHER)
    assert before.by_key.keys() == after.by_key.keys()
    store, fresh = new(tmp_path / "store"), new(tmp_path / "fresh")
    run(before, store)
    run(after, fresh)
    steps.clear()
    assert run(after, store).count("done") == len(after.trials)
    assert steps == []
    measured, expected = in_view(store, after), in_view(fresh, after)
    pd.testing.assert_series_equal(measured, expected, check_exact=True)
    metrics = set(measured.index.get_level_values("metric"))
    assert {"fid_raw", "fid_selection", "kid_raw", "iw", "fid_infinity", "intra_fid", f"{STATE}signal"} <= metrics
    assert in_view(store, before).notna().any(), "the former values stay"
    assert measuring.lacking(after, store) == []


def test_a_step_without_its_generator_is_named_and_the_others_are_measured(finished: Store):
    plan = tiny.make(evaluation={"samples": 96, "first_rung": 2})
    adapted = plan.trials[-1].key
    finished.delete_file(generators(finished, adapted)[4])
    output = Console(record=True, width=300)
    run(plan, finished, output)
    assert f"not measured in {plan.spec.evaluation.view}: 1 trial at step 4, of which" in output.export_text()
    assert set(in_view(finished, plan).loc[adapted].index.get_level_values("step")) == {0, 2, 8}
    assert Ledger.open(plan, finished).count("done") == 3


def test_a_damaged_generator_is_set_aside_and_named(finished: Store):
    plan = tiny.make(evaluation={"samples": 96, "first_rung": 2})
    adapted = plan.trials[-1].key
    path = generators(finished, adapted)[4]
    data = finished.read_file(path)
    finished.write_file(path, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match="the generator at step 4 is damaged"):
        run(plan, finished)
    assert path not in finished.files("generators", below=True)
    assert set(in_view(finished, plan).loc[adapted].index.get_level_values("step")) == {0, 2, 8}


def test_other_rungs_are_answered_where_they_were_rungs_before(finished: Store, steps: list[int]):
    plan = tiny.make(evaluation={"samples": 64, "first_rung": 4})
    assert run(plan, finished).count("done") == 3
    assert steps == []


def test_a_larger_budget_goes_on_from_what_was_reached_with_the_bits_of_one_run(
    finished: Store, longer: Store, steps: list[int]
):
    plan = tiny.make(**LONGER)
    assert run(plan, finished).count("done") == 3
    assert sorted(steps) == sorted([*range(8, 16)] * 2), "the source, and the first half of both adaptations, are not repeated"
    ours, theirs = tiny.values(finished), tiny.values(longer)
    pd.testing.assert_series_equal(ours[theirs.index], theirs, check_exact=True)
    assert set(ours.index.difference(theirs.index).get_level_values("metric")) == {"fid_infinity"}, "of the former last rung"
    pd.testing.assert_frame_equal(tiny.outcomes(finished), tiny.outcomes(longer))


def sources(steps: int, **changes: Any) -> Plan:
    """Return the plan of the source alone, trained for some steps."""
    plan = tiny.make(pretrain={"steps": steps}, **changes)
    return replace(plan, trials=plan.of_kind("pretrain"), grid=())


def test_a_longer_source_goes_on_from_the_longest_shorter_one_with_the_bits_of_one_run(
    finished: Store, tmp_path: Path, steps: list[int]
):
    whole, longer = new(tmp_path / "whole"), sources(16)
    (key,) = longer.by_key
    run(longer, whole)
    steps.clear()
    run(sources(6), finished)  # ends at no rung of the longer one
    run(longer, finished)
    assert steps == [*range(4, 16)]
    ours, theirs = tiny.values(finished)[key], tiny.values(whole)[key]
    pd.testing.assert_series_equal(ours, theirs, check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(finished).loc[[key]], tiny.outcomes(whole))
    end, expected = (read_checkpoint(store, key) for store in (finished, whole))
    assert end is not None
    assert expected is not None
    assert end.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(tensor, expected.tensors[name]) for name, tensor in end.tensors.items())
    grids, wanted = ([name for name in store.list_files("samples") if key in name] for store in (finished, whole))
    assert grids == wanted
    assert all(finished.read_file(name) == whole.read_file(name) for name in grids)
    assert check(finished) == []
    # Its first half is measured in another way, from its own generators.
    other = sources(16, evaluation={"samples": 96, "first_rung": 2})
    run(other, finished)
    assert set(in_view(finished, other)[key].index.get_level_values("step")) == {0, 2, 4, 8, 16}
    assert len(steps) == 12


def test_a_longer_source_begins_anew_without_a_shorter_one_that_it_can_go_on_from(finished: Store, steps: list[int]):
    (key,) = sources(4).by_key
    end = read_checkpoint(finished, key)
    assert end is not None
    # As a former version has left it: without the state of the optimisers.
    finished.write_file(checkpoint_path(key, 4), checkpoints.repack(end, end.trial, end.report, checkpoints.NETWORKS))
    run(sources(6), finished)
    run(sources(8, training={"steps": 8, "batch": 8, "critic_steps": 1, "generator_lr": 1e-3}), finished)
    assert steps == [*range(6), *range(8)]


def test_a_smaller_budget_is_reached_where_it_was_a_rung_and_refused_where_not(finished: Store, steps: list[int]):
    shorter = tiny.make(training={"steps": 4, "batch": 8, "critic_steps": 1})
    ledger = run(shorter, finished)
    assert ledger.count("done") == 3
    assert {max(ledger.values[trial.key]) for trial in shorter.of_kind("adapt")} == {8}
    last = tiny.values(finished).xs(("fid_infinity", shorter.spec.evaluation.view), level=("metric", "view"))
    assert {(trial.key, step) for trial in shorter.of_kind("adapt") for step in (4, 8)} <= set(last.index)
    between = tiny.make(training={"steps": 5, "batch": 8, "critic_steps": 1})
    with pytest.raises(UserError, match=r"training.steps: 2 trials, e\.g\. [0-9a-f]+, went beyond step 5"):
        run(between, finished)
    assert steps == []


def test_what_the_rule_stopped_stays_stopped_when_only_the_evaluation_changes(tmp_path: Path, steps: list[int]):
    changes = {"sources": [tiny.NUMERALS, tiny.SHAPES], "strategies": ["scratch", "finetune", "finetune-d"]}
    halving = {"rule": "halving", "keep": 0.25, "protect_strategies": False}
    plan = tiny.make(**changes, stopping=halving)
    store = new(tmp_path / "store")
    stopped = run(plan, store).having("stopped")
    assert stopped
    steps.clear()
    for evaluation in ({"samples": 96, "first_rung": 2}, {"samples": 64, "first_rung": 4}):
        ledger = run(tiny.make(**changes, stopping=halving, evaluation=evaluation), store)
        assert (ledger.having("stopped"), ledger.open_trials()) == (stopped, [])
    assert steps == []
    # Another rule decides anew, and its trials go on from where they stopped.
    further = run(tiny.make(**changes, stopping={"rule": "none"}, evaluation={"samples": 96, "first_rung": 2}), store)
    assert further.count("done") == len(further.status)
    assert min(steps) >= 2


@pytest.mark.parametrize("reports", [3, 99], ids=["that leaves", "to the end"])
def test_what_another_driver_trains_meanwhile_is_measured_before_the_run_ends(
    tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch, reports: int
):
    changes = {"strategies": ["scratch", "finetune", "finetune-d"], "stopping": {"protect_strategies": False}}
    other, ours = tiny.make(**changes), tiny.make(**changes, evaluation={"samples": 96, "first_rung": 2})
    store, fresh = new(tmp_path / "store"), new(tmp_path / "fresh")
    run(ours, fresh)
    run_trials = in_process.run_trials
    rounds: list[int] = []

    def leave(key: str, report: object) -> None:
        seen.append(key)
        another.interrupted = len(seen) >= reports

    def after_the_other(driver: Driver) -> None:
        if not rounds:
            run_trials(another)
        rounds.append(len(steps))
        run_trials(driver)

    seen: list[str] = []
    store.write_sweep("other", record(other))
    another = Driver(Ledger.open(other, store), store, leave)
    monkeypatch.setattr(in_process, "run_trials", after_the_other)
    for module in (in_process, sharing):
        monkeypatch.setattr(module, "POLL", 0.05)
    steps.clear()
    (outcome,) = Launcher(store, Console(quiet=True), None, "here", retry_failed=False, limit=math.inf).run(ours, None)
    assert not outcome.interrupted
    assert not outcome.failures
    assert len(rounds) == (2 if reports == 3 else 1), "what it met half trained was measured before it went on"
    assert measuring.lacking(ours, store) == []
    pd.testing.assert_series_equal(in_view(store, ours), in_view(fresh, ours), check_exact=True)
    pd.testing.assert_frame_equal(tiny.outcomes(store), tiny.outcomes(fresh))
    assert sorted(steps) == sorted(
        step for trial in ours.trials for step in range(int(tiny.outcomes(fresh).loc[trial.key, "steps"]))
    ), "no step is repeated"


def test_what_fails_in_one_round_of_a_run_is_not_retried_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan, store = tiny.make(resources={"retries": 0}), new(tmp_path / "store")
    (source,) = plan.of_kind("pretrain")
    seen: list[str] = []

    def fails(plan: Plan, ledger: Ledger, *_: object) -> tuple[list[str], bool]:
        seen.append(ledger.status[source.key])
        if seen[-1] == "pending":
            Driver(ledger, store).fail(source.key, "it always fails")
        return [], len(seen) % 2 == 1  # after an odd round other drivers have gone on

    monkeypatch.setattr(sweep, "run_sweep", fails)
    for _ in range(2):
        Launcher(store, Console(quiet=True), None, "here", retry_failed=True, limit=math.inf).run(plan, None)
    assert seen == ["pending", "failed"] * 2


def test_what_the_rule_stops_at_a_former_budget_is_done_for_that_budget_and_stopped_for_the_larger_one(tmp_path: Path):
    changes = {"sources": [tiny.NUMERALS, tiny.SHAPES], "strategies": ["scratch", "finetune", "finetune-d"]}
    changes["stopping"] = {"rule": "halving", "keep": 0.5, "protect_strategies": False}
    short, long = (tiny.make(**changes, training={"steps": n, "batch": 8, "critic_steps": 1}) for n in (4, 8))
    grown, whole = new(tmp_path / "grown"), new(tmp_path / "whole")
    run(short, grown)
    run(long, grown)
    run(long, whole)
    pd.testing.assert_frame_equal(tiny.outcomes(grown)[["status", "steps"]], tiny.outcomes(whole)[["status", "steps"]])
    assert {4} <= set(tiny.outcomes(grown).query("status == 'stopped'")["steps"]), "one stops at the former budget"
    parts = len(grown.list_parts("trials"))
    for plan in (long, short):
        assert run(plan, grown).open_trials() == []
    assert run(short, grown).count("stopped") == run(short, new(tmp_path / "short")).count("stopped")
    assert len(grown.list_parts("trials")) == parts, "nothing is recorded again"


def test_a_budget_that_decides_the_course_is_another_trial(steps: list[int]):
    plans = [tiny.make(strategies=["mine"], training={"steps": n, "batch": 8, "critic_steps": 1}) for n in (8, 16)]
    first, second = ({trial.key for trial in plan.of_kind("adapt")} for plan in plans)
    assert not first & second


def test_the_verb_measures_a_sweep_of_the_store_and_trains_nothing(finished: Store, steps: list[int]):
    arguments = ["measure", "--sweep", "small", "--samples", "96", "--store", finished.root, "--address", "here"]
    done = call(*arguments, "--metrics", "fid")
    assert (done.exit_code, steps) == (0, [])
    plan = tiny.make(evaluation={"samples": 96, "first_rung": 2})
    values = in_view(finished, plan)
    assert set(values.index.get_level_values("metric")) == {"fid"}
    assert set(values.index.get_level_values("step")) == {0, 2, 4, 8}
    again = call("measure", "--sweep", "small", "--samples", "96", "--store", finished.root, "--address", "here")
    assert (again.exit_code, steps) == (0, [])
    assert {"kid", "diversity"} <= set(in_view(finished, plan).index.get_level_values("metric"))
    page = (Path(finished.root) / "report.html").read_text()
    assert all(view in page for view in (plan.spec.evaluation.view, tiny.make().spec.evaluation.view))
    assert json.loads(finished.read_file("sweeps/small.json"))["view"] == tiny.make().spec.evaluation.view, "its plan stays"


def test_the_plan_says_what_is_measured_anew_and_what_cannot_be(finished: Store, tmp_path: Path):
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    (lost,) = [
        path for path in generators(finished, tiny.make().trials[-1].key).values() if path.endswith("00000004.safetensors")
    ]
    (Path(finished.root) / lost).unlink()
    arguments = "plan", spec, "--store", finished.root, "--set", "evaluation.samples=96"
    assert json.loads(call(*arguments, "--json").stdout)["measure"] == {"trials": 3, "steps": 10, "lost": 1}
    printed = " ".join(call(*arguments).stdout.split())
    view = tiny.make(evaluation={"samples": 96}).spec.evaluation.view
    assert "3 in the store already (*); 0 are trained and 3 only measured" in printed
    assert f"measured anew, without training: 3 trials at 10 steps in {view}" in printed
    assert f"not measured in {view}: 1 trial at step 4, of which the store does not have the generators" in printed
    assert json.loads(call(*arguments[:4], "--json").stdout)["measure"] == {"trials": 0, "steps": 0, "lost": 0}


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "measure takes a sweep file or --sweep NAME"),
    (["quickstart", "--sweep", "small"], "measure takes a sweep file or --sweep NAME"),
    (["--sweep", "smal"], "unknown sweep 'smal'; did you mean small"),
    (["--sweep", "small", "--samples", "9"], "--samples"),
    (["--sweep", "small", "--address", "ray://head:10001"], "measure runs on a machine of the cluster"),
    (["--sweep", "small", "--embedding", "custom:nowhere.pt"], "nowhere.pt"),
    (["--sweep", "small", "--metrics", "fidd"], "unknown metric 'fidd'"),
    (["--sweep", "small", "--set", "evaluation.samples=96"], "--set changes a sweep file"),
])  # fmt: skip
def test_mistakes_are_named_before_anything_is_measured(finished: Store, arguments: list[str], message: str):
    done = call("measure", *arguments, "--store", finished.root)
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)


def test_one_trial_is_trained_on_with_the_bits_of_one_run(finished: Store, longer: Store, steps: list[int]):
    plan = tiny.make()
    key = plan.trials[-1].key
    before = load(finished).trials.set_index("key")
    arguments = ["continue", "--trial", key[:8], "--store", finished.root, "--address", "here"]
    done = call(*arguments, "--steps", "16")
    assert (done.exit_code, steps) == (0, list(range(8, 16)))
    ours, theirs = tiny.values(finished)[key], tiny.values(longer)[key]
    pd.testing.assert_series_equal(ours[theirs.index], theirs, check_exact=True)
    after = load(finished).trials.set_index("key")
    assert (after.loc[key, "steps"], after.loc[key, "budget"], after.loc[key, "status"]) == (16, 8, "done")
    others = before.index.drop(key)
    pd.testing.assert_frame_equal(after.loc[others], before.loc[others])
    assert load(finished).names == ["small"]
    steps.clear()
    assert (call(*arguments, "--steps", "16").exit_code, steps) == (0, [])
    assert "has reached step 16; give a later one" in str(call(*arguments, "--steps", "9").exception)


@pytest.mark.parametrize(("trial", "message"), [
    (0, "is a source, from whose end other trials start; set pretrain.steps"), ("ffff", "no key matches"),
])  # fmt: skip
def test_what_cannot_be_continued_is_named(finished: Store, trial: int | str, message: str):
    key = tiny.make().trials[trial].key if isinstance(trial, int) else trial
    done = call("continue", "--trial", key, "--steps", "16", "--store", finished.root)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
