"""The frames of a store: merged, censored and labelled trials."""

from pathlib import Path

import pytest

from analysis.frames import STATUSES, load, records
from analysis.labels import label_domains
from bench.store import open_store
from tests.support.synthetic import build
from trainers.common.errors import UserError


def test_planned_and_recorded_trials_are_merged(tmp_path: Path) -> None:
    frames = load(build(tmp_path, faults=True))
    counts = frames.trials["status"].value_counts().to_dict()
    assert counts == {"done": 11, "stopped": 14, "diverged": 1, "failed": 1, "blocked": 1, "unfinished": 1, "pending": 1}
    assert set(counts) == set(STATUSES)
    assert frames.trials["key"].is_unique
    unfinished = frames.trials[frames.trials["status"] == "unfinished"]
    assert list(unfinished["steps"]) == [50]
    assert list(unfinished["budget"]) == [200]


def test_censoring_is_explicit(tmp_path: Path) -> None:
    trials = load(build(tmp_path)).trials
    assert (trials["censored"] == (trials["status"] == "stopped")).all()
    assert (trials.loc[trials["censored"], "steps"] < trials.loc[trials["censored"], "budget"]).all()


def test_curves_carry_their_trials_columns(tmp_path: Path) -> None:
    frames = load(build(tmp_path))
    one = frames.curves[(frames.curves["source"] == "numerals") & (frames.curves["strategy"] == "finetune")]
    assert set(one["step"]) == {0, 50, 100, 200}
    assert set(one["metric"]) == {"fid", "kid", "recall", "diversity", "memorisation"}
    assert set(one["cell_label"]) == {"digits, 50 images", "digits, 500 images"}
    assert set(one["family"]) == {"digits"}
    assert frames.embeddings == ["builtin:1a2b3c4d5e6f"]
    assert list(frames.environments["trials"]) == [len(frames.trials)]


def test_one_sweep_of_several(tmp_path: Path) -> None:
    build(tmp_path, sweep="first")
    store = build(tmp_path, sweep="second", targets=("faces",), sizes=(100,))
    both, second = load(store), load(store, "second")
    assert set(both.trials["target_label"].dropna()) == {"digits", "faces"}
    assert set(second.trials["target_label"].dropna()) == {"faces"}
    assert set(second.distances["target"]) == {"faces"}
    assert (second.trials["kind"] == "pretrain").sum() == 4, "a shared source belongs to both sweeps"
    assert (both.names, second.names) == (["first", "second"], ["second"])
    assert load(store, "first").names == ["first"], "though another sweep recorded its sources last"
    with pytest.raises(UserError, match=r"unknown sweep 'secnd'; did you mean second\?") as error:
        load(store, "secnd")
    assert "\n" not in str(error.value)


def test_trials_in_an_embedding_are_selected_by_their_cells(tmp_path: Path) -> None:
    build(tmp_path, sweep="first", sizes=(50,))
    store = build(tmp_path, sweep="second", sizes=(100,), embeddings=("inception:2",))
    frames = load(store)
    assert {name: set(frames.trials_in(name)["cell_label"].dropna()) for name in frames.embeddings} == {
        "builtin:1a2b3c4d5e6f": {"digits, 50 images"}, "inception:2": {"digits, 100 images"},
    }  # fmt: skip
    assert all((frames.trials_in(name)["kind"] == "pretrain").sum() == 4 for name in frames.embeddings)


def test_only_trials_that_lack_something_are_said_to_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = build(tmp_path, images=False)
    row = next(row for row in store.read_sweeps()["quickstart"]["trials"] if row["kind"] == "adapt")
    further = {**row, "key": "0" * 16}  # as of a sweep that was removed
    store.write_sweep("continue-it", {"spec": {}, "continues": further["key"], "trials": [further]})
    load(store)
    assert not caplog.messages
    store.write_sweep("odd", {"spec": {}, "trials": [{**row, "key": "1" * 16, "target": None}]})
    load(store)
    assert [message.endswith("are left out: " + "1" * 16) for message in caplog.messages] == [True]


def test_an_empty_store(tmp_path: Path) -> None:
    frames = load(open_store(str(tmp_path), create=True))
    assert frames.embeddings == []
    assert frames.domains == {}
    assert all(len(frame) == 0 for frame in (frames.trials, frames.curves, frames.distances, frames.environments))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["digits", "letters"], ["digits", "letters"]),
        (["folder:/a/b/flowers", "digits"], ["flowers", "digits"]),
        (["folder:/a/flowers/", "folder:/b/flowers"], ["a/flowers", "b/flowers"]),
        (["flowers", "folder:/x/flowers"], ["flowers", "x/flowers"]),
        (["letters[classes=4,per_class=100]", "letters"], ["letters[classes=4,per_class=100]", "letters"]),
        (
            ["numerals[per_class=10]", "letters -> numerals[per_class=10]"],
            ["numerals[per_class=10]", "letters → numerals[per_class=10]"],
        ),
        (["numerals[per_class=10] -> textures"], ["numerals per_class=10 → textures"]),  # where it is too long as written
        (["letters[classes=4,per_class=100,spread=0.3]", "shapes[shift=0.5]"], ["letters 4×100 s0.3", "shapes[shift=0.5]"]),
        (["folder:/a/cats[classes=2]", "folder:/b/cats[classes=2]"], ["a/cats[classes=2]", "b/cats[classes=2]"]),
        (["folder:/", "folder:"], ["folder:/", "folder:"]),
        (["letters+shapes", "letters -> digits"], ["letters+shapes", "letters → digits"]),
        (["(folder:/a/cats)+letters -> folder:/b/cats"], ["a/cats+letters → b/cats"]),
    ],
)
def test_labels_are_short(names: list[str], labels: list[str]) -> None:
    assert [label_domains(names)[name] for name in names] == labels


def test_a_given_name_is_the_label_unless_another_domain_has_it_too() -> None:
    given = {"folder:/a/x": "faces", "folder:/b/y": "faces", "letters": "caps"}
    assert label_domains(["folder:/a/x[classes=2]", "letters+digits"], given) == {
        "folder:/a/x[classes=2]": "faces[classes=2]", "letters+digits": "caps+digits",
    }  # fmt: skip
    assert label_domains(["folder:/a/x", "folder:/b/y"], given) == {"folder:/a/x": "x/faces", "folder:/b/y": "y/faces"}


def test_labels_are_unique_however_long() -> None:
    names = [f"folder:/{'long/' * k}{'x' * 60}{end}" for k in range(3) for end in ("", "a")]
    labels = label_domains(names)
    assert len(set(labels.values())) == len(names)
    assert max(map(len, labels.values())) <= 26


def test_cells_that_differ_in_settings_have_different_labels(tmp_path: Path) -> None:
    build(tmp_path, sweep="narrow", sizes=(50,))
    build(tmp_path, sweep="wide", sizes=(50,), width=32)
    store = build(tmp_path, sweep="conditional", sizes=(50,), conditional=(True,), resolution=32)
    trials = load(store).trials
    assert set(trials["cell_label"].dropna()) == {
        "digits, 16 px, width 16, 50 images",
        "digits, 16 px, width 32, 50 images",
        "digits, conditional, 32 px, 50 images",
    }


def test_a_plan_without_settings_still_gets_unique_labels(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), create=True)
    row = {"kind": "adapt", "source": None, "target": "digits", "size": 1, "strategy": "scratch", "conditional": False}
    row |= {"seed": 0, "parent": None, "resolution": 16, "budget": 9}
    store.write_sweep("s", {"spec": {}, "trials": [{"key": c, "cell": c * 16, **row} for c in "ab"]})
    trials = load(store).trials
    assert list(trials["status"]) == ["pending", "pending"]
    assert trials["cell_label"].nunique() == 2


def test_labels_name_the_augmentation_if_cells_differ_in_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), create=True)
    row = {"kind": "adapt", "source": None, "target": "digits", "size": 1, "strategy": "scratch", "conditional": False}
    row |= {"seed": 0, "parent": None, "resolution": 16, "budget": 9}
    configs = {"a": "{}", "b": '{"augmentation": "ada"}'}
    store.write_sweep("s", {"spec": {}, "trials": [{"key": c, "cell": c * 16, "config": t, **row} for c, t in configs.items()]})
    assert set(load(store).trials["cell_label"]) == {
        "digits, augmentation none, 1 image",
        "digits, augmentation ada, 1 image",
    }


def test_trials_of_a_confirmation_are_marked_and_belong_to_the_sweep_that_they_confirm(tmp_path: Path) -> None:
    store = build(tmp_path, seeds=(0, 1), images=False)
    plan = store.read_sweeps()["quickstart"]
    fresh = [row for row in plan["trials"] if row["seed"] == 1]
    seen = [row for row in plan["trials"] if row["seed"] == 0]
    store.write_sweep("quickstart", {**plan, "trials": seen})
    store.write_sweep("quickstart-confirm", {**plan, "trials": [*fresh, *seen[:1]], "confirms": "quickstart"})
    trials = load(store, "quickstart").trials
    adapt = trials[trials["kind"] == "adapt"]
    assert set(adapt.loc[adapt["confirmation"], "seed"]) == {1}
    assert set(adapt.loc[~adapt["confirmation"], "seed"]) == {0}, "a trial that the sweep has too is no confirmation"
    assert len(load(store).trials) == len(trials)


def test_trials_of_a_confirmation_that_was_planned_anew_are_left_out(tmp_path: Path) -> None:
    store = build(tmp_path, images=False)
    plan, known = store.read_sweeps()["quickstart"], len(load(store).trials)
    store.write_sweep("quickstart-confirm", {**plan, "trials": [], "confirms": "quickstart"})
    row = records(store.read("trials").drop(columns=["sweep", "recorded_at"]))[-1]
    store.append("trials", "quickstart-confirm", [{**row, "key": "0" * 64, "seed": 7}])
    assert len(load(store).trials) == known
