"""The plan: grids counted by hand, keys that change with what decides the outcome only, and mistakes refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.plan import Plan
from bench.sweeps.rows import trial_columns
from bench.sweeps.spec import SweepSpec
from tests.support.images import pictures
from trainers.common.errors import UserError
from trainers.config.settings import Until
from trainers.config.strategies import STRATEGIES, get_strategy
from trainers.config.trial import TrialConfig
from trainers.domains import builtin_names

ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {
    "name": "t",
    "sources": ["letters", "shapes"],
    "targets": ["digits"],
    "sizes": [10],
    "strategies": ["scratch", "finetune"],
}


def planned(**changes: Any) -> Plan:
    return make_plan(SweepSpec.model_validate({**BASE, **changes}))


def refused(**changes: Any) -> str:
    """Return the error of a plan that is refused: a line, or one for each domain with the same mistake."""
    with pytest.raises(UserError) as caught:
        planned(**changes)
    message = str(caught.value)
    assert len({re.sub(r"'\w+'", "", line) for line in message.splitlines()}) == 1
    return message


def keys(plan: Plan, kind: str = "adapt", strategy: str | None = None) -> set[str]:
    return {trial.key for trial in plan.of_kind(kind) if strategy in (None, trial.strategy)}


# -- the grid -----------------------------------------------------------------------------------------------------------

EVERYTHING_TWICE = {
    **{"sources": ["letters"] * 2, "targets": ["digits"] * 2, "sizes": [10] * 2, "strategies": ["finetune"] * 2},
    **{"conditional": [False] * 2, "seeds": [0] * 2},
}


@pytest.mark.parametrize(("changes", "pretrain", "adapt", "collapsed", "cells"), [
    # 2 sources x 2 strategies; scratch once instead of twice
    ({}, 2, 3, 1, 1),
    # 2 sources x 2 targets x 2 sizes x 2 strategies x 2 x 3 seeds = 96; scratch 24 instead of 48
    ({"targets": ["digits", "numerals"], "sizes": [10, 20], "conditional": [False, True], "seeds": [0, 1, 2]}, 4, 72, 24, 8),
    ({"strategies": ["scratch"]}, 0, 1, 1, 1),
    ({"strategies": ["scratch"], "sources": []}, 0, 1, 0, 1),
    ({"strategies": ["finetune", "finetune-g", "finetune-d"]}, 2, 6, 0, 1),
    # nothing starts from the target itself
    ({"sources": ["digits"]}, 0, 1, 0, 1),
    ({"sources": ["digits", "letters"]}, 1, 2, 1, 1),
    # digits has 1,000 training images: three sizes are one; 12 points, 3 trials
    ({"sizes": [1000, 2000, 5000], "conditional": [True]}, 2, 3, 9, 1),
    ({"sizes": [999, 1000]}, 2, 6, 2, 2),
    # 2^6 points, one trial
    (EVERYTHING_TWICE, 1, 1, 63, 1),
], ids=[
    "least", "all axes", "scratch", "no sources", "three ways", "itself", "itself and another", "capped", "not capped", "twice"
])  # fmt: skip
def test_the_grid_counted_by_hand(changes: dict[str, Any], pretrain: int, adapt: int, collapsed: int, cells: int):
    plan = planned(**changes)
    assert len(plan.of_kind("pretrain")) == pretrain
    assert len(plan.of_kind("adapt")) == adapt
    assert plan.collapsed == collapsed
    assert len(plan.cells) == cells


def test_the_quickstart_counted_by_hand():
    plan = make_plan(load_spec("quickstart"))
    # 3 sources x 1 target x 2 sizes x 4 strategies x 2 seeds = 48 points; scratch 4 instead of 12; two trainings of each source
    assert (len(plan.of_kind("pretrain")), len(plan.of_kind("adapt")), plan.collapsed) == (6, 40, 8)
    assert [len(cell) for cell in plan.cells.values()] == [20, 20]
    assert plan.notes == ()


def test_scratch_is_once_per_target_size_conditional_and_seed():
    plan = planned(targets=["digits", "numerals"], sizes=[10, 20], conditional=[False, True], seeds=[0, 1, 2])
    scratch = [trial for trial in plan.of_kind("adapt") if trial.strategy == "scratch"]
    points = [(trial.domain.name, trial.size, trial.conditional, trial.seed) for trial in scratch]
    assert len(points) == len(set(points)) == 24
    assert all(trial.source is None and trial.parent is None for trial in scratch)


def test_every_key_is_there_once():
    plan = planned(**EVERYTHING_TWICE | {"sizes": [10, 20, 4000, 5000], "strategies": list(STRATEGIES)})
    assert len({trial.key for trial in plan.trials}) == len(plan.trials)
    assert list(plan.by_key) == [trial.key for trial in plan.trials]


def test_sources_come_first_and_are_their_childrens_parents():
    plan = planned(conditional=[False, True], seeds=[0, 1])
    assert [trial.kind for trial in plan.trials] == ["pretrain"] * 4 + ["adapt"] * 12
    children = [trial for trial in plan.trials if trial.parent is not None]
    assert len(children) == 8
    for child in children:
        assert child.parent is not None
        parent = plan.by_key[child.parent]
        assert parent.kind == "pretrain"
        assert parent.domain == child.source
        assert parent.conditional == child.conditional
        assert parent.gan == child.gan
    assert all(trial.source is None and trial.strategy is None and trial.cell is None for trial in plan.of_kind("pretrain"))


def test_a_source_is_pretrained_on_all_its_images_for_its_own_budget():
    plan = planned(pretrain={"steps": 77, "seeds": [5]}, training={"steps": 9, "batch": 8})
    sources = {(t.domain.name, t.size, t.training.steps, t.training.batch, t.seed) for t in plan.of_kind("pretrain")}
    assert sources == {("letters", 4000, 77, 8, 5), ("shapes", 4000, 77, 8, 5)}


def test_a_source_has_the_settings_of_training_but_for_those_of_pretrain():
    pretrain = {"steps": 77, "batch": 64, "critic_steps": 2, "generator_lr": 1e-4, "critic_lr": 2e-4, "until": {"patience": 2}}
    plan = planned(pretrain=pretrain, training={"steps": 9, "batch": 16, "generator_lr": 1e-5, "critic_lr": 1e-5, "flip": True})
    for trial in plan.of_kind("pretrain"):
        assert trial.training.model_dump(include=pretrain.keys() - {"until"}) == {
            "steps": 77, "batch": 64, "critic_steps": 2, "generator_lr": 1e-4, "critic_lr": 2e-4,
        }  # fmt: skip
        assert trial.training.flip
        assert trial.until == Until(patience=2)
    for trial in plan.of_kind("adapt"):
        assert (trial.training.batch, trial.training.generator_lr, trial.until) == (16, 1e-5, None)


def test_a_budget_of_sources_in_images_counts_their_own_batches():
    plan = planned(pretrain={"images": 1000, "batch": 10, "critic_steps": 2}, training={"batch": 16, "critic_steps": 5})
    assert {trial.training.steps for trial in plan.of_kind("pretrain")} == {50}


def test_seeds_start_from_the_trainings_of_a_source_in_turn():
    plan = planned(sources=["letters", "letters -> shapes"], seeds=[3, 4, 5], pretrain={"seeds": [0, 7]})
    trainings = [(trial.as_source.name, trial.seed) for trial in plan.of_kind("pretrain")]
    assert sorted(trainings) == [("letters", 0), ("letters", 7), ("letters -> shapes", 0), ("letters -> shapes", 7)]
    for trial in plan.of_kind("adapt"):
        if trial.parent is not None:
            parent = plan.by_key[trial.parent]
            assert parent.seed == {3: 0, 4: 7, 5: 0}[trial.seed]
            assert parent.parent is None or plan.by_key[parent.parent].seed == parent.seed
    assert len(plan.cells) == 1


def test_nothing_is_transferred_to_itself():
    plan = planned(sources=["letters", "digits", "letters -> digits"], targets=["digits", "letters"])
    pairs = {(t.source.name, t.domain.name) for t in plan.of_kind("adapt") if t.source}
    assert pairs == {("letters", "digits"), ("digits", "letters")}
    assert {trial.as_source.name for trial in plan.of_kind("pretrain")} == {"letters", "digits"}
    assert sum(trial.strategy == "scratch" for trial in plan.of_kind("adapt")) == 2
    assert [note.partition(":")[0] for note in plan.notes if "letters:" not in note] == [
        f"{n} is a target and a source" for n in ("digits", "letters")
    ]
    assert "name another source" in refused(sources=["digits"], strategies=["finetune"])


def test_trainings_that_no_seed_starts_from_are_not_planned_and_are_noted():
    plan = planned(seeds=[0, 1], pretrain={"seeds": [0, 1, 2]})
    assert {trial.seed for trial in plan.of_kind("pretrain")} == {0, 1}
    assert plan.notes == ("pretrain.seeds: the last 1 are not used, as `seeds` are fewer and each starts from one training",)


def test_a_cell_is_what_shares_target_size_and_conditional():
    plan = planned(targets=["digits", "numerals"], sizes=[10, 20], conditional=[False, True], seeds=[0, 1])
    assert sorted(key for cell in plan.cells.values() for key in cell) == sorted(keys(plan))
    for cell, members in plan.cells.items():
        trials = [plan.by_key[key] for key in members]
        assert len({(trial.domain.name, trial.size, trial.conditional) for trial in trials}) == 1
        assert sorted(trial.strategy or "" for trial in trials) == ["finetune"] * 4 + ["scratch"] * 2
        assert {trial.cell for trial in trials} == {cell}


def test_a_size_beyond_the_domain_is_the_whole_domain_and_is_noted():
    plan = planned(sizes=[500, 2000])
    assert {trial.size for trial in plan.of_kind("adapt")} == {500, 1000}
    assert plan.notes == ("digits: size 2000 exceeds its 1000 training images; all of them are used",)


def test_sources_that_no_strategy_starts_from_are_not_read():
    assert len(planned(strategies=["scratch"], sources=["folder:/nowhere"]).trials) == 1


# -- keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "pretrain", "scratch", "finetune"), [
    ({"name": "other"}, True, True, True),
    ({"resources": {"cpus": 4, "gpus": 0.5}}, True, True, True),
    ({"stopping": {"rule": "none", "metric": "kid"}}, True, True, True),
    ({"training": {"steps": 300}}, True, True, True),
    ({"pretrain": {"steps": 300}}, False, True, False),
    ({"pretrain": {"seeds": [1]}}, False, True, False),
    ({"pretrain": {"generator_lr": 2e-4}}, False, True, False),
    ({"pretrain": {"until": {"patience": 2}}}, False, True, False),
    ({"pretrain": {"until": {"samples": 999}}}, False, True, False),
    ({"training": {"batch": 16}}, False, False, False),
    ({"training": {"gradient_penalty": 1}}, False, False, False),
    ({"gan": {"width": 8}}, False, False, False),
    ({"evaluation": {"samples": 999}}, True, True, True),
    ({"evaluation": {"first_rung": 20}}, True, True, True),
    ({"conditional": [True]}, False, False, False),
    ({"seeds": [1]}, True, False, False),
    ({"sizes": [11]}, True, False, False),
    ({"targets": ["numerals"]}, True, False, False),
    ({"sources": ["textures"]}, False, True, False),
], ids=str)  # fmt: skip
def test_a_key_changes_with_what_matters_to_the_trial_and_with_nothing_else(
    change: dict[str, Any], pretrain: bool, scratch: bool, finetune: bool
):
    before, after = planned(), planned(**change)
    for kept, kind, strategy in (
        (pretrain, "pretrain", None), (scratch, "adapt", "scratch"), (finetune, "adapt", "finetune"),
    ):  # fmt: skip
        old, new = keys(before, kind, strategy), keys(after, kind, strategy)
        assert new == old if kept else not new & old


@pytest.mark.parametrize("more", [
    {"sources": ["textures", "letters", "shapes"]},
    {"targets": ["numerals", "digits"]},
    {"sizes": [5, 10, 5000]},
    {"strategies": ["finetune-g", "finetune", "scratch"]},
    {"seeds": [7, 0]},
    {"conditional": [True, False]},
], ids=str)  # fmt: skip
def test_a_larger_grid_has_all_the_trials_of_a_smaller_one(more: dict[str, Any]):
    small, large = planned(), planned(**more)
    assert set(small.by_key) < set(large.by_key)
    assert set(small.cells) <= set(large.cells)
    for cell, members in small.cells.items():
        assert set(members) <= set(large.cells[cell])


def test_a_trial_comes_back_from_its_columns_with_its_key():
    plan = planned(conditional=[True])
    for trial in plan.trials:
        columns = trial_columns(trial)
        again = TrialConfig.model_validate_json(columns["config"])
        assert again == trial
        assert again.key == columns["key"] == trial.key
    letters, _, scratch, finetune, _ = map(trial_columns, plan.trials)
    assert (letters["source"], letters["target"], letters["cell"]) == ("letters", None, None)
    assert (scratch["source"], scratch["target"], scratch["parent"]) == (None, "digits", None)
    assert (finetune["source"], finetune["target"], finetune["parent"]) == ("letters", "digits", letters["key"])


NAMES = st.sampled_from(builtin_names())


@st.composite
def specs(draw: st.DrawFn) -> SweepSpec:
    """Return small sweeps over the built-in domains; lists may repeat an entry."""
    strategies = draw(st.lists(st.sampled_from(sorted(STRATEGIES)), min_size=1, max_size=3))
    needy = any(get_strategy(name).needs_source for name in strategies)
    return SweepSpec(
        name="any",
        sources=tuple(draw(st.lists(NAMES, min_size=int(needy), max_size=3))),
        targets=tuple(draw(st.lists(NAMES, min_size=1, max_size=2))),
        sizes=tuple(draw(st.lists(st.sampled_from([1, 50, 1000, 4000, 9000]), min_size=1, max_size=3))),
        strategies=tuple(strategies),
        conditional=tuple(draw(st.lists(st.booleans(), min_size=1, max_size=2))),
        seeds=tuple(draw(st.lists(st.integers(0, 2), min_size=1, max_size=2))),
    )


@settings(max_examples=60, deadline=None)
@given(specs())
def test_no_plan_has_more_than_its_grid_and_nothing_is_lost_unsaid(spec: SweepSpec):
    starts = [
        (source, target, strategy)
        for source, target, strategy in product(spec.sources or (None,), spec.targets, spec.strategies)
        if not (get_strategy(strategy).needs_source and source == target)
    ]
    assume(starts)
    plan = make_plan(spec)
    points = len(starts) * len(spec.sizes) * len(spec.conditional) * len(spec.seeds)
    adapts = plan.of_kind("adapt")
    assert plan.collapsed == points - len(adapts) >= 0
    assert len(plan.of_kind("pretrain")) <= len(set(spec.sources)) * len(set(spec.conditional))
    assert {trial.parent for trial in adapts} - {None} == keys(plan, "pretrain")
    assert len(plan.by_key) == len(plan.trials)
    distinct = {
        (trial.domain.name, trial.size, trial.strategy, trial.source and trial.source.name, trial.conditional, trial.seed)
        for trial in adapts
    }
    assert len(distinct) == len(adapts)
    # The order of a list's entries decides only the order of the trials.
    backwards = {name: getattr(spec, name)[::-1] for name in ("sources", "targets", "sizes", "strategies", "seeds")}
    assert set(make_plan(spec.model_copy(update=backwards)).by_key) == set(plan.by_key)


@pytest.mark.slow
def test_planning_needs_neither_torch_nor_ray_and_gives_the_same_keys_in_another_process():
    script = "import json, sys; from bench.sweeps.expansion import make_plan; from bench.sweeps.loading import load_spec\n"
    script += "plan = make_plan(load_spec('quickstart'))\n"
    script += "print(json.dumps([sorted({'ray', 'torch', 'pydantic'} & set(sys.modules)), list(plan.by_key)]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["pydantic"], list(make_plan(load_spec("quickstart")).by_key)]


# -- folders ------------------------------------------------------------------------------------------------------------


def test_a_folder_that_has_moved_keeps_its_trials(tmp_path: Path):
    here = pictures(tmp_path / "here", 10, "cats", "dogs")
    there = Path(shutil.copytree(here, tmp_path / "far" / "there"))
    as_target = [planned(targets=[f"folder:{path}"], conditional=[True]) for path in (here, there)]
    assert list(as_target[0].by_key) == list(as_target[1].by_key)
    assert as_target[0].cells == as_target[1].cells
    assert as_target[0].trials[-1].domain.name != as_target[1].trials[-1].domain.name
    as_source = [planned(sources=[f"folder:{path}"]) for path in (here, there)]
    assert list(as_source[0].by_key) == list(as_source[1].by_key)
    # Together they are one domain.
    both = planned(targets=[f"folder:{here}", f"folder:{there}"])
    assert len(both.of_kind("adapt")) == 3
    assert both.collapsed == 5


def test_a_folder_with_other_images_has_other_trials(tmp_path: Path):
    before = planned(targets=[f"folder:{pictures(tmp_path / 'a', 20)}"])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "19.png").write_bytes((tmp_path / "b" / "18.png").read_bytes())
    after = planned(targets=[f"folder:{tmp_path / 'b'}"])
    assert not keys(before) & keys(after)
    assert keys(before, "pretrain") == keys(after, "pretrain")


def test_skipped_and_few_images_of_a_folder_are_noted(tmp_path: Path):
    folder = pictures(tmp_path / "photos", 20)
    (folder / "broken.jpg").write_bytes(b"no image")
    name = f"folder:{folder}"
    assert planned(targets=[name], sizes=[5, 30]).notes == (
        f"{name}: 1 skipped (1 not an image, or in a format that Pillow does not read: broken.jpg)",
        f"{name}: only 10 reference images, so FID and KID are imprecise",
        f"{name}: size 30 exceeds its 10 training images; all of them are used",
    )


# -- mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "words"), [
    ({"targets": ["digitz"]}, ("unknown domain 'digitz'", "did you mean digits", "folder:PATH")),
    ({"sources": ["leters"]}, ("unknown domain 'leters'", "did you mean letters")),
    ({"sources": []}, ("sources: ", "empty", "'finetune'")),
    ({"gan": {"resolution": 128}}, ("gan.resolution: ", "8 to 64 pixels", "128")),
    ({"gan": {"resolution": 6, "base": 3}}, ("gan.resolution: ", "8 to 64 pixels", "not at 6")),
    ({"targets": ["folder:/nowhere/at/all"]}, ("'folder:/nowhere/at/all'", "no such folder")),
    ({"targets": ["folder:"]}, ("has no path", "folder:PATH")),
], ids=str)  # fmt: skip
def test_a_plan_that_cannot_run_is_refused(changes: dict[str, Any], words: tuple[str, ...]):
    message = refused(**changes)
    for part in words:
        assert part in message


def test_a_folder_without_classes_cannot_be_conditional(tmp_path: Path):
    name = f"folder:{pictures(tmp_path / 'flat', 20)}"
    message = refused(targets=[name], conditional=[False, True])
    assert message.startswith("conditional: ")
    assert name in message
    assert "sort it into folders" in message
    assert len(planned(targets=[name], conditional=[False]).of_kind("adapt")) == 3


def test_a_folder_that_cannot_be_measured_against_is_refused(tmp_path: Path):
    name = f"folder:{pictures(tmp_path / 'few', 5)}"
    message = refused(targets=[name])
    assert name in message
    assert "2 reference images and needs 4" in message


# -- sources with and without labels ------------------------------------------------------------------------------------


def test_a_strategy_says_whether_its_source_has_labels_and_each_kind_is_pretrained_once():
    plan = planned(strategies=["scratch", "finetune", "finetune[from=unconditional]"], conditional=[True], seeds=[0, 1])
    assert sorted(trial.conditional for trial in plan.of_kind("pretrain")) == [False, False, True, True]
    by_parent = {trial.key: trial.conditional for trial in plan.of_kind("pretrain")}
    adapts = plan.of_kind("adapt")
    assert len(adapts) == 2 + 4 + 4
    assert all(trial.conditional for trial in adapts)
    for trial in adapts:
        if trial.parent is not None:
            assert by_parent[trial.parent] == (trial.strategy == "finetune")
    assert len(plan.cells) == 1


def test_from_what_the_cell_is_anyway_is_the_plain_strategy():
    strategies = ["finetune", "finetune[from=conditional]", "finetune[from=unconditional]"]
    plan = planned(strategies=strategies, conditional=[False, True])
    assert plan.collapsed == 4
    methods = {(trial.conditional, trial.strategy) for trial in plan.of_kind("adapt")}
    assert methods == {(c, s) for c in (False, True) for s in ("finetune", f"finetune[from={'un' if c else ''}conditional]")}


def test_only_a_domain_that_is_conditioned_on_needs_labels(tmp_path: Path):
    bare = f"folder:{pictures(tmp_path / 'bare', 30)}"
    fine = planned(sources=[bare], strategies=["scratch", "finetune[from=unconditional]"], conditional=[True])
    assert [trial.conditional for trial in fine.of_kind("pretrain")] == [False]
    assert "has no class labels" in refused(sources=[bare], conditional=[True])
    assert "has no class labels" in refused(sources=[bare], strategies=["finetune[from=conditional]"])
    assert "has no class labels" in refused(targets=[bare], conditional=[True], strategies=["finetune[from=unconditional]"])


# -- mixtures and chains ------------------------------------------------------------------------------------------------


def test_a_mixture_is_one_source_in_whatever_order_it_is_named():
    plan = planned(sources=[["shapes", "letters"], ["letters", "shapes"], "letters+shapes"])
    (source,) = plan.of_kind("pretrain")
    assert (source.domain.name, source.size, source.parent) == ("letters+shapes", 8000, None)
    assert [trial_columns(trial)["source"] for trial in plan.trials] == ["letters+shapes", None, "letters+shapes"]
    assert keys(planned(sources=["letters", "shapes"])).isdisjoint(keys(plan, strategy="finetune"))


def test_a_chains_links_are_pretrained_one_from_the_other_and_shared():
    plan = planned(sources=["letters -> numerals", "letters", "letters -> numerals -> letters+shapes", "numerals"])
    first, second, third, alone = plan.of_kind("pretrain")
    assert [trial.as_source.name for trial in plan.of_kind("pretrain")] == [
        "letters", "letters -> numerals", "letters -> numerals -> letters+shapes", "numerals"
    ]  # fmt: skip
    assert [trial.parent for trial in (first, second, third, alone)] == [None, first.key, second.key, None]
    assert [trial.strategy for trial in (first, second, third, alone)] == [None, "finetune", "finetune", None]
    assert {trial.training.steps for trial in plan.of_kind("pretrain")} == {plan.spec.pretrain.steps}
    assert (second.size, third.size) == (4000, 8000)
    assert [trial.parent for trial in plan.of_kind("adapt")] == [None, second.key, first.key, third.key, alone.key]
    assert trial_columns(second)["source"] == trial_columns(plan.of_kind("adapt")[1])["source"] == "letters -> numerals"
    assert {first.key, alone.key} == keys(planned(sources=["numerals", "letters"]), "pretrain")
    assert len(plan.cells) == 1


def test_a_chain_comes_back_from_its_columns_with_its_keys():
    for trial in planned(sources=["letters -> numerals"], conditional=[True]).trials:
        assert TrialConfig.model_validate_json(trial_columns(trial)["config"]).key == trial.key


def test_the_keys_of_this_version_stay_the_same():
    """If this fails, every existing store trains everything again: see `trainers.config.trial.VERSION`."""
    assert list(planned().by_key) == [
        "94b8c36a97bf8af5", "84508f3577c8038f", "68260464dfea20ec", "4bc3831b3047b15b", "af9dc6fd1eec76e3"
    ]  # fmt: skip


def test_every_link_of_a_chain_must_exist_and_have_the_labels_that_the_sweep_needs(tmp_path: Path):
    bare = f"folder:{pictures(tmp_path / 'bare', 30)}"
    assert "unknown domain 'numeralz'" in refused(sources=["letters -> numeralz"])
    assert "has no class labels" in refused(sources=[f"{bare} -> letters"], conditional=[True])
    assert len(planned(sources=[f"{bare} -> letters"]).of_kind("pretrain")) == 2


def test_a_budget_in_images_is_one_in_steps():
    budget = {"batch": 8, "critic_steps": 2}
    by_images = planned(training={**budget, "images": 160}, pretrain={"images": 33})
    by_steps = planned(training={**budget, "steps": 10}, pretrain={"steps": 3})
    assert keys(by_images) == keys(by_steps)
    assert keys(by_images, "pretrain") == keys(by_steps, "pretrain")
