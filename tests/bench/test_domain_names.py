"""Names that a sweep file gives to domains: shown everywhere, part of no key, and every mistake in one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.frames import load
from analysis.report.blocks import Report
from analysis.report.content import csv_files
from analysis.report.packed import unpacked
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import record, recorded
from bench.sweeps.spec import SweepSpec, as_mapping
from tests.support.command_line import SPEC, call
from tests.support.images import pictures


def planned(**changes: Any) -> Plan:
    return make_plan(SweepSpec.model_validate({**SPEC, **changes}))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of 40 images in the working directory."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20, "a", "b")
    return "folder:photos"


def test_a_name_is_shown_in_place_of_its_domain(photos: str):
    sources = ["faces", ["caps", "faces"], "letters -> faces", "faces[classes=1]", "faces[fit=pad]"]
    domains = {"faces": photos, "caps": "letters[classes=3]", "scans": "digits[classes=5]"}
    text = yaml.safe_dump({**SPEC, "domains": domains, "sources": sources, "targets": ["scans"], "sizes": [20]})
    Path("sweep.yaml").write_text(text)
    lines = call("plan", "sweep.yaml").stdout.splitlines()
    shown = ["faces", "caps+faces", "letters", "letters -> faces", "faces[classes=1]", "faces[fit=pad]"]
    assert [line.partition("pretrain ")[2].partition(",")[0] for line in lines if "pretrain " in line][:6] == shown
    assert sum("finetune caps+faces -> scans, 20 images" in line for line in lines) == 1
    assert "note: faces: only 20 reference images, so FID and KID are imprecise" in lines


def test_a_name_is_shown_in_the_status_and_the_report_of_a_store(photos: str):
    plan = planned(domains={"faces": photos}, sources=["faces"])
    store = open_store("store", create=True)
    store.write_sweep("small", record(plan))
    source, target = f"folder:{Path('photos').absolute()}", "digits"
    assert recorded(store.read_sweeps()["small"]).spec.labels == {source: "faces"}
    assert load(store).domains == {source: "faces", target: target}
    turned = planned(domains={"scans": "digits", "faces": photos}, sources=["letters"], targets=["faces"], name="turned")
    store.write_sweep("turned", record(turned))
    assert "faces, 10 images" in call("status", "--sweep", "turned").stdout
    assert set(load(store, "turned").trials["cell_label"].dropna()) == {"faces, 10 images", "faces, 20 images"}


def test_two_folders_that_two_sweeps_call_the_same_are_told_apart_in_a_report_of_both(photos: str):
    pictures(Path("others"), 20)
    store = open_store("store", create=True)
    for name, folder in {"one": photos, "two": "folder:others"}.items():
        store.write_sweep(name, record(planned(name=name, domains={"faces": folder}, sources=["faces"])))
    assert sorted(load(store).domains.values()) == ["digits", "others/faces", "photos/faces"]


def test_a_folder_has_the_same_trials_under_every_name(photos: str):
    keys = [*planned(sources=[photos, "letters -> folder:photos"]).by_key]
    for name in ("faces", "portraits"):
        plan = planned(domains={name: photos}, sources=[name, f"letters -> {name}"])
        assert [*plan.by_key] == keys
        assert [*make_plan(SweepSpec.model_validate(as_mapping(plan.spec))).by_key] == keys


def test_a_name_stands_for_its_domain_in_a_search_too(photos: str):
    tuning = {"target": "faces", "source": "faces", "size": 10, "learning_rate": [1e-4, 1e-3]}
    spec = SweepSpec.model_validate({**SPEC, "domains": {"faces": photos}, "tuning": tuning})
    assert spec.tuning is not None
    assert (spec.tuning.target, spec.tuning.source) == (photos, photos)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ({"digits": "folder:photos"}, "'digits' is a name of transfergan's own; choose another one, e.g. my-digits"),
        ({"mnist": "folder:photos"}, "'mnist' is a name of transfergan's own"),
        ({"folder": "folder:photos"}, "'folder' is a name of transfergan's own"),
        ({"my faces": "folder:photos"}, "name 'my faces' is not 1 to 32 letters, digits and . _ -"),
        ({"a+b": "folder:photos"}, "name 'a+b' is not 1 to 32 letters"),
        ({"": "folder:photos"}, "name '' is not 1 to 32 letters"),
        ({"a": "folder:photos", "b": "a"}, "b is 'a', which is a name too; write what that stands for, 'folder:photos'"),
        ({"a": "folder:photos", "b": "a[fit=pad]"}, "b is 'a[fit=pad]', which is a name too"),
        (
            {"a": "letters+digits"},
            "a is 'letters+digits', and a name stands for one domain; mixtures, chains and imports go in",
        ),
        ({"a": "letters -> digits"}, "a is 'letters -> digits', and a name stands for one domain"),
        ({"a": "import:faces"}, "a is 'import:faces', and a name stands for one domain"),
        (
            {"a": "folder:photos"},
            "domains.a: nothing uses this name of 'folder:photos'; write it in sources or targets, or remove it",
        ),
        ({"a": "letters", "b": "letters[classes=3]"}, "domains.b: nothing uses this name"),
        ({"a": "letters", "b": "letters"}, "a and b are both 'letters'; leave one of them out"),
        ({"a": "lettres"}, "domains.a: unknown domain 'lettres'; did you mean letters"),
        (["a"], "domains: must be a mapping, such as {faces: 'folder:photos'}"),
        ({"a": 1}, "domains.a: must be a text"),
    ],
    ids=str,
)
def test_a_mistake_in_a_name_is_one_line(photos: str, domains: Any, message: str):
    Path("sweep.yaml").write_text(yaml.safe_dump({**SPEC, "domains": domains}))
    result = call("plan", "sweep.yaml")
    assert isinstance(result.exception, ValueError)
    error = str(result.exception)
    assert error.startswith("sweep.yaml: domains")
    assert message in error
    assert "\n" not in error


def test_all_mistakes_in_names_are_told_at_once_with_those_of_keys(photos: str):
    names = {"a": photos, "b": photos, "caps": "letters", "digits": "shapes"}
    Path("sweep.yaml").write_text(yaml.safe_dump({**SPEC, "domains": names, "sources": ["a", "b", "lettres"]}))
    for options in ((), ("--set", "training.steps=-1")):
        error = str(call("plan", "sweep.yaml", *options).exception)
        assert f"sweep.yaml: domains: a and b are both '{photos}'; leave one of them out" in error
        assert "sweep.yaml: domains.caps: nothing uses this name of 'letters'" in error
        assert "sweep.yaml: domains: 'digits' is a name of transfergan's own" in error
        assert "sweep.yaml: sources.2: unknown domain 'lettres'" in error
        assert len(error.splitlines()) == 4 + len(options) // 2


def test_a_domain_by_its_name_and_spelled_out_is_noted(photos: str):
    other = f"folder:{Path('photos').absolute()}"
    plan = planned(domains={"faces": photos}, sources=["faces", other, "letters", "letters"], seeds=[0, 0])
    notes = [note for note in plan.notes if "twice" in note]
    assert notes == [
        "sources: faces and letters are in the list twice; equal trials run once",
        "seeds: 0 is in the list twice; equal trials run once",
    ]
    assert len(plan.of_kind("pretrain")) == 2


@pytest.mark.parametrize(("changes", "start"), [
    ({"domains": {"hills": "folder:none"}, "sources": ["hills"]},
     "sources.0: domain 'hills' ('folder:{here}/none'): there is no such folder"),
    ({"gan": {"resolution": 8}, "conditional": [True], "sources": ["faces"], "domains": {"faces": "folder:plain"}},
     "conditional: domain 'faces' ('folder:{here}/plain') has no class labels"),
    ({"sources": ["faces[classes=9]"], "domains": {"faces": "folder:photos"}},
     "sources.0: domain 'faces[classes=9]' ('folder:"),
])  # fmt: skip
def test_an_error_calls_a_domain_by_its_name(photos: str, changes: dict[str, Any], start: str):
    pictures(Path("plain"), 20)
    Path("sweep.yaml").write_text(yaml.safe_dump({**SPEC, **changes}))
    error = str(call("plan", "sweep.yaml").exception)
    assert error.startswith(f"sweep.yaml: {start.format(here=Path.cwd())}")


def test_preparing_counts_the_domains_by_their_names_and_the_files_have_the_names(photos: str):
    pictures(Path("others"), 20)
    domains = {"faces": photos, "hills": "folder:others"}
    plan = {**SPEC, "domains": domains, "sources": ["faces"], "targets": ["hills"], "sizes": [10]}
    Path("sweep.yaml").write_text(yaml.safe_dump(plan))
    said = [line.partition(", ")[0].partition(": 40 files")[0] for line in call("plan", "sweep.yaml").stderr.splitlines()]
    assert said == ["preparing 1 of 2: faces", "prepared faces", "preparing 2 of 2: hills", "prepared hills: 20 files"]
    store = open_store("store", create=True)
    store.write_sweep("small", record(planned(**plan)))
    _, bullets = csv_files.links(Report(load(store), [], trials=[{}]))
    ((file, _),) = bullets.items  # type: ignore[attr-defined]
    assert {"faces", "hills"} <= set(re.split(r"[,\n]", unpacked(file.href.partition(",")[2])))
    assert "folder:" not in file.href


def test_options_are_not_added_to_a_name_that_has_some(photos: str):
    changes = {"domains": {"few": "letters[classes=3]"}, "sources": ["few[per_class=10]"]}
    Path("sweep.yaml").write_text(yaml.safe_dump({**SPEC, **changes}))
    error = str(call("plan", "sweep.yaml", "--json").exception)
    assert error.startswith(
        "sweep.yaml: sources: 'few[per_class=10]': 'few' is 'letters[classes=3]', which has options already"
    )


def test_a_name_can_be_given_on_the_command_line(photos: str):
    arguments = ["--set", f"domains.faces={photos}", "--set", "sources=[faces]", "--set", "sizes=[20]"]
    assert json.loads(call("plan", "quickstart", "--json", *arguments).stdout)["pretrain"] == 2
