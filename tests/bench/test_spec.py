"""The sweep file: accepted values, and every mistake as one line with the file, the key and the fix."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from bench.sweeps.loading import load_spec
from bench.sweeps.presets import preset_names
from bench.sweeps.spec import SweepSpec, as_mapping
from trainers.common.errors import UserError, UserErrors
from trainers.config.strategies import get_strategy
from trainers.domains import get

LEAST: dict[str, Any] = {"name": "t", "targets": ["digits"], "sizes": [10], "strategies": ["scratch"]}


def write(folder: Path, text: str) -> str:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return str(path)


def load(folder: Path, changes: dict[str, Any]) -> SweepSpec:
    """Load the smallest sweep with some keys changed, from a file; a change to None removes the key."""
    data = {key: value for key, value in {**LEAST, **changes}.items() if value is not None}
    return load_spec(write(folder, yaml.safe_dump(data)))


# -- what is accepted ---------------------------------------------------------------------------------------------------


def test_the_quickstart_is_a_preset():
    assert "quickstart" in preset_names()
    spec = load_spec("quickstart")
    assert spec.name == "quickstart"
    assert spec.targets == ("digits",)
    assert spec.sizes == (10, 40)
    assert spec.evaluation.rungs(spec.training.steps) == (60, 120, 240, 480, 600)
    assert len(spec.seeds) == len(spec.pretrain.seeds) == 2


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_has_the_name_of_its_file(name: str):
    spec = load_spec(name, ["evaluation.embedding=builtin"])  # the paper's need Inception's weights
    assert spec.name == name
    for domain in (*spec.sources, *spec.targets):
        get(domain).check_resolution(spec.gan.resolution)


def test_the_papers_grids_are_presets():
    grids = {name: load_spec(name, ["evaluation.embedding=builtin"]) for name in preset_names() if "paper" in name}
    assert set(grids) == {"paper-t1", "paper-t2", "paper-t4", "paper-conditional"}
    full = load_spec("full-grid", ["evaluation.embedding=builtin"])
    points = len(full.sources) * len(full.targets) * len(full.sizes) * len(full.strategies) * len(full.seeds)
    assert points == 4 * 4 * 7 * 4 * 3
    assert grids["paper-t2"].sizes == (1000, 5000, 10_000, 50_000, 100_000, 500_000, 1_000_000)
    assert grids["paper-conditional"].conditional == (True,)
    for spec in (full, *grids.values()):
        assert (spec.gan.resolution, spec.gan.width, spec.gan.latent) == (64, 64, 128)
        assert (spec.training.batch, spec.training.steps, spec.training.generator_lr) == (16, 25_000, 1e-4)
        source = spec.pretrain.training(spec.training)
        assert (source.batch, source.steps, source.generator_lr, source.critic_lr) == (64, 200_000, 1e-4, 1e-4)
        for name in spec.strategies:
            assert get_strategy(name).rate_factor("critic") == (1.0 if name == "scratch" else 0.1), "fine-tuning at 1e-5"
    assert full.pretrain.seeds == full.seeds == (0, 1, 2)
    assert grids["paper-conditional"].evaluation.rungs(25_000) == (250, 2500, 25_000)
    assert all(spec.evaluation.iw_steps for name, spec in grids.items() if name != "paper-conditional")


def test_the_least_sweep_gets_the_defaults(tmp_path: Path):
    spec = load(tmp_path, {})
    assert (spec.sources, spec.conditional, spec.seeds) == ((), (False,), (0,))
    assert (spec.stopping.rule, spec.stopping.keep, spec.stopping.metric) == ("halving", 0.5, "fid")
    assert (spec.resources.cpus, spec.resources.gpus) == (1, 0)
    assert spec.pretrain.steps == 400
    assert spec.evaluation.embedding == "builtin"


def test_a_section_may_set_some_of_its_keys(tmp_path: Path):
    spec = load(tmp_path, {"training": {"steps": 7}})
    assert (spec.training.steps, spec.training.batch) == (7, 32)


def test_a_number_without_a_point_is_a_learning_rate(tmp_path: Path):
    text = f"{yaml.safe_dump(LEAST)}training: {{generator_lr: 1e-4, critic_lr: 1}}\n"  # YAML 1.1 reads 1e-4 as a string
    training = load_spec(write(tmp_path, text)).training
    assert (training.generator_lr, training.critic_lr) == (1e-4, 1.0)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".txt", ""])
def test_an_existing_file_needs_no_suffix(tmp_path: Path, suffix: str):
    path = tmp_path / f"sweep{suffix}"
    path.write_text(yaml.safe_dump(LEAST))
    assert load_spec(str(path)).name == "t"


def test_a_spec_is_frozen():
    spec = load_spec("quickstart")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        spec.training.steps = 1  # type: ignore[misc]


def test_a_spec_comes_back_from_plain_data(tmp_path: Path):
    spec = load(tmp_path, {"sources": ["letters"], "seeds": [0, 3], "training": {"betas": [0.5, 0.99]}})
    mapping = as_mapping(spec)
    assert SweepSpec.model_validate(mapping) == spec
    assert load_spec(write(tmp_path, yaml.safe_dump(mapping))) == spec


# -- overrides ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "section", "key", "expected"), [
    ("name=other", None, "name", "other"),
    ("sizes=[5, 7]", None, "sizes", (5, 7)),
    ("targets=[letters,shapes]", None, "targets", ("letters", "shapes")),
    ("conditional=[false, true]", None, "conditional", (False, True)),
    ("training.steps=100", "training", "steps", 100),
    ("training.betas=[0.5, 0.9]", "training", "betas", (0.5, 0.9)),
    ("resources.gpus=0.5", "resources", "gpus", 0.5),
    ("stopping={rule: none}", "stopping", "rule", "none"),
    ("targets=['folder:a=b']", None, "targets", ("folder:a=b",)),
])  # fmt: skip
def test_an_override_wins_over_the_file(override: str, section: str | None, key: str, expected: object):
    spec = load_spec("quickstart", [override])
    assert getattr(getattr(spec, section) if section else spec, key) == expected


def test_an_override_adds_a_section_that_the_file_lacks(tmp_path: Path):
    path = write(tmp_path, yaml.safe_dump(LEAST))
    assert load_spec(path, ["resources.cpus=3"]).resources.cpus == 3


def test_the_last_of_two_overrides_of_a_key_wins_and_the_rest_of_the_section_is_kept():
    training = load_spec("quickstart", ["training.steps=3", "training.steps=4"]).training
    assert (training.steps, training.critic_steps) == (4, 1)


def test_an_override_corrects_a_file(tmp_path: Path):
    path = write(tmp_path, yaml.safe_dump({**LEAST, "sizes": []}))
    assert load_spec(path, ["sizes=[1]"]).sizes == (1,)


# -- mistakes -----------------------------------------------------------------------------------------------------------


def refused(name: str, *overrides: str) -> str:
    """Return the one-line error of a sweep that is refused."""
    with pytest.raises(UserError) as caught:
        load_spec(name, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


NOT_NUMBER, NOT_LIST, TOO_SHORT = "must be a whole number", "must be a list", "must have at least one entry"

WRONG: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    ({"target": ["digits"]}, "target", ("unknown key", "did you mean targets", "strategies")),
    ({"training": {"stepps": 3}}, "training.stepps", ("unknown key", "did you mean training.steps", "training.batch")),
    ({"gan": {"zzzz": 3}}, "gan.zzzz", ("unknown key", "gan.resolution")),
    ({"training": {"steps": "many"}}, "training.steps", (NOT_NUMBER, "'many'")),
    ({"training": {"steps": "100"}}, "training.steps", (NOT_NUMBER, "'100'")),
    ({"training": {"steps": 0}}, "training.steps", ("greater than or equal to 1", "got 0")),
    ({"training": {"steps": True}}, "training.steps", (NOT_NUMBER, "got true")),
    ({"training": {"betas": [0.5]}}, "training.betas.1", ("required",)),
    ({"training": {"generator_lr": float("nan")}}, "training.generator_lr", ("finite", "nan")),
    ({"training": {"critic_lr": float("inf")}}, "training.critic_lr", ("finite", "inf")),
    ({"training": {"critic_lr": -1e-4}}, "training.critic_lr", ("greater than 0", "-0.0001")),
    ({"training": {"generator_lr": "fast"}}, "training.generator_lr", ("must be a number", "'fast'")),
    ({"training": 3}, "training", ("must be a section of keys", "got 3")),
    ({"conditional": ["yes"]}, "conditional.0", ("must be true or false", "'yes'")),
    ({"conditional": [1]}, "conditional.0", ("must be true or false", "got 1")),
    ({"conditional": True}, "conditional", ("must be a list, such as [true]", "got true")),
    ({"conditional": []}, "conditional", (TOO_SHORT,)),
    ({"sizes": [10.5]}, "sizes.0", (NOT_NUMBER, "10.5")),
    ({"sizes": [50, 10.0]}, "sizes.1", (NOT_NUMBER, "10.0")),
    ({"sizes": [0]}, "sizes.0", ("greater than or equal to 1", "got 0")),
    ({"sizes": [10, -5]}, "sizes.1", ("greater than or equal to 1", "-5")),
    ({"sizes": []}, "sizes", (TOO_SHORT,)),
    ({"sizes": 50}, "sizes", ("must be a list, such as [50]",)),
    ({"sizes": None}, "sizes", ("required",)),
    ({"targets": []}, "targets", (TOO_SHORT,)),
    ({"targets": "digits"}, "targets", ("must be a list, such as ['digits']",)),
    ({"targets": [7]}, "targets.0", ("must be a text", "got 7")),
    ({"targets": None}, "targets", ("required",)),
    ({"name": None}, "name", ("required",)),
    ({"name": "a/b"}, "name", ("must be 1 to 64 letters, digits", "'a/b'")),
    ({"name": "../up"}, "name", ("must be 1 to 64 letters, digits", "'../up'")),
    ({"name": ".hidden"}, "name", ("must be 1 to 64 letters, digits", "'.hidden'")),
    ({"name": "two words"}, "name", ("must be 1 to 64 letters, digits", "'two words'")),
    ({"name": "line\n"}, "name", ("must be 1 to 64 letters, digits",)),
    ({"name": ""}, "name", ("must be 1 to 64 letters, digits", "''")),
    ({"name": "n" * 65}, "name", ("must be 1 to 64 letters, digits", "...")),
    ({"strategies": []}, "strategies", (TOO_SHORT,)),
    ({"strategies": ["scratch", "finetun"]}, "strategies.1", ("'finetun'", "did you mean finetune or")),
    ({"seeds": []}, "seeds", (TOO_SHORT,)),
    ({"seeds": [-1]}, "seeds.0", ("greater than or equal to 0", "-1")),
    ({"seeds": [2**31]}, "seeds.0", ("less than", str(2**31))),
    ({"gan": {"resolution": 24}}, "gan.resolution", ("24", "base 4", "8, 16, 32, 64")),
    ({"gan": {"resolution": 4}}, "gan.resolution", ("4 is not", "8, 16, 32, 64")),
    ({"gan": {"resolution": 16, "base": 3}}, "gan.resolution", ("16 is not", "base 3", "6, 12, 24, 48")),
    ({"evaluation": {"embedding": "builtn"}}, "evaluation.embedding", ("unknown embedding 'builtn'", "did you mean builtin")),
    ({"evaluation": {"rung_factor": 1}}, "evaluation.rung_factor", ("greater than or equal to 1.1",)),
    ({"evaluation": {"samples": 63}}, "evaluation.samples", ("greater than or equal to 64", "63")),
    ({"stopping": {"keep": 0}}, "stopping.keep", ("greater than 0", "got 0")),
    ({"stopping": {"keep": 1.01}}, "stopping.keep", ("less than or equal to 1", "1.01")),
    ({"stopping": {"rule": "asha"}}, "stopping.rule", ("'halving' or 'none'", "'asha'")),
    ({"resources": {"gpus": -1}}, "resources.gpus", ("greater than or equal to 0", "-1")),
    ({"resources": {"cpus": 0}}, "resources.cpus", ("greater than or equal to 1", "got 0")),
    ({"resources": {"gpus": 1.5}}, "resources.gpus", ("a share of one GPU or a whole number of GPUs", "write 2")),
    ({"resources": {"graphs": True}}, "resources.graphs", ("needs a GPU", "set resources.gpus")),
    ({7: 3}, "7", ("keys should be strings",)),
    ({"training": {"generator_lr": True}}, "training.generator_lr", ("must be a number, got true",)),
    ({"training": {"betas": [False, 0.9]}}, "training.betas.0", ("must be a number, got false",)),
    ({"pretrain": {"critic_lr": True}}, "pretrain.critic_lr", ("must be a number, got true",)),
    ({"evaluation": {"rung_factor": True}}, "evaluation.rung_factor", ("must be a number, got true",)),
    ({"stopping": {"keep": True}}, "stopping.keep", ("must be a number, got true",)),
    ({"stopping": {"plateau": True}}, "stopping.plateau", (NOT_NUMBER, "got true")),
    ({"resources": {"gpus": True}}, "resources.gpus", ("must be a number, got true",)),
    ({"resources": {"retries": True}}, "resources.retries", (NOT_NUMBER, "got true")),
    ({"gan": {"width": 10**9}}, "gan.width", ("less than or equal to 1024",)),
    ({"gan": {"resolution": 2**62}}, "gan.resolution", ("less than or equal to 4096",)),
    ({"gan": {"latent": 10**30}}, "gan.latent", ("less than or equal to",)),
    ({"training": {"steps": 2**63}}, "training.steps", ("less than or equal to 1000000000",)),
    ({"training": {"images": 10**12, "batch": 2, "critic_steps": 1}}, "training.images", ("500,000,000,000 generator steps",)),
    ({"pretrain": {"steps": 2**63}}, "pretrain.steps", ("less than or equal to",)),
    ({"sizes": [10**30]}, "sizes.0", ("less than or equal to",)),
    ({"evaluation": {"samples": 10**12}}, "evaluation.samples", ("less than or equal to",)),
    ({"pretrain": {"steps": 10**9, "until": {"every": 1}}}, "pretrain.until.every",
     ("1,000,000,000 times here, and at most 10,000", "set it higher")),
    ({"resources": {"cpus": 10**18}}, "resources.cpus", ("less than or equal to",)),
    ({"confirm": {"seeds": 10**12}}, "confirm.seeds", ("less than or equal to",)),
    ({"tuning": {"target": "letters", "size": 10, "learning_rate": [1e-5, 1e-3], "trials": 10**12}}, "tuning.trials",
     ("less than or equal to 10000",)),
    ({"tuning": {"target": "letters", "size": 10, "learning_rate": [1e-5, 1e-3], "trials": 9_999, "seeds": [*range(99)]}},
     "tuning.trials", ("the search has 989,901 trials", "at most 100,000")),
    ({"tuning": {"target": "digits", "size": 10, "learning_rate": [1e-5, 1e-3]}, "targets": ["letters", "digits"]},
     "tuning.target", ("'digits' is one of the sweep's targets",)),
    ({"sizes": [*range(1, 1001)], "seeds": [*range(1000)], "targets": ["digits"] * 1000}, "targets",
     ("1,000 targets x 1,000 sizes x 1,000 seeds has 1,000,000,000 points, and at most 1,000,000",)),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "words"), WRONG, ids=[f"{key}-{i}" for i, (_, key, _) in enumerate(WRONG)])
def test_a_wrong_value_is_named_with_its_file_and_key(
    tmp_path: Path, changes: dict[str, Any], key: str, words: tuple[str, ...]
):
    data = {name: value for name, value in {**LEAST, **changes}.items() if value is not None}
    path = write(tmp_path, yaml.safe_dump(data))
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert key in message.removeprefix(path)
    if "unknown key" not in words:
        assert message.startswith(f"{path}: {key}: ")
    for part in words:
        assert part in message


def test_a_list_with_wrong_entries_only_is_not_reported_as_too_short(tmp_path: Path):
    assert refused(write(tmp_path, yaml.safe_dump({**LEAST, "sizes": [0]}))).endswith(
        "sizes.0: must be greater than or equal to 1, got 0"
    )


def problems(path: str) -> tuple[str, ...]:
    with pytest.raises(UserErrors) as caught:
        load_spec(path)
    assert [line for line in caught.value.problems if "\n" in line] == []
    return caught.value.problems


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path):
    text = """
name: '2024'
domains: {letters: digits, "two words": shapes}
sources: [leters, numerals, [letters, letters]]
targets: [digits, digitz]
sizes: [0, 50, -1]
strategies: [scrach, finetune, "freeze-d[block=1]"]
augmentation: [blur]
trainig: {steps: 3}
stopping: {keep: 2, metric: fed}
"""
    path = write(tmp_path, text)
    keys = (
        "sources.2", "sizes.0", "sizes.2", "strategies.0", "strategies.2", "augmentation.0", "stopping.keep", "stopping.metric",
        "unknown key 'trainig'", "domains: 'letters' is a name of", "domains: name 'two words' is not", "name: '2024'",
        "sources.0: unknown domain 'leters'", "targets.1: unknown domain 'digitz'",
    )  # fmt: skip
    lines = problems(path)
    assert [line for line in lines if not line.startswith(f"{path}: ")] == []
    found = {key: [line for line in lines if line.startswith(f"{path}: {key}")] for key in keys}
    assert {key: len(of) for key, of in found.items()} == dict.fromkeys(keys, 1)
    assert len(lines) == len(keys)


def test_settings_that_do_not_fit_together_are_reported_at_once(tmp_path: Path):
    together = {
        "gan": {"family": "dcgan", "resolution": 8}, "training": {"steps": 10}, "strategies": ["scratch", "freeze-d[blocks=9]"],
        "stopping": {"metric": "fid_raw"},
        "tuning": {"target": "letters", "size": 10, "learning_rate": [1e-5, 1e-3], "steps": [20]},
    }  # fmt: skip
    lines = problems(write(tmp_path, yaml.safe_dump({**LEAST, **together})))
    for key in (
        "gan.family: dcgan",
        "strategies.1: strategy 'freeze-d",
        "stopping.metric: fid_raw",
        "tuning.steps: 20 exceeds",
    ):
        assert sum(f".yaml: {key}" in line for line in lines) == 1, key
    assert len(lines) == 4
    wrong = {**together, "name": 7, "sizes": [0, 50], "conditional": ["maybe"], "gan": {"family": "dcgan", "width": "four"}}
    wrong["tuning"] = {"size": "x", "steps": [400]}
    lines = problems(write(tmp_path, yaml.safe_dump({**LEAST, **wrong})))
    for words in ("a gradient penalty is taken per image", "set evaluation.raw to true", "gan.width: ", "name: ", "sizes.0: "):
        assert sum(words in line for line in lines) == 1, words
    assert not [line for line in lines if "blocks" in line], "what an option fits is unknown without the width"
    assert not [line for line in lines if "exceeds" in line], "so are the steps of a search that is wrong itself"
    section = {"gan": {"resolution": 20, "mapping": 4, "width": 0}, "training": {"images": 9, "steps": 9, "penalty_every": 2}}
    lines = problems(write(tmp_path, yaml.safe_dump({**LEAST, **section, "strategies": ["scrach", "lora[rank=999]"]})))
    keys = ("gan.width", "gan.resolution", "gan.mapping", "training.images", "training.penalty_every", "strategies.0")
    assert sorted(line.split(": ")[1] for line in lines) == sorted(keys), "what lora fits is unknown without the width"
    lines = problems(write(tmp_path, yaml.safe_dump({**LEAST, "strategies": ["scrach", "lora[rank=999]"]})))
    assert [line.split(": ")[1] for line in lines] == ["strategies.0", "strategies.1"], "entries keep their numbers"


#: Eight lists of ten, each of the one before: a hundred million entries.
BOMB = "sizes: [" + "".join(f"&a{i} [{', '.join([f'*a{i - 1}' if i else '1'] * 10)}], " for i in range(8)) + "]\n"


@pytest.mark.parametrize(("text", "words"), [
    ("", "mapping"),
    ("# nothing\n", "mapping"),
    ("- name: t\n", "mapping with keys such as name"),
    ("just words\n", "mapping"),
    ("name: t\nsizes: [1,\nseeds: 0\n", "line 4 is not YAML"),
    ("name: t\n\tsizes: 1\n", "line 2 is not YAML"),
    ("name: t\nname\n", "is not YAML"),
    ("name: t\nsizes: [010]\n", "line 2: 010 is the number 8 in YAML; write 8, or '010' for a text"),
    ("sizes: [0x10]\n", "line 1: 0x10 is the number 16"),
    ("sizes: [0b11]\n", "line 1: 0b11 is the number 3"),
    ("sizes: [1:30]\n", "line 1: 1:30 is the number 90"),
    ("stopping: {keep: 0:30.5}\n", "line 1: 0:30.5 is the number 30.5"),
    ("name: 01\n", "line 1: 01 is the number 1 in YAML; write 1, or '01' for a text"),
    (f"sizes: [{'1, ' * 50_000}]\n", "more than 100,000 characters"),
    (BOMB, "line 1: with its aliases written out it has more than 100,000 entries"),
    ("sizes: &a [1, *a]\n", "line 1: an alias contains itself"),
    ("name: \0\n", "is not YAML"),
    ("name: 2024-13-45\n", "is not YAML"),
    ("name: t\nsizes: [5]\nsizes: [50]\n", "line 3 is not YAML: key 'sizes' is repeated"),
    ("name: t\ngan:\n  width: 4\n  width: 8\n", "line 4 is not YAML: key 'width' is repeated"),
    (f"seeds: [{'9' * 5000}]\n", "is not YAML"),
    (f"seeds: {'[' * 1000}\n", "is not YAML"),
], ids=[
    "empty", "comment", "list", "words", "bracket", "tab", "key", "octal", "hexadecimal", "binary", "sixties", "sixties.5",
    "a name", "long", "a bomb", "a circle", "nul", "no date", "twice", "twice below", "huge", "deep"
])  # fmt: skip
def test_a_file_that_is_no_yaml_mapping_is_refused_with_the_line(tmp_path: Path, text: str, words: str):
    path = write(tmp_path, text)
    message = refused(path)
    assert message.startswith(f"{path}:")
    assert words in message


def test_aliases_and_decimal_numbers_are_read(tmp_path: Path):
    text = f"{yaml.safe_dump(LEAST)}seeds: &seeds [0, 1_000, 7]\npretrain: {{seeds: *seeds}}\n"
    spec = load_spec(write(tmp_path, text))
    assert spec.seeds == spec.pretrain.seeds == (0, 1000, 7)


@pytest.mark.parametrize("name", ["01", "7", "1e5", "2024-01-31", "1.5", "0x1F", "1-2_3"])
def test_a_name_that_other_programs_read_as_a_number_is_refused(tmp_path: Path, name: str):
    message = refused(write(tmp_path, yaml.safe_dump({**LEAST, "name": name})))
    assert f"name: {name!r} looks like a number or a date" in message
    assert f"e.g. sweep-{name}" in message
    assert SweepSpec.model_validate({**LEAST, "name": name}).name == name, "an older store's plan can be read"


@pytest.mark.parametrize("name", ["a1", "1a", "e1", "2024-letters", "0xg"])
def test_a_name_with_a_letter_is_accepted(tmp_path: Path, name: str):
    assert load(tmp_path, {"name": name}).name == name


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system"])
def test_yaml_with_code_runs_nothing(tmp_path: Path, tag: str):
    path = write(tmp_path, f"{yaml.safe_dump(LEAST)}seeds: {tag} ['touch {tmp_path / 'pwned'}']\n")
    assert "line 8 is not YAML" in refused(path)
    assert "is not YAML" in refused("quickstart", f"seeds={tag} ['touch {tmp_path / 'pwned'}']")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["sweep.yaml"]


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path):
    missing = str(tmp_path / "none.yaml")
    assert missing in refused(missing)
    assert "quickstart" in refused(missing)
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert f"sweep file {str(folder)!r} cannot be read" in refused(str(folder))
    picture = tmp_path / "picture.yaml"
    picture.write_bytes(b"\x89PNG\xff\xfe")
    assert f"sweep file {str(picture)!r} is not UTF-8 text" in refused(str(picture))


@pytest.mark.parametrize("name", ["quickstar", "Quickstart", "quick-start"])
def test_an_unknown_preset_suggests_the_nearest(name: str):
    message = refused(name)
    assert f"unknown preset {name!r}; did you mean quickstart" in message
    assert ".yaml" in message


@pytest.mark.parametrize(("override", "words"), [
    ("training.steps", ("--set 'training.steps'", "key=value", "--set training.steps=100")),
    ("=3", ("--set '=3'", "key=value")),
    ("", ("--set ''", "key=value")),
    ("name.first=x", ("--set name.first", "'name' is not a section")),
    ("sources.0=letters", ("--set sources.0", "'sources' is not a section")),
    ("training.steps.more=1", ("--set training.steps.more", "'steps' is not a section")),
    ("sizes=[1", ("--set sizes", "'[1'", "not YAML")),
    ("gan={width: 4, width: 8}", ("--set gan", "width: 8", "not YAML")),
    ("name=2024-13-45", ("--set name", "'2024-13-45'", "not YAML")),
    ("training.steps=", ("preset quickstart: training.steps: ", "must be a whole number", "got nothing")),
    ("training.step=3", ("preset quickstart: unknown key 'training.step'", "did you mean training.steps")),
    ("trainin.steps=3", ("preset quickstart: unknown key 'trainin'", "did you mean training")),
    ("sizes=50", ("preset quickstart: sizes: ", NOT_LIST, "got 50")),
    ("gan=16", ("preset quickstart: gan: ", "section of keys", "got 16")),
])  # fmt: skip
def test_a_wrong_override_is_named(override: str, words: tuple[str, ...]):
    message = refused("quickstart", override)
    for part in words:
        assert part in message


def test_a_budget_may_be_given_in_images():
    sections = ["training.batch=8", "training.critic_steps=2"]
    spec = load_spec("quickstart", [*sections, "training={batch: 8, critic_steps: 2, images: 1601}", "pretrain={images: 160}"])
    assert (spec.training.steps, spec.training.images) == (101, None)
    assert (spec.pretrain.steps, spec.pretrain.images) == (10, None)
    assert SweepSpec.model_validate(as_mapping(spec)) == spec, "the store's record of it can be read"
    same = load_spec("quickstart", ["training={batch: 8, critic_steps: 2, steps: 101}"])
    assert same.training == spec.training


@pytest.mark.parametrize(("overrides", "words"), [
    (["training.images=1000"], "training.images: this and steps are both budgets; set one of them"),
    (["pretrain.images=1000"], "pretrain.images: this and steps are both budgets; set one of them"),
    (["training.loss=hinge", "training.gradient_penalty=1"], "training.gradient_penalty: does not go with the hinge loss"),
    (["gan.family=style"], "set training.loss to non-saturating, as its paper did, or to hinge"),
    (["training.path_length=2"], "training.path_length: is about the styles of gan.family style or style-bilinear, and"),
    (["gan.family=dcgan"], "set training.loss to hinge, or to non-saturating with training.gradient_penalty 0"),
    (["gan.family=resent"], "gan.family: must be 'resnet', 'sngan', 'dcgan', 'fast', 'style' or 'style-bilinear'"),
    (["training.crop=8"], "training.crop: 8 is not less than gan.resolution 8"),
    (["stopping.metric=fid_raw"], "set evaluation.raw to true"),
    (["stopping.metric=fid_selection"], "set evaluation.selection, e.g. 0.3"),
    (["stopping.metric=kid_raw", "evaluation={raw: true, selection: 0.3}"], "is not measured on the images of"),
    (["evaluation.selection=0.6"], "evaluation.selection: must be less than or equal to 0.5"),
    (["training.precision=fp8"], "training.precision: must be 'float32' or 'bf16'"),
    (["strategies=['finetune[from=labels]']"], "write e.g. finetune[from=unconditional]"),
    (["strategies=['scratch[from=conditional]']"], "unknown option 'from'. Known: lecam, rate"),
    (["strategies=['finetun[from=conditional]']"], "did you mean finetune"),
])  # fmt: skip
def test_incompatible_settings_are_refused_with_the_fix(overrides: list[str], words: str):
    assert words in refused("quickstart", *overrides)


def test_a_grid_of_more_than_a_hundred_thousand_points_is_accepted():
    spec = SweepSpec.model_validate({**LEAST, "sizes": list(range(1, 251)), "seeds": list(range(450))})
    assert len(spec.sizes) * len(spec.seeds) == 112_500


def test_choices_are_by_the_images_set_apart_for_them():
    spec = load_spec("quickstart", ["evaluation.selection=0.3"])
    assert spec.stopping.metric == "fid_selection"
    assert SweepSpec.model_validate(as_mapping(spec)) == spec


@pytest.mark.parametrize("overrides", [
    ["gan.family=dcgan", "training.loss=hinge"],
    ["gan.family=dcgan", "training.loss=non-saturating", "training.gradient_penalty=0"],
    ["gan.family=sngan", "training.loss=hinge"],
    ["stopping.metric=kid_raw", "evaluation.raw=true"],
])  # fmt: skip
def test_compatible_settings_are_accepted(overrides: list[str]):
    spec = load_spec("quickstart", overrides)
    assert (spec.training.loss == "hinge") == (spec.training.gradient_penalty == 0.0 and "non-saturating" not in overrides[1])


def test_a_sweep_for_another_machine_names_its_embedding_as_the_file_does_with_and_without_weights():
    spec = load_spec("full-grid", plan_only=True)
    assert as_mapping(spec)["evaluation"]["embedding"] == "inception"
