"""Confirmation: which methods are confirmed, on which seeds, that a repeated command continues it, and what it costs."""

import io
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.costs.bill import bills
from bench.driver.choice import chosen_from, methods_of
from bench.driver.ledger import Ledger
from bench.driver.results import Status
from bench.run import in_process
from bench.run.confirmation import Confirmation, confirmation
from bench.run.launch import Launcher, Outcome
from bench.run.preview import Planned, preview
from bench.run.status import progressing
from bench.store import Store, open_store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row, record, recorded
from tests.support import tiny
from tests.support.command_line import call
from tests.support.timed import seconds, write
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

#: FID at the budget of the methods of a cell: shapes and numerals by fine-tuning are best, then numerals by the critic.
FID = {"scratch": 9.0, "finetune numerals": 4.0, "finetune shapes": 3.0, "finetune-d numerals": 5.0, "finetune-d shapes": 6.0}


def grid(**changes: Any) -> Plan:
    """Return the plan of a cell of scratch and four transfers, with two seeds."""
    spec = {"sources": ["numerals", "shapes"], "strategies": ["scratch", "finetune", "finetune-d"], "seeds": [0, 1]}
    return tiny.make(**{**spec, "name": "sweep", **changes})


def name(trial: TrialConfig) -> str:
    return " ".join(filter(None, (trial.strategy, trial.source and trial.source.name)))


def ended(store: Store, plan: Plan, fid: Mapping[str, float] = FID, ends: Mapping[str, Status] | None = None) -> Ledger:
    """Write a plan whose trials have ended, "done" unless `ends` says otherwise for "method seed"; return its ledger."""
    store.write_sweep(plan.spec.name, record(plan))
    for trial in plan.trials:
        status = (ends or {}).get(f"{name(trial)} {trial.seed}", "done")
        store.append("trials", plan.spec.name, [outcome_row(trial, status, "e", steps=trial.training.steps)])
        if trial.kind == "adapt" and status == "done":
            row = {
                "trial": trial.key,
                "metric": "fid",
                "embedding": "e",
                "value": fid[name(trial)] + trial.seed,
                "view": trial.evaluation.view,
                "version": "1",
            }
            store.append("measurements", plan.spec.name, [{**row, "step": step} for step in trial.rungs])
    ledger = Ledger.open(plan, store)
    ledger.settle()
    assert not ledger.open_trials()
    return ledger


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), create=True)


def keep(store: Store, confirming: Confirmation) -> Plan:
    """Store the plan of a confirmation, as a run does."""
    store.write_sweep(confirming.plan.spec.name, confirming.record)
    return confirming.plan


def of(plan: Plan) -> dict[str, list[int]]:
    """Return the seeds of each method of a confirmation, in its order."""
    seeds: dict[str, list[int]] = {}
    for trial in plan.of_kind("adapt"):
        seeds.setdefault(name(trial), []).append(trial.seed)
    return seeds


# -- the choice -------------------------------------------------------------------------------------------------------------


def chosen(fids: Mapping[str, list[float | str]]) -> list[str]:
    """Return the confirmed methods of a cell of which the seeds have these FIDs at the budget, or ended otherwise."""
    strategies = [method for method in FID if method in fids]
    plan = grid(seeds=list(range(3)))
    methods = {m: trials for m, trials in methods_of(plan.of_kind("adapt")).items() if name(trials[0]) in strategies}
    status, values = {}, {}
    for trials in methods.values():
        for trial, value in zip(trials, fids[name(trials[0])], strict=False):
            status[trial.key] = value if isinstance(value, str) else "done"
            values[trial.key] = {} if isinstance(value, str) else {8: value}
    seeds = {method: [trial for trial in trials if trial.key in status] for method, trials in methods.items()}
    best, scratch = chosen_from(seeds, status, values)  # type: ignore[arg-type]
    return [" ".join(filter(None, method)) for method in (*best, *scratch)]


def test_the_best_two_have_the_lowest_mean_log_fid_and_scratch_is_confirmed_whatever_its_rank():
    """By the arithmetic mean, 4.0 against 3.5, the order of the first two would be reversed."""
    fids: dict[str, list[float | str]] = {
        "scratch": [1.0, 1.0],
        "finetune numerals": [7.0, 1.0],
        "finetune shapes": [3.5, 3.5],
        "finetune-d numerals": [3.6, 3.6],
    }
    assert chosen(fids) == ["finetune numerals", "finetune shapes", "scratch"]
    assert chosen({**fids, "scratch": [99.0]}) == ["finetune numerals", "finetune shapes", "scratch"]


@pytest.mark.parametrize("bad", [[1.0, 1.0, "diverged"], [1.0, "failed"], [1.0, "stopped", "stopped"], [1.0, math.nan]])
def test_a_method_with_a_bad_seed_or_a_single_one_left_ranks_below_all_others(bad: list[float | str]):
    others: dict[str, list[float | str]] = {"finetune shapes": [5.0, 5.0], "finetune-d shapes": [8.0, 8.0, "stopped"]}
    assert chosen({"finetune numerals": bad, **others}) == ["finetune shapes", "finetune-d shapes"]
    assert chosen({"finetune numerals": bad, "finetune shapes": [5.0]}) == ["finetune shapes", "finetune numerals"]


def test_methods_without_a_seed_at_the_budget_are_not_confirmed():
    assert chosen({"finetune shapes": ["diverged", "failed"], "finetune numerals": ["stopped"], "scratch": [1.0]}) == [
        "scratch"
    ]


# -- the plan ---------------------------------------------------------------------------------------------------------------


def test_the_best_and_scratch_run_on_the_smallest_fresh_seeds_without_stopping(store: Store):
    plan = grid(stopping={"rule": "halving", "keep": 0.6, "metric": "fid"})
    found = confirmation(plan, ended(store, plan), store, 3)
    assert of(found.plan) == {"finetune shapes": [2, 3, 4], "finetune numerals": [2, 3, 4], "scratch": [2, 3, 4]}
    assert found.plan.cells.keys() == plan.cells.keys()
    assert [trial.key for trial in found.plan.of_kind("pretrain")] == [trial.key for trial in plan.of_kind("pretrain")]
    spec = found.plan.spec
    assert (spec.name, spec.stopping.rule, spec.seeds) == ("sweep-confirm", "none", (2, 3, 4))
    (cell,) = plan.cells
    assert found.record["confirms"] == "sweep"
    assert found.record["cells"] == [{"cell": cell, "methods": ["finetune shapes", "finetune numerals"], "seeds": [2, 3, 4]}]
    again = recorded(found.record)
    assert (again.by_key.keys(), again.spec) == (found.plan.by_key.keys(), spec)
    assert found.plan.notes == ()


def test_fresh_seeds_start_from_the_trainings_of_a_source_in_turn(store: Store):
    plan = grid(pretrain={"steps": 4, "seeds": [0, 1]})
    confirming = confirmation(plan, ended(store, plan), store, 3).plan
    starts = [(trial.seed, plan.by_key[trial.parent].seed) for trial in confirming.of_kind("adapt") if trial.parent]
    assert starts == [(2, 0), (3, 1), (4, 0)] * 2


def test_seeds_of_other_plans_and_trials_of_the_cell_are_not_fresh(store: Store):
    plan = grid()
    ledger = ended(store, plan)
    planned, ran, elsewhere = grid(name="planned", seeds=[3]), grid(seeds=[5]), grid(name="other", sizes=[10], seeds=[2])
    store.write_sweep("planned", record(planned))
    store.append("trials", "gone", [outcome_row(ran.of_kind("adapt")[0], "failed", "e")])
    store.write_sweep("other", record(elsewhere))
    assert of(confirmation(plan, ledger, store, 3).plan)["scratch"] == [2, 4, 6]


def test_a_stored_plan_is_used_again_and_seeds_can_be_added(store: Store):
    plan = grid()
    ledger = ended(store, plan)
    first = keep(store, confirmation(plan, ledger, store, 2))
    for trial in first.of_kind("adapt")[:4]:
        store.append("trials", first.spec.name, [outcome_row(trial, "done", "e", steps=8)])
    again = confirmation(plan, ledger, store, 2)
    assert (again.plan.by_key.keys(), again.plan.notes) == (first.by_key.keys(), ())
    keep(store, confirmation(plan, ledger, store, 4))
    assert of(confirmation(plan, ledger, store, 2).plan)["finetune shapes"] == [2, 3, 4, 5], "no planned seed is left out"


def test_a_sweep_that_changed_is_confirmed_anew_on_seeds_that_nothing_has_seen(store: Store):
    plan = grid(sizes=[20, 10])
    first = confirmation(plan, ended(store, plan, ends={"finetune-d shapes 1": "failed"}), store, 2)
    assert {tuple(seeds) for seeds in of(keep(store, first)).values()} == {(2, 3, 2, 3)}
    (repaired,) = [t for t in plan.of_kind("adapt") if t.size == 20 and name(t) == "finetune-d shapes" and t.seed == 1]
    store.append("trials", "sweep", [outcome_row(repaired, "done", "e", steps=8)])
    row = {
        "trial": repaired.key,
        "metric": "fid",
        "embedding": "e",
        "step": 8,
        "value": 0.01,
        "view": repaired.evaluation.view,
        "version": "1",
    }
    store.append("measurements", "sweep", [row])
    second = confirmation(plan, Ledger.open(plan, store), store, 2)
    assert second.plan.notes == (
        "digits, 20 images: the sweep has changed since its confirmation was planned; it is confirmed anew",
    )
    by_cell = {cell["cell"]: (cell["methods"], cell["seeds"]) for cell in second.record["cells"]}
    assert list(by_cell.values()) == [
        (["finetune-d shapes", "finetune shapes"], [4, 5]),
        (["finetune shapes", "finetune numerals"], [2, 3]),
    ]


def test_seeds_that_the_sweep_has_explored_since_are_replaced(store: Store):
    plan = grid()
    keep(store, confirmation(plan, ended(store, plan), store, 2))
    larger = grid(seeds=[0, 1, 2])
    found = confirmation(larger, ended(store, larger), store, 2)
    assert of(found.plan)["scratch"] == [4, 5]
    assert len(found.plan.notes) == 1


@pytest.mark.parametrize(("changes", "ends", "confirmed", "note"), [
    ({"sources": ["shapes"], "strategies": ["scratch", "finetune"]}, {}, ["finetune shapes", "scratch"],
     "only one transfer reached the budget"),
    ({"strategies": ["finetune"]}, {}, ["finetune shapes", "finetune numerals"], "the sweep has no scratch"),
    ({"strategies": ["scratch"]}, {}, [], "no transfer reached the budget, so there is nothing to confirm"),
    ({"sources": ["shapes"], "strategies": ["finetune"]}, {}, [],
     "only one transfer reached the budget and the sweep has no scratch, so there is nothing to confirm"),
    ({"strategies": ["scratch", "finetune"], "seeds": [0]},
     {"finetune shapes 0": "diverged", "finetune numerals 0": "diverged"}, [],
     "no transfer reached the budget, so there is nothing to confirm"),
])  # fmt: skip
def test_what_a_cell_lacks_is_said_in_one_line(
    store: Store, changes: dict[str, Any], ends: dict[str, Status], confirmed: list[str], note: str
):
    plan = grid(**changes)
    found = confirmation(plan, ended(store, plan, ends=ends), store, 2).plan
    assert found.notes == (f"digits, 20 images: {note}",)
    assert list(of(found)) == confirmed


def test_a_name_that_is_too_long_or_taken_is_refused(store: Store):
    plan = grid(name="x" * 57)
    with pytest.raises(UserError, match=r"too long to confirm .* at most 56"):
        confirmation(plan, ended(store, plan), store, 2)
    taken = grid(name="sweep-confirm")
    store.write_sweep("sweep-confirm", record(taken))
    plan = grid()
    with pytest.raises(UserError, match="has a sweep 'sweep-confirm' that is no confirmation of 'sweep'"):
        confirmation(plan, ended(store, plan), store, 2)


# -- its cost ---------------------------------------------------------------------------------------------------------------


def test_the_bill_has_the_two_transfers_that_take_the_most_time_and_scratch(store: Store):
    plan = grid(confirm={"seeds": 3}, strategies=["scratch", "finetune", "finetune-d", "finetune-g"])
    slow = {"finetune-d numerals": 2.0, "finetune-d shapes": 2.0}
    alone = Plan(plan.spec, plan.trials, plan.grid, ())
    timed = open_store(f"{store.uri}-timed", create=True)
    write(timed, grid(name="timed", seeds=[7, 8, 9], strategies=plan.spec.strategies), factor=lambda t: slow.get(name(t), 1.0))
    (without,), (bill,) = bills(alone, timed), bills(alone, timed, 3)
    of_one = seconds(plan.of_kind("adapt")[0], 8)
    for part in ("at_most", "expected", "left_at_most", "left_expected"):
        added = getattr(bill, part).value - getattr(without, part).value
        assert added * 3600 == pytest.approx(3 * (1 + 2 + 2) * of_one)
    result = preview(Planned(plan, None, tuned=False, store=timed))
    assert (result.counts()["confirm"], result.counts()["trials"]) == (9, len(plan.trials))
    assert result.bills == [bill]


def test_what_is_left_of_a_confirmation_is_what_the_store_lacks(store: Store):
    plan = grid(confirm={"seeds": 2})
    write(store, plan)
    before = preview(Planned(plan, None, tuned=False, store=store))
    (of_one,) = {seconds(trial, 8) for trial in plan.of_kind("adapt")}
    assert before.bills[0].left_at_most.times(3600).value == pytest.approx(6 * of_one)
    confirming = keep(store, confirmation(plan, Ledger.open(plan, store), store, 2))
    trial = confirming.of_kind("adapt")[0]
    row = {"trial": trial.key, "metric": "fid", "embedding": "builtin:0", "view": trial.evaluation.view, "version": "1"}
    rows = [{**row, "step": step, "value": 1.0} for step in (2, 4, 8)]
    store.append("measurements", "sweep-confirm", rows)
    store.append("trials", "sweep-confirm", [outcome_row(trial, "done", "e", steps=8)])
    (bill,) = preview(Planned(plan, None, tuned=False, store=store)).bills
    assert bill.left_at_most.times(3600).value == pytest.approx(5 * of_one)
    assert bill.at_most.value == pytest.approx(before.bills[0].at_most.value)


# -- real runs --------------------------------------------------------------------------------------------------------------


def launch(store: Store, plan: Plan) -> list[Outcome]:
    return Launcher(store, Console(file=io.StringIO()), None, "here", retry_failed=False, limit=math.inf).run(plan, None)


@pytest.mark.slow
def test_a_run_that_is_interrupted_in_its_confirmation_continues_to_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = grid(confirm={"seeds": 2}, seeds=[0], strategies=["scratch", "finetune"], sources=[tiny.NUMERALS])
    whole = open_store(str(tmp_path / "whole"), create=True)
    explored, confirmed = launch(whole, plan)
    assert (explored.interrupted, confirmed.interrupted) == (False, False)
    assert set(confirmed.ledger.status.values()) == {"done"}
    assert of(confirmed.ledger.plan)["scratch"] == [1, 2]

    # The same store before its confirmation.
    shutil.copytree(whole.root, tmp_path / "cut", ignore=shutil.ignore_patterns("*sweep-confirm*", *confirmed.ledger.plan.grid))
    cut = open_store(str(tmp_path / "cut"))
    assert cut.read_sweeps().keys() == {"sweep"}
    assert set(cut.read("trials")["key"]) == plan.by_key.keys()
    run, trials = in_process._run, iter(range(100))

    def interrupt(*arguments: Any) -> None:
        if next(trials) == 2:  # in the third trial of the confirmation
            raise KeyboardInterrupt
        run(*arguments)

    monkeypatch.setattr(in_process, "_run", interrupt)
    assert [outcome.interrupted for outcome in launch(cut, plan)] == [False, True]
    planned = cut.read_sweeps()["sweep-confirm"]
    monkeypatch.undo()
    assert [outcome.interrupted for outcome in launch(cut, plan)] == [False, False]
    assert cut.read_sweeps()["sweep-confirm"] == planned
    assert tiny.values(cut).equals(tiny.values(whole))
    ended = {of.name: of.ledger and (of.ledger.ended, len(of.ledger.status)) for of in progressing(cut)}
    assert ended == {"sweep": (3, 3), "sweep-confirm": (5, 5)}


@pytest.mark.slow
def test_the_verb_confirms_a_sweep_that_has_ended(tmp_path: Path, finished: Store):
    """It refuses one that has not; `status` and a further `run` know the confirmation."""
    spec = tiny.write_spec(tmp_path, **tiny.SMALL)
    empty = open_store(str(tmp_path / "empty"), create=True)
    refused = call("confirm", spec, "--store", empty.root, "--address", "here").exception
    assert isinstance(refused, UserError)
    assert str(refused) == "sweep small: 3 of its 3 trials have not ended; finish it with `transfergan run`"
    options = (spec, "--store", finished.root, "--address", "here")
    limited = call("confirm", *options, "--seeds", 2, "--max-hours", 0)
    assert limited.exit_code == 3
    assert "4 trials left, and the same command with a higher limit goes on" in limited.stderr
    assert call("confirm", *options, "--seeds", 2).exit_code == 0
    assert finished.read_sweeps()["small-confirm"]["confirms"] == "small"
    assert "small-confirm: 5 of 5 trials ended" in call("status", "--store", finished.root).stdout
