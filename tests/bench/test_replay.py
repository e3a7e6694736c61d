"""Replaying stopping rules over a finished sweep: what they save and change, and which cells are left out."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.costs.replay import Replay, replay, summary
from bench.driver.choice import average
from bench.store import Store, open_store
from bench.sweeps.spec import StoppingConfig
from tests.support.command_line import call
from trainers.common.errors import UserError

RULE = StoppingConfig(keep=0.5, protect_strategies=False)


def write(folder: Path, curves: dict[str, list[float]], statuses: dict[str, str] | None = None, cell: str = "c") -> Store:
    """Write a cell: a trial per name "strategy:source", with FID at steps 10, 20 and 40."""
    store = open_store(str(folder), create=True)
    rows: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    for name, values in curves.items():
        method, _, seed = name.partition(" ")
        strategy, _, source = method.partition(":")
        key, status = f"{cell}-{name}", (statuses or {}).get(name, "done")
        common = {"key": key, "kind": "adapt", "cell": cell, "strategy": strategy, "source": source or None, "status": status}
        rows.append(
            {**common, "target": "t", "size": 5, "conditional": False, "seed": int(seed or 0), "steps": STEPS[len(values)]}
        )
        for step, value in zip((10, 20, 40), values, strict=False):
            of_step = {"step": step, "metric": "fid", "embedding": "e", "view": "e/1000", "version": "1"}
            measured.append({"trial": key, **of_step, "value": value})
    store.append("trials", "s", rows)
    store.append("measurements", "s", measured)
    return store


STEPS = (0, 10, 20, 40)
CURVES = {"scratch": [9, 8, 7], "finetune:a": [3, 2, 1], "finetune:b": [4, 3, 6], "finetune:c": [8, 1, 0.5]}


def seeded(folder: Path, curves: dict[str, list[list[float]]], statuses: dict[str, str] | None = None) -> Store:
    """Write a cell as `write` does, with a trial for each seed of a method, named "strategy:source seed"."""
    named = {f"{name} {seed}": row for name, rows in curves.items() for seed, row in enumerate(rows)}
    return write(folder, named, statuses)


def only(store: Store, rule: StoppingConfig = RULE) -> Replay:
    (found,), left_out = replay(store, None, rule)
    assert left_out == 0
    return found


def test_steps_are_saved_and_a_late_winner_is_lost(tmp_path: Path):
    """At 10 c stops, the worst of three transfers, at 20 b; c would have won. Scratch runs to the budget."""
    found = only(write(tmp_path, CURVES))
    assert (found.trials, found.stopped) == (4, 2)
    assert found.saved == pytest.approx(1 - (40 + 40 + 20 + 10) / 160)
    assert (found.winner, found.same_winner) == ("finetune from c", False)
    assert found.source_order == pytest.approx(-0.5)  # c, a, b against a, b, c


def test_a_rule_that_keeps_all_methods_changes_nothing(tmp_path: Path):
    found = only(write(tmp_path, CURVES), StoppingConfig(keep=1.0))
    assert (found.stopped, found.saved, found.same_winner, found.source_order) == (0, 0.0, True, 1.0)


def test_a_protected_strategy_goes_on(tmp_path: Path):
    store = write(tmp_path, {**CURVES, "finetune-d:a": [20, 20, 20], "finetune-d:b": [30, 30, 30]})
    found = only(store, StoppingConfig(keep=0.5, protect_strategies=True))
    assert found.stopped == 2  # of five transfers b from finetune-d, and b from finetune at 20; finetune-d from a is protected
    assert found.saved == pytest.approx(1 - (40 * 4 + 20 + 10) / 240)


def test_seeds_are_separate_trials_and_a_method_is_ranked_by_its_geometric_mean(tmp_path: Path):
    store = seeded(tmp_path, {"scratch": [[5, 5, 5]], "finetune:a": [[2, 2, 2], [9, 9, 9]]})
    found = only(store, StoppingConfig(keep=1.0))
    assert (found.trials, found.winner) == (3, "finetune from a"), "5 against the root of 18; the arithmetic mean is 5.5"


def test_a_winner_has_two_seeds_at_the_budget_or_all(tmp_path: Path):
    """One method is kept and two are protected: two of the three seeds of one of them, the only seed of the other.

    The third seed of d stops, without which its mean is the root of 3.
    """
    curves = {
        "finetune:a": [[1, 1, 4]] * 3,
        "finetune-d:a": [[2, 2, 1], [2, 2, 3], [2, 2, 1000]],
        "finetune-g:a": [[3, 3, 5]],
        "scratch": [[9, 9, 9]],
    }
    found = only(seeded(tmp_path, curves), StoppingConfig(keep=0.3))
    assert found.stopped == 1
    assert (found.winner, found.same_winner) == ("finetune from a", False)


def test_a_method_of_which_one_seed_diverged_loses_to_all_without(tmp_path: Path):
    curves = {"finetune:a": [[1, 1, 1], [1]], "scratch": [[9, 9, 9], [9, 9, 9]]}
    store = seeded(tmp_path, curves, {"finetune:a 1": "diverged"})
    assert only(store, StoppingConfig(keep=1.0)).winner == "scratch"


def test_the_mean_of_seeds_is_geometric_for_a_metric_that_is_never_negative():
    assert average([1.0, 4.0], "fid") == average([1.0, 4.0], "fid_raw") == pytest.approx(2.0)
    assert average([-1.0, 4.0], "kid") == pytest.approx(1.5)
    assert average([0.0, 4.0], "fid") == 0.0
    assert average([1.0, math.nan], "fid") == average([1.0, math.inf], "kid") == math.inf


def test_a_diverged_trial_keeps_its_last_step(tmp_path: Path):
    found = only(write(tmp_path, {**CURVES, "finetune-d:a": [9.5]}, {"finetune-d:a": "diverged"}))
    assert found.trials == 5
    assert found.winner == "finetune from c"


def test_a_cell_that_diverged_at_the_start_saves_nothing_and_has_no_order(tmp_path: Path):
    names = ("finetune:a", "finetune:b", "finetune:c")
    lost = dict.fromkeys(names, "diverged")
    none, one = (only(write(tmp_path / str(len(curve)), dict.fromkeys(names, curve), lost)) for curve in ([], [9.0]))
    assert (none.saved, none.source_order) == (0.0, None)
    assert (one.saved, one.source_order) == (0.0, None)


def test_cells_that_were_stopped_or_have_not_ended_are_left_out(tmp_path: Path):
    store = write(tmp_path, CURVES)
    write(tmp_path, {"scratch": [9, 8, 7], "finetune:a": [9]}, {"finetune:a": "stopped"}, cell="stopped")
    store.write_sweep("s", {"spec": {}, "trials": [{"key": "later", "kind": "adapt", "cell": "planned"}]})
    replays, left_out = replay(store, "s", RULE)
    assert ([cell.cell for cell in replays], left_out) == (["c"], 2)
    total = summary(replays, RULE, left_out)
    assert (total["cells"], total["left_out"], total["same_winner"]) == (1, 2, 0)
    assert total["steps_saved"] == pytest.approx(replays[0].saved)
    with pytest.raises(UserError, match=r"no cell to replay .* stopping\.rule=none"):
        replay(store, "other", RULE)


def test_domains_have_the_names_of_the_sweep_files_unless_two_share_one(tmp_path: Path):
    store = write(tmp_path, CURVES)
    names = {"hills": "t", "caps": "c"}
    store.write_sweep("s", {"spec": {"domains": names}, "trials": []})
    found = only(store)
    assert (found.target, found.winner) == ("hills", "finetune from caps")
    store.write_sweep("u", {"spec": {"domains": {"hills": "v"}}, "trials": []})
    assert (only(store).target, only(store).winner) == ("t", "finetune from caps")


def test_the_command_applies_settings_by_key_or_by_option(tmp_path: Path):
    address = write(tmp_path, CURVES).root
    by_option, by_key, of_both = (
        json.loads(call("replay", "--store", address, "--json", *arguments).stdout)
        for arguments in (
            ["--keep", 0.33, "--no-protect", "--plateau", 2],
            ["--set", "stopping={keep: 0.33, protect_strategies: false, plateau: 2}"],
            ["--keep", 0.33, "--set", "stopping.keep=1", "--set", "stopping.plateau=2"],
        )
    )
    assert by_option == by_key
    assert by_key["rule"] == StoppingConfig(keep=0.33, protect_strategies=False, plateau=2).model_dump(mode="json")
    assert of_both["rule"] == StoppingConfig(keep=1, plateau=2).model_dump(mode="json")
