"""Strategies compared tuned: what is proposed, what is chosen, what the sweep makes of it, and what the report says of it."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from analysis.frames import _held, load
from analysis.report.content.tuning import searches
from bench.cli import app
from bench.driver.ledger import Ledger
from bench.on_ray import proposals
from bench.run.sweep import HERE
from bench.run.tuning import Search, lines
from bench.store import open_store
from bench.sweeps.rows import record, trial_columns
from bench.sweeps.spec import SweepSpec, TuningConfig
from bench.upkeep.check import check
from tests.support import tiny
from tests.support.command_line import call
from trainers.common.errors import UserError
from trainers.config.options import option
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.config.strategies import EWC, STRATEGIES, FreezeLow, LoRA, get_strategy, strategies
from trainers.config.strategy import Strategy
from trainers.config.trial import TUNED, TrialConfig

pytestmark = pytest.mark.slow

TUNING = {"target": "letters[classes=2,per_class=20]", "size": 10, "trials": 2, "learning_rate": [1e-4, 1e-3], "steps": [4]}
CHANGES = {**tiny.SMALL, "seeds": [0, 1], "stopping": {"rule": "halving"}, "tuning": TUNING}
TRAINING = TrainingConfig(**tiny.SPEC["training"])


def test_ray_tune_proposes_the_same_each_time_log_uniformly_after_the_sweeps_own_setting():
    tuning = TuningConfig(target="letters", size=10, trials=300, learning_rate=(1e-5, 1e-2), ratio=None, steps=(50, 100))
    training = TrainingConfig(steps=100, generator_lr=1e-4, critic_lr=4e-4)
    own, *drawn = proposals.settings(tuning, training)
    assert (own, *drawn) == proposals.settings(tuning, training)
    assert drawn[:9] != list(proposals.settings(tuning.model_copy(update={"seed": 1}), training))[1:10]
    assert own == training
    logs = np.log10([each.generator_lr for each in drawn])
    assert stats.kstest(logs, "uniform", (-5, 3)).pvalue > 0.01
    assert 0.4 < np.mean([each.steps == 50 for each in drawn]) < 0.6
    assert [each.critic_lr / each.generator_lr for each in drawn] == pytest.approx([4] * len(drawn), rel=1e-2)
    own, *drawn = proposals.settings(tuning.model_copy(update={"ratio": (0.1, 10.0)}), training)
    assert own == training
    logs = np.log10([each.critic_lr / each.generator_lr for each in drawn])
    assert stats.kstest(logs, "uniform", (-1, 2)).pvalue > 0.01


GAN = GanConfig(resolution=16, width=4)


def options(*names: str, trials: int = 200, **changes: Any) -> list[Strategy]:
    """Return the strategies that a search tries for names, without the first, which is as named."""
    tuning = TuningConfig(target="letters", size=10, trials=trials, learning_rate=(1e-5, 1e-2), **changes)
    tried: list[Strategy] = []
    for name in names:
        first, *drawn = proposals.options(tuning, name, GAN)
        assert first is None
        assert len(drawn) == trials - 1
        tried += [get_strategy(variant or name) for variant in drawn]
    return tried


def test_a_strategys_options_are_drawn_from_what_they_declare_and_from_what_the_networks_allow():
    assert options("ewc") == options("ewc") != options("ewc", seed=1)
    logs = np.log10([each.weight for each in options("ewc") if isinstance(each, EWC)])
    assert stats.kstest(logs, "uniform", (np.log10(0.3), 2)).pvalue > 0.01
    lora = [each for each in options("lora") if isinstance(each, LoRA)]
    assert {each.rank for each in lora} == {1, 2, 4, 8}, "no convolution has 16 channels"
    assert stats.kstest(np.log10([each.rate for each in lora]), "uniform", (0, 2)).pvalue > 0.01
    depths = {(each.generator, each.critic) for each in options("freeze-low") if isinstance(each, FreezeLow)}
    assert depths == {(1, 1), (1, 2), (2, 1), (2, 2)}, "such networks have two blocks"


def test_an_option_that_the_sweep_sets_is_kept_and_a_strategy_without_options_is_as_named():
    kept = options("lora[rank=2]", "lora[rank=2,from=unconditional]")
    assert {each.rank for each in kept if isinstance(each, LoRA)} == {2}
    assert {each.source_conditional for each in kept} == {None, False}
    assert {each.name for each in options("scratch", "finetune", "ewc[weight=4]")} == {"scratch", "finetune", "ewc[weight=4]"}


def test_a_plugins_option_joins_the_search_by_its_declaration(monkeypatch: pytest.MonkeyPatch):
    @dataclass(frozen=True, kw_only=True)
    class Ours(Strategy):
        """Ours."""

        key = "ours"
        depth: int = option(1, "of ours", low=1, search=[1, 5])
        other: int = option(3, "an option without a search", low=1)

    monkeypatch.setitem(STRATEGIES, "ours", Ours)
    strategies.cache_clear()
    get_strategy.cache_clear()
    try:
        assert {each.name for each in options("ours", trials=20)} == {"ours", "ours[depth=5]"}
    finally:
        monkeypatch.undo()
        strategies.cache_clear()
        get_strategy.cache_clear()


@pytest.mark.parametrize(("changes", "said"), [
    ({"target": "digits"}, "tuning.target: 'digits' is one of the sweep's targets; name a domain that is held out"),
    ({"steps": [4, 9]}, "tuning.steps: 9 exceeds training.steps 8"),
    ({"learning_rate": [1e-3, 1e-3]}, "the bounds are [low, high]"),
    ({"learning_rate": [0, 1e-3]}, "tuning.learning_rate"),
    ({"ratio": [4, 0.25]}, "tuning.ratio: the bounds are [low, high], such as [0.25, 4], or null for that of training"),
    ({"ratio": [0, 4]}, "tuning.ratio"),
], ids=str)  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], said: str):
    spec = tiny.write_spec(tmp_path, **{**CHANGES, "tuning": {**TUNING, **changes}})
    result = CliRunner().invoke(app, ["tune", str(spec), "--store", str(tmp_path / "store")])
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)
    assert not (tmp_path / "store").exists()


def test_a_sweep_without_tuning_has_the_trials_that_it_had():
    assert tiny.make(seeds=[0, 1]).by_key.keys() == tiny.make(**CHANGES).by_key.keys()
    assert "tuned" not in tiny.make().trials[1].canonical_json()
    with pytest.raises(UserError, match=r"quickstart: there is nothing to tune; add `tuning: \{target: NAME"):
        CliRunner().invoke(app, ["tune", "quickstart"], catch_exceptions=False)


def setting(steps: int, rate: float) -> TrainingConfig:
    return TRAINING.model_copy(update={"steps": steps, "generator_lr": rate, "critic_lr": rate})


def test_settings_compete_within_a_strategy_and_one_with_a_smaller_budget_keeps_its_last_value():
    plan = Search.of(tiny.make(**CHANGES)).plan([TRAINING, setting(8, 1e-3), setting(2, 1e-3)])
    assert [len(keys) for keys in plan.cells.values()] == [3, 3]
    ledger = Ledger.fresh(plan)
    own, poor, short = next(iter(plan.cells.values()))
    for key, value in ((own, 5.0), (poor, 9.0), (short, 4.0)):
        ledger.reach(key, 2, value)
    ledger.end(short, "done")
    assert ledger.settle() == [poor], "two of three go on"
    ledger.reach(own, 4, 4.5)
    assert ledger.settle() == [own], "worse than the other came to in its two steps"


def test_the_sweep_takes_the_best_setting_of_each_strategy_and_compares_them_in_one_cell(tmp_path: Path):
    search = Search.of(tiny.make(**CHANGES))
    plan = search.plan([TRAINING, setting(4, 1e-3)])
    ledger = Ledger(plan, dict.fromkeys(plan.by_key, "done"), {key: {} for key in plan.by_key})
    best = {("scratch", 8): 3.0, ("scratch", 4): 2.0, ("finetune", 8): 1.0, ("finetune", 4): math.nan}
    for trial in plan.of_kind("tune"):
        ledger.values[trial.key] = {trial.training.steps: best[trial.strategy or "", trial.training.steps]}
    record = search.choose(plan, ledger, open_store(str(tmp_path / "store"), create=True))
    assert [(row["strategy"], row["steps"], row["value"], row["own"]) for row in record["methods"]] == [
        ("scratch", 4, 2.0, 3.0), ("finetune", 8, 1.0, 1.0),
    ]  # fmt: skip
    tuned = search.tuned(record)
    assert {(t.strategy, t.training.steps, t.training.generator_lr) for t in tuned.of_kind("adapt")} == {
        ("scratch", 4, 1e-3), ("finetune", 8, 1e-4),
    }  # fmt: skip
    assert len(tuned.cells) == 1
    assert (len(tuned.grid), set(tuned.grid)) == (4, {trial.key for trial in tuned.of_kind("adapt")})
    assert tuned.cells.keys() != search.sweep.cells.keys(), "tuned and untuned trials are not compared"
    assert SweepSpec.model_validate(plan.spec.model_dump(mode="json")) == plan.spec, "it can be recorded"


def test_the_sweep_trains_a_strategy_with_the_options_that_the_search_chose_under_its_name(tmp_path: Path):
    changes = {**CHANGES, "strategies": ["scratch", "l2-sp"], "tuning": {**TUNING, "trials": 4}}
    search = Search.of(tiny.make(**changes))
    plan = search.plan()
    assert search.plan().by_key.keys() == plan.by_key.keys()
    assert [len(keys) for keys in plan.cells.values()] == [4, 4], "the settings of a strategy compete, whatever their options"
    tried = [trial for trial in plan.of_kind("tune") if trial.strategy == "l2-sp"]
    assert tried[0].with_options is None
    assert len({trial.follows for trial in tried}) == len({trial.key for trial in tried}) == 4
    ledger = Ledger(plan, dict.fromkeys(plan.by_key, "done"), {key: {} for key in plan.by_key})
    for value, trial in enumerate(reversed(plan.of_kind("tune"))):
        ledger.values[trial.key] = {trial.training.steps: 1.0 + value}
    record = search.choose(plan, ledger, open_store(str(tmp_path / "store"), create=True))
    scratch, held = record["methods"]
    assert (scratch["with_options"], held["with_options"]) == (None, tried[-1].with_options)
    assert held["with_options"].startswith("l2-sp[weight=")
    assert lines(record)[1].startswith(f"{held['with_options']}: learning rate ")
    tuned = [trial for trial in search.tuned(record).of_kind("adapt") if trial.strategy == "l2-sp"]
    assert {trial.follows for trial in tuned} == {get_strategy(held["with_options"])}
    assert {trial_columns(trial)["strategy"] for trial in tuned} == {"l2-sp"}, "the report names it as the sweep does"
    assert len(search.tuned(record).cells) == 1


def test_a_search_of_which_nothing_is_left_says_so(tmp_path: Path):
    search = Search.of(tiny.make(**CHANGES))
    plan = search.plan([TRAINING, setting(8, 1e-3)])
    ledger = Ledger(plan, dict.fromkeys(plan.by_key, "diverged"), {key: {} for key in plan.by_key})
    with pytest.raises(UserError, match="tuning: of strategy 'scratch' no setting ran to its end on 'letters"):
        search.choose(plan, ledger, open_store(str(tmp_path / "store"), create=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that was tuned and run, with its store; not to be changed."""
    folder = tmp_path_factory.mktemp("tuned")
    spec = tiny.write_spec(folder, **{**CHANGES, "seeds": [0]})
    result = call("run", spec, "--store", folder / "store", "--address", HERE)
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    return folder


def test_a_run_tunes_first_and_what_is_killed_then_goes_on_to_the_same_choice(finished: Path, tmp_path: Path):
    store = open_store(str(finished / "store"))
    assert check(store) == []
    rows = store.read("trials")
    assert rows["kind"].value_counts().to_dict() == {"tune": 4, "adapt": 2, "pretrain": 1}
    (record,) = (plan["tuning"] for plan in store.read_sweeps().values() if "tuning" in plan)
    (search,) = (name for name in store.read_sweeps() if name != "small")
    for trial in rows[rows["kind"] == "adapt"].itertuples():
        chosen = next(row for row in record["methods"] if row["strategy"] == trial.strategy)
        training = TrialConfig.model_validate_json(trial.config).training
        assert [getattr(training, name) for name in TUNED] == [chosen[name] for name in TUNED]
    # A driver that dies before it has recorded its choice:
    shutil.copytree(finished / "store", tmp_path / "store")
    (tmp_path / "store" / "sweeps" / f"{search}.json").unlink()
    before = tiny.trial_rows(tmp_path / "store")
    result = CliRunner().invoke(app, ["tune", str(finished / "tiny.yaml"), "--store", str(tmp_path / "store")])
    assert result.exit_code == 0, result.output
    assert tiny.trial_rows(tmp_path / "store") == before, "no trial ran again"
    assert open_store(str(tmp_path / "store")).read_sweep(f"sweeps/{search}.json")["tuning"] == record
    assert result.stdout.splitlines() == lines(record)


def test_another_evaluation_keeps_the_search_and_has_the_values_of_a_run_made_in_it(
    finished: Path, tmp_path: Path, steps: list[int]
):
    changed = "--set", "evaluation.samples=96", "--set", "evaluation.first_rung=4", "--address", HERE
    shutil.copytree(finished / "store", tmp_path / "store")
    planned = call("plan", finished / "tiny.yaml", "--store", tmp_path / "store", *changed[:4]).stdout
    assert "note: tuning: the settings are those of a search that was judged in builtin:" in planned
    assert "3 in the store already (*); 0 are trained and 3 only measured" in planned
    assert call("run", finished / "tiny.yaml", "--store", tmp_path / "store", *changed).exit_code == 0
    assert steps == []
    before, kept = open_store(str(finished / "store")), open_store(str(tmp_path / "store"))
    assert tiny.outcomes(kept).index.equals(tiny.outcomes(before).index)
    evaluation = {**tiny.SPEC["evaluation"], "samples": 96, "first_rung": 4}
    sweep, other = (
        Search.of(tiny.make(**{**CHANGES, "seeds": [0], "evaluation": evaluation, "tuning": {**TUNING, "seed": seed}}))
        for seed in (0, 1)
    )
    record = sweep.recorded(kept)
    assert record is not None
    fresh = open_store(str(tmp_path / "fresh"), create=True)
    tiny.run_here(sweep.tuned(record), fresh)
    ours, theirs = (
        values[values.index.get_level_values("view") == sweep.sweep.spec.evaluation.view]
        for values in map(tiny.values, (kept, fresh))
    )
    pd.testing.assert_series_equal(ours, theirs, check_exact=True)
    assert {"fid", "fid_infinity", "recall"} <= set(ours.index.get_level_values("metric"))
    (found,) = searches(load(kept))
    assert found.words.endswith("/96."), "it names both judges"
    assert other.recorded(kept) is None


def test_the_report_says_what_was_tuned_and_what_that_cost(finished: Path):
    frames = load(open_store(str(finished / "store")))
    assert set(frames.trials["kind"]) == {"pretrain", "adapt"}, "a search's trials are no part of the comparison"
    (found,) = searches(frames)
    assert "among 2 settings, as many for each, on letters[classes=2,per_class=20], which is held out (10 images" in found.words
    assert "The search took 4 trials" in found.words
    assert [row.cells[0] for row in found.rows] == ["scratch", "finetune"]
    assert "which is held out (10 images" in (finished / "store" / "report.html").read_text()


def test_the_report_says_that_nothing_was_tuned(tmp_path: Path):
    store, plan = open_store(str(tmp_path), create=True), tiny.make()
    store.write_sweep("small", record(plan))
    (found,) = searches(load(store))
    assert found.words.startswith("Not tuned: all strategies share learning rate 0.0001 and 8 steps")


def test_a_budget_of_its_own_holds_to_the_end_of_the_cell():
    rows = [("a", 8, 4, 9.0), ("a", 8, 8, 7.0), ("b", 4, 4, 3.0), ("c", 8, 4, 5.0)]
    curves = pd.DataFrame(rows, columns=["trial", "budget", "step", "value"])
    curves = curves.assign(cell="x", embedding="e", metric="fid", status=["done", "done", "done", "stopped"])
    trials = pd.DataFrame({"key": list("abc"), "config": ['{"tuned":"0"}'] * 3})
    assert _held(curves, trials.assign(config="{}")).equals(curves.assign(held=False)), "a trial that is not tuned goes on"
    held = _held(curves, trials)
    assert held.iloc[:4].equals(curves.assign(held=False))
    assert held.iloc[4:][["trial", "step", "value", "held"]].to_numpy().tolist() == [["b", 8, 3.0, True]]
