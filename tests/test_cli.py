"""The command line without training: help, answers from a store, and one line for every mistake."""

import io
import json
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from bench.cli import app, main
from bench.cli.options import default_report
from bench.outcomes import outcome_row
from bench.plan import Plan, make_plan, trial_columns
from bench.spec import SweepSpec, as_mapping, load_spec
from bench.store import SCHEMA_VERSION, Store, open_store
from tests.synthetic import build
from tests.timed import seconds, write
from trainers.domains import get
from trainers.evaluation.comparison import METRICS
from trainers.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[1]
SPEC: dict[str, Any] = {
    "name": "small",
    "sources": ["letters", "shapes"],
    "targets": ["digits"],
    "sizes": [10, 20],
    "strategies": ["scratch", "finetune"],
    "stopping": {"protect_strategies": False},
}


def process(*arguments: str, cwd: Path, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    start = [sys.executable, "-m", "bench.cli"] if script is None else [sys.executable, "-c", script]
    return subprocess.run(
        [*start, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def call(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def tree(folder: Path) -> dict[str, int]:
    """Return every file and folder below a folder, with when it was changed."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def pictures(folder: Path, count: int) -> Path:
    """Write different images into a folder."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{i:02d}.png")
    return folder


def sweep_store(folder: Path, **changes: Any) -> tuple[Store, Plan]:
    """Return a new store that knows a sweep, and the sweep's plan."""
    spec = SweepSpec.model_validate({**SPEC, **changes})
    plan, store = make_plan(spec), open_store(str(folder), create=True)
    store.write_sweep(spec.name, {"spec": as_mapping(spec), "trials": [trial_columns(trial) for trial in plan.trials]})
    return store, plan


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of the size of a quickstart's."""
    folder = tmp_path_factory.mktemp("synthetic") / "store"
    build(folder)
    return folder


# -- help ---------------------------------------------------------------------------------------------------------------


def verbs(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb and sub-verb: its words and its command."""
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name), below
        yield from verbs(below, *path, name)


VERBS = dict(verbs(typer.main.get_command(app)))


def test_these_are_the_verbs():
    assert {" ".join(words) for words in VERBS} == {
        "run", "tune", "plan", "simulate", "status", "report", "recommend", "compare", "strategies", "distances", "evaluate",
        "replay", "generate", "import", "domains", "domains preview", "domains show", "domains prepare", "store", "store check",
        "store compact", "store merge", "submit", "logs", "cancel",
    }  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(words: tuple[str, ...]):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    said = " ".join(result.stdout.split())
    assert f"Usage: transfergan {' '.join(words)} " in said
    assert f"Example: transfergan {' '.join(words)}" in said


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_examples_options_parse(words: tuple[str, ...]):
    example = shlex.split(VERBS[words].epilog.removeprefix("Example: "))
    assert example[: len(words) + 1] == ["transfergan", *words]
    context = VERBS[words].make_context(words[-1], example[len(words) + 1 :])
    assert context.params is not None
    assert not context.args


def test_help_lists_every_verb_and_comes_without_one():
    for arguments in (["--help"], []):
        said = call(*arguments).output
        for verb, *_ in VERBS:
            assert f" {verb} " in said


def test_a_misspelt_verb_option_or_number_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for arguments, said in {
        "ruin": "No such command 'ruin'",
        "run --cpu 2": "No such option: --cpu",
        "run --cpus 0": "--cpus",
        "run --cpus many": "--cpus",
        "run --retry all": "--retry",
        "run quickstart extra": "extra",
        "plan --bogus": "No such option: --bogus",
        "status store": "store",
        "generate --out x": "--trial",
        "generate --trial a --out x -n 0": "-n",
        "generate --trial a --out x --seed -1": "--seed",
        "domains bogus": "No such command 'bogus'",
        "domains preview digits": "--out",
        "domains preview --out x.png": "name",
        "domains preview digits --out x.png --resolution 3": "--resolution",
    }.items():
        result = call(*arguments.split())
        assert result.exit_code == 2, arguments
        assert result.stdout == "", arguments
        assert said.lower() in result.stderr.lower(), arguments
        assert "Traceback" not in result.stderr
    assert tree(tmp_path) == {}


# -- what it loads ------------------------------------------------------------------------------------------------------

#: Runs the command line, then says on stderr which of the modules are loaded; typer, to show that it would say so.
DRIVER = """
import sys
from bench.cli import main
try:
    main()
finally:
    print("loaded:", *sorted({"ray", "torch", "torchvision", "typer"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [
    "--help", "plan --store {store}", "status --store {sweep}", "report --store {store} --out p.html",
    "store compact --store {sweep}", "store check --store {sweep}",
    "domains", "domains preview digits --out d.png", "run nosuch", "generate --trial zz --out x --store {store}",
])  # fmt: skip
def test_neither_torch_nor_ray_is_loaded_where_nothing_is_trained(tmp_path: Path, synthetic: Path, arguments: str):
    if "{sweep}" in arguments:
        sweep_store(tmp_path / "sweep")
    words = arguments.format(store=synthetic, sweep=tmp_path / "sweep").split()
    done = process(*words, cwd=tmp_path, script=DRIVER)
    assert done.returncode == (2 if words[0] == "generate" or "nosuch" in words else 0), done.stderr
    assert "loaded: typer" in done.stderr.splitlines()


# -- mistakes -----------------------------------------------------------------------------------------------------------

#: Each in a folder with the file `f`, the empty folder `empty`, the folder `others` with a file in it, the store `newer` of a
#: newer schema, the store `torn` with a plan that is cut short, and the sweep files `broken.yaml`, `list.yaml` and
#: `folder.yaml` (a folder). {store} is a finished store, {key} one of its trials, {prefix} the start of several.
MISTAKES = [
    ("run quickstar", "unknown preset 'quickstar'; did you mean quickstart"),
    (f"run {'long' * 80}.yaml", "File name too long"),
    (f"report --store {'long' * 80}", "File name too long"),
    ("run none.yaml", "there is no sweep file 'none.yaml'"),
    ("run folder.yaml", "sweep file 'folder.yaml' cannot be read"),
    ("run broken.yaml", "broken.yaml: line 3 is not YAML"),
    ("run list.yaml", "list.yaml: a sweep file is a mapping"),
    ("run --set training.stepps=3", "unknown key 'training.stepps'; did you mean training.steps"),
    ("run --set training.steps", "--set 'training.steps' is not of the form key=value"),
    ("run --set targets=[digitz]", "unknown domain 'digitz'; did you mean digits"),
    ("run --set targets=[folder:none]", "none': there is no such folder"),
    ("run --set sources=[folder:empty]", "empty' holds no images"),
    ("run --set sources=[folder:f]", "f' is a file; name the folder"),
    ("run --set sources=[]", "sources: the list is empty"),
    ("run --store f", "store 'f' is a file; name a directory"),
    ("run --store f/below", "store 'f/below' cannot be"),
    ("run --store /proc/transfergan", "store '/proc/transfergan' cannot be"),
    ("run --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("run --store others", "store 'others' is a directory with other files"),
    ("run --store gopher://host/store", "store 'gopher://host/store' cannot be opened"),
    ("simulate --gpus 1,0", "--gpus: '1,0' is not a list of numbers of 1 and more; write them as in --gpus 1,8,64"),
    ("plan --json --set sizes=[0]", "preset quickstart: sizes.0: input should be greater than or equal to 1, got 0"),
    ("plan --store f", "store 'f' is a file"),
    ("run --max-cost 5", "--max-cost is in the currency of --price; give that too"),
    ("plan --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("plan --store others", "there is no store at 'others'"),
    ("status --store none", "there is no store at 'none'; `transfergan run` makes one, --store names another"),
    ("status --store newer", f"this transfergan reads schema {SCHEMA_VERSION}; upgrade"),
    ("status --store {store} --sweep quickstat", "unknown sweep 'quickstat'; did you mean quickstart"),
    ("report --store none", "there is no store at 'none'"),
    ("report --store f", "store 'f' is a file"),
    ("report --store empty", "there is no store at 'empty'"),
    ("report --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("report --store {store} --sweep quickstat", "unknown sweep 'quickstat'; did you mean quickstart"),
    ("report --store {store} --out f/below/page.html", "report 'f/below/page.html' cannot be written"),
    ("generate --store none --trial a --out images", "there is no store at 'none'"),
    ("generate --store {store} --trial zz --out images", "--trial 'zz': there is none in store"),
    ("generate --store {store} --trial {prefix} --out images", "--trial '{prefix}': {several} trials start so, e.g. {prefix}"),
    ("generate --store {store} --trial {key} --out images", "trial {key} has left no checkpoint"),
    ("run --set evaluation.embedding=custom:none.pt", "none.pt': there is no file"),
    ("run --set evaluation.embedding=inception:none.pt", "needs its weights, and there is no file"),
    ("plan --set evaluation.embedding=inceptoin", "unknown embedding 'inceptoin'; did you mean inception"),
    ("distances --set evaluation.embedding=clip:none.pt", "needs its weights"),
    ("distances --store f", "store 'f' is a file"),
    ("strategies quickstar", "unknown preset 'quickstar'; did you mean quickstart"),
    ("plan --set strategies=['freeze-d[blocks=9]']", "blocks is 9, and the critic of gan.family resnet at 16 pixels has 2"),
    ("plan --set strategies=['freeze-g[blocks=3]']", "blocks is 3, and the generator of gan.family resnet at 16 pixels has 2"),
    ("plan --set strategies=['freeze-low[blocks=3]']", "give at most 2"),
    ("plan --set strategies=['freeze-d[blocks=two]']", "blocks must be a whole number, 1 or more, got 'two'"),
    ("plan --set strategies=['freeze-d[block=2]']", "unknown option 'block'; did you mean blocks"),
    ("plan --set strategies=['lora[rank=64]']", "rank is 64, and no convolution has more than 32 channels"),
    ("plan --set strategies=['ewc[weight=-1]']", "weight must be a number, 0 or more, got '-1'"),
    ("plan --set strategies=['mine[share=1.5]']", "share must be a number, 0 to 1, got '1.5'"),
    ("plan --set augmentation=[adda]", "unknown augmentation 'adda'; did you mean ada"),
    ("plan --set augmentation=['ada[target=2]']", "target must be a number, 0 to 1, got '2'"),
    ("plan --set augmentation=[]", "augmentation: tuple should have at least 1 item"),
    ("plan --set strategies=['l2-sp[weight]']", "'weight' is not of the form option=value"),
    ("evaluate --images none --against digits", "none': there is no such folder"),
    ("evaluate --images empty --against digits", "transfergan: --images: domain 'folder:"),
    ("evaluate --images empty --against digitz", "unknown domain 'digitz'; did you mean digits"),
    ("evaluate --images empty --against digits --resolution 65", "'digits' can be had at 8 to 64 pixels, not at 65"),
    ("evaluate --images empty --against digits --metrics fidd", "unknown metric 'fidd'; did you mean fid"),
    ("evaluate --images empty --against digits --metrics iw --resolution 48", "--metrics iw: its critic takes a --resolution"),
    ("evaluate --images empty --against digits --embedding inception --weights none.pt", "place inception-2015-12-05.pt there"),
    ("evaluate --images empty --against digits --weights f", "--weights goes with --embedding inception or clip"),
    ("evaluate --images empty --against digits --embedding custom:f", "must end in .pt (TorchScript)"),
    ("replay --store none", "there is no store at 'none'"),
    ("replay --store {store}", "there is no cell to replay"),
    ("replay --store {store} --keep 0", "--keep: Input should be greater than 0"),
    ("replay --store {store} --metric iou", "--metric: Input should be 'fid'"),
    ("recommend --store none --target digits", "there is no store at 'none'"),
    ("recommend --store {store} --target digitz", "unknown domain 'digitz'; did you mean digits"),
    ("recommend --store {store} --target folder:none", "none': there is no such folder"),
    ("recommend --store {store} --target folder:empty", "empty' holds no images"),
    ("recommend --store torn --target digits", "sweeps/small.json in store 'torn' is damaged"),
    ("store check --store none", "there is no store at 'none'"),
    ("store check --store f", "store 'f' is a file"),
    ("store check --store newer --json", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("compare none {store}", "there is no store at 'none'"),
    ("compare {store} f", "store 'f' is a file"),
    ("compare {store} torn", "sweeps/small.json in store 'torn' is damaged"),
    ("store merge none --store {store}", "there is no store at 'none'"),
    ("store merge {store} --store f", "store 'f' is a file"),
    ("store merge {store} --store others", "store 'others' is a directory with other files"),
    ("store merge newer --store {store}", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("store compact --store none", "there is no store at 'none'"),
    ("store compact --store others", "there is no store at 'others'"),
    ("store compact --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("status --store torn", "sweeps/small.json in store 'torn' is damaged; `transfergan run` with its sweep file writes it"),
    ("report --store torn", "sweeps/small.json in store 'torn' is damaged"),
    ("replay --store torn", "sweeps/small.json in store 'torn' is damaged"),
    ("generate --store torn --trial a --out images", "sweeps/small.json in store 'torn' is damaged"),
    ("domains preview digitz --out d.png", "unknown domain 'digitz'; did you mean digits"),
    ("domains preview folder:none --out d.png", "none': there is no such folder"),
    ("domains preview folder:empty --out d.png", "empty' holds no images"),
    ("domains preview zip:f --out d.png", "f is not a whole zip archive"),
    ("domains preview tar:none*.tar --out d.png", "there is no such file"),
    ("domains preview parquet:f --out d.png", "f is not a whole Parquet file"),
    ("plan --set targets=['folder:empty']", "empty' holds no images"),
    ("plan --set sources=[[letters,letters]]", "sources.0: a mixture names domain 'letters' twice; name it once"),
    ("plan --set sources=[letters->]", "sources.0: source 'letters->' lacks a domain"),
    ("plan --set sources=[letters->numeralz]", "unknown domain 'numeralz'; did you mean numerals"),
    ("domains preview folder: --out d.png", "domain 'folder:' lacks its path"),
    ("domains preview digits --resolution 65 --out d.png", "'digits' can be had at 8 to 64 pixels, not at 65"),
    ("report --out p.txt", "--out 'p.txt' must end in .html or .pdf or .md"),
    ("report --out p.html --format pdf", "--out 'p.html' must end in .pdf, as --format says"),
    ("domains preview digits --out f/below/d.png", "'f/below/d.png' cannot be written"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[arguments[:60] for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_status_2_and_leaves_nothing_behind(
    tmp_path: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str,
    said: str,
):  # fmt: skip
    (tmp_path / "f").touch()
    (tmp_path / "broken.yaml").write_text("name: t\nsizes: [1\n  x: 2")
    (tmp_path / "list.yaml").write_text("- name: t\n")
    open_store(str(tmp_path / "torn"), create=True).write_file("sweeps/small.json", b'{"spec": {')
    for folder in ("empty", "others", "newer", "folder.yaml"):
        (tmp_path / folder).mkdir()
    (tmp_path / "others" / "thesis.tex").touch()
    (tmp_path / "newer" / "store.json").write_text(json.dumps({"schema": SCHEMA_VERSION + 1}))
    keys = sorted(row["key"] for row in open_store(str(synthetic)).read_sweeps()["quickstart"]["trials"])
    first = next(key[0] for key, after in zip(keys, keys[1:], strict=False) if key[0] == after[0])
    several = sum(key.startswith(first) for key in keys)
    names = {"store": synthetic, "key": keys[0], "prefix": first, "several": several}
    before = tree(tmp_path), tree(synthetic)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["transfergan", *arguments.format(**names).split()])
    with pytest.raises(SystemExit) as ended:  # in this process: another would take two seconds for each
        main()

    done = capsys.readouterr()
    assert ended.value.code == 2, done
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("transfergan: ")
    assert said.format(**names) in line
    assert (tree(tmp_path), tree(synthetic)) == before


# -- answers ------------------------------------------------------------------------------------------------------------


def test_plan_counts_what_a_sweep_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SPEC))
    before = tree(tmp_path)
    done = process("plan", "small.yaml", "--json", cwd=tmp_path)
    # 2 sources x 2 sizes x 2 strategies = 8 points; scratch 2 instead of 4
    unknown = (
        "how long trials take is unknown: the store has none on a CPU in embedding 'builtin'; "
        "transfergan run SPEC --max-hours 0.1 measures the first"
    )
    counts = {"trials": 8, "pretrain": 2, "adapt": 6, "collapsed": 2, "done": 0}
    unmeasured = {"unit": "slot-hours", "estimates": [], "unknown": unknown}
    assert json.loads(done.stdout) == {**counts, **unmeasured}
    assert list(json.loads(done.stdout)) == [*counts, *unmeasured]
    assert (done.returncode, done.stderr) == (0, "")

    said = call("plan", "small.yaml").stdout.splitlines()
    assert [line.partition("  ")[0] for line in said[:-2]] == list(make_plan(SweepSpec.model_validate(SPEC)).by_key)
    assert said[0].endswith("pretrain letters, 400 steps")
    assert said[3].endswith("finetune letters -> digits, 10 images, seed 0, 200 steps")
    assert said[-2:] == [
        "8 trials: 2 sources to pre-train, 6 adaptations in 2 cells (2 duplicates collapsed); 0 are in the store already",
        unknown,
    ]
    assert tree(tmp_path) == before

    counts = json.loads(call("plan", "small.yaml", "--json", "--set", "seeds=[0, 1]", "--set", "sources=[shapes]").stdout)
    assert counts == {"trials": 9, "pretrain": 1, "adapt": 8, "collapsed": 0, "done": 0, **unmeasured}


def test_plan_counts_what_is_done_stopped_or_diverged_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SPEC))
    store, plan = sweep_store(tmp_path / "store")
    letters, shapes, scratch_10, letters_10, _, scratch_20, letters_20, _ = plan.trials
    outcomes = {letters.key: "done", shapes.key: "diverged", scratch_10.key: "done", letters_10.key: "failed"}
    store.append("trials", "small", [outcome_row(plan.by_key[key], status, "e") for key, status in outcomes.items()])
    # What starts from shapes is blocked, so at 20 images these two are the whole cell, and one of them stops.
    for trial, value in ((scratch_20, 9.0), (letters_20, 1.0)):
        row = {"trial": trial.key, "step": 50, "metric": "fid", "embedding": "e", "value": value}
        store.append("measurements", "small", [row])
    before = tree(tmp_path)
    assert json.loads(call("plan", "small.yaml", "--json").stdout)["done"] == 4
    assert json.loads(call("plan", "small.yaml", "--json", "--store", "elsewhere").stdout)["done"] == 0
    assert tree(tmp_path) == before


def test_simulate_says_what_a_sweep_takes_on_more_gpus_even_of_data_sets_that_are_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path / "none"))
    networks = {"gan": {"resolution": 64, "width": 64}, "training": {"steps": 80, "batch": 16, "critic_steps": 5}}
    measured = {"evaluation": {"samples": 10000, "first_rung": 10}, "resources": {"gpus": 1}}
    store, plan = sweep_store(tmp_path / "store", **networks, **measured)
    write(store, plan, device="H100")
    full = ("simulate", "full-grid", "--set", "evaluation.embedding=builtin", "--gpus", "1,64")
    said = json.loads(call(*full, "--json").stdout)
    assert (said["points"], said["trials"], said["collapsed"]) == (4 * 4 * 7 * 4 * 3, 979, 369)
    cells = 4 * 7 - 3  # the whole of Flowers comes three times, and that of Cityscapes twice
    spec = load_spec("full-grid", ["evaluation.embedding=builtin"])
    source, adapt = 4 * (3 + 50000 + 2 * 6 + 4), cells * 39 * (3 + 12500 + 2 * 4 + 4)
    assert spec.evaluation.rungs(100_000)[-2:] == (50_000, 100_000)
    assert said["hours"]["collapsed"] * 3600 == pytest.approx(source + adapt)
    by = {(row["gpus"], row["schedule"]): row for row in said["simulations"]}
    assert by[1, "ours"]["makespan_hours"] == pytest.approx(said["hours"]["stopped"])
    assert said["hours"]["naive"] > said["hours"]["sources_once"] > said["hours"]["collapsed"] > said["hours"]["stopped"]
    assert by[64, "ours"]["makespan_hours"] < by[64, "barrier"]["makespan_hours"] < by[64, "naive"]["makespan_hours"]
    assert "1,344 grid points, 979 trials (369 duplicates collapsed)" in call(*full).stdout


def test_plan_says_hours_and_costs_on_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    resources = {"gpus": 0.5}
    Path("small.yaml").write_text(yaml.safe_dump({**SPEC, "sizes": [10, 20, 30], "resources": resources}))
    store, plan = sweep_store(tmp_path / "store", resources=resources)
    write(store, plan, device="H100", factor=lambda trial: 10)
    write(store, make_plan(SweepSpec.model_validate({**SPEC, "seeds": [1], "sources": ["numerals"]})), device="T4")
    said = json.loads(call("plan", "small.yaml", "--json", "--price", "3").stdout)
    assert (said["done"], said["unit"], said["unknown"]) == (8, "GPU-hours", None)
    assert [(each["device"], each["measured"], each["scaled"]) for each in said["estimates"]] == [
        ("H100", 8, False),
        ("T4", 5, False),
    ]
    left = [each["hours"]["left_at_most"]["value"] for each in said["estimates"]]
    truth = 3 * seconds(plan.of_kind("adapt")[0], 200) / 3600 / 2  # of one more cell, half a GPU each
    assert left == pytest.approx([10 * truth, truth])
    assert said["estimates"][1]["cost"]["left_at_most"]["value"] == pytest.approx(3 * truth)
    lines = call("plan", "small.yaml", "--price", "3").stdout.splitlines()
    assert lines[-8].startswith("on H100, by the 8 trials measured there:")
    assert f"left   {truth:.3g} (" in lines[-2]
    assert f"cost   {3 * truth:.3g} (" in lines[-1]


def test_plan_says_what_a_user_should_know_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (pictures(tmp_path / "photos", 20) / "broken.jpg").write_bytes(b"no image")
    result = call("plan", "--set", "targets=['folder:photos']", "--set", "sizes=[5]")
    assert result.exit_code == 0
    assert "note: folder:photos: 1 unreadable images skipped (broken.jpg)" in result.stdout.splitlines()


def test_plan_finds_the_folders_in_mixtures_and_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20)
    for source, said in (("[letters, 'folder:photos']", "photos+letters"), ("'folder:photos -> letters'", "photos -> letters")):
        result = call("plan", "--set", f"sources=[{source}]", "--set", "sizes=[5]")
        assert result.exit_code == 0
        assert f"pretrain {said}, " in result.stdout


def test_status_shows_each_cell_of_each_sweep(tmp_path: Path):
    store, plan = sweep_store(tmp_path / "store")
    sweep_store(tmp_path / "store", name="wider", seeds=[0, 1])
    store.append("trials", "small", [outcome_row(trial, "done", "e", steps=200) for trial in plan.trials])
    rows = [
        {"trial": trial.key, "step": step, "metric": "fid", "embedding": "e", "value": 100.0 + i - step / 10}
        for i, trial in enumerate(plan.of_kind("adapt"))
        for step in (50, 100, 200)
    ]
    store.append("measurements", "small", rows)
    result = call("status", "--store", str(tmp_path / "store"))
    assert result.exit_code == 0
    said = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "small: 8 of 8 trials ended" in said
    assert "wider: 8 of 14 trials ended" in said
    assert "sources 2" in said
    assert "digits, 10 images 3 80 at step 200: scratch" in said
    assert "digits, 20 images 3 83 at step 200: scratch" in said

    alone = call("status", "--store", str(tmp_path / "store"), "--sweep", "wider").stdout
    assert "wider" in alone
    assert "small" not in alone


def test_the_report_of_a_remote_store_goes_where_one_works(s3: str, tmp_path: Path):
    assert default_report(open_store(s3, create=True)) == Path("report.html")
    assert default_report(open_store(str(tmp_path / "store"), create=True)) == tmp_path / "store" / "report.html"


def test_report_writes_the_page_where_it_is_told_or_into_the_store(tmp_path: Path):
    store = build(tmp_path / "store")
    page = tmp_path / "new" / "folder" / "page.html"
    for arguments, expected in (
        (["--out", str(page), "--sweep", "quickstart"], page), ([], Path(store.root) / "report.html"),
    ):  # fmt: skip
        result = call("report", "--store", str(tmp_path / "store"), *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"report: {expected}\n", "")
        assert "With 50 images of digits" in expected.read_text()
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    assert call("report", "--store", store.root, "--format", "md").stdout == f"report: {Path(store.root) / 'report.md'}\n"
    assert "With 50 images of digits" in (Path(store.root) / "report.md").read_text()


def test_evaluate_tells_every_metric_with_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.evaluate.IW_STEPS", 4)
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(get("digits").load("train", 16).images[:40]):
        Image.fromarray(image).save(folder / f"{i}.png")
    arguments = ("evaluate", "--images", str(folder), "--against", "digits", "--resolution", "16")
    found = json.loads(call(*arguments, "--json").stdout)
    assert list(found) == list(METRICS)
    for row in found.values():
        assert set(row) == {"value", "low", "high", "samples"}
        assert row["low"] <= row["value"] <= row["high"]
        assert row["samples"] == 40
    assert found["precision"]["value"] > 0.7
    assert found["memorisation"]["value"] > 0.95, "these are the training images"
    assert found["diversity"]["high"] > 1 > found["diversity"]["low"]
    some = json.loads(call(*arguments, "--metrics", "kid, iw", "--json").stdout)
    assert list(some) == ["kid", "iw"]
    assert some["kid"] == found["kid"]
    assert some["iw"]["steps"] == 4
    said = call(*arguments, "--metrics", "recall").stdout
    assert f"{found['recall']['value']:.4g}" in said


def test_evaluate_takes_an_embedding_of_ones_own_and_needs_enough_images(tmp_path: Path):
    folder = pictures(tmp_path / "images", 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of TorchScript's end
        torch.jit.save(torch.jit.script(Pixels()), str(tmp_path / "pixels.pt"))
    arguments = ("evaluate", "--against", "digits", "--resolution", "8", "--embedding", f"custom:{tmp_path / 'pixels.pt'}")
    found = call(*arguments, "--images", str(folder), "--metrics", "diversity", "--json")
    assert json.loads(found.stdout)["diversity"]["samples"] == 9
    assert "with custom:" in found.stderr
    few = call(*arguments, "--images", str(pictures(tmp_path / "few", 7)))
    assert "has 7 readable images and needs 8 or more" in str(few.exception)


class Pixels(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().flatten(1)


def test_strategies_tells_of_each_what_it_copies_freezes_trains_and_holds():
    said = call("strategies").stdout
    assert "freeze-d: The critic's blocks nearest to the images stay as they are (FreezeD, Mo, Cho & Shin 2020)." in said
    assert "  frozen   critic input blocks.0\n" in said
    assert "  held     0.1 / 2 * sum of (now - source)^2 over what was copied\n" in said
    found = json.loads(call("strategies", "--json", "--set", "strategies=['freeze-d[blocks=2]']").stdout)
    by_name = {each["name"]: each for each in found}
    assert set(by_name) == {*STRATEGIES, "freeze-d[blocks=2]"}
    (phase,) = by_name["freeze-d[blocks=2]"]["phases"]
    assert phase["critic"] == {
        "trained": "all but input blocks.0 blocks.1",
        "frozen": "input blocks.0 blocks.1",
        "parameters": 513,
    }
    assert by_name["finetune"]["parameters"]["critic"] == by_name["finetune"]["phases"][0]["critic"]["parameters"]


def test_strategies_names_those_that_do_not_fit_the_networks():
    changes = ["gan.family=dcgan", "gan.resolution=8", "training.loss=hinge", "strategies=[scratch]"]
    result = call("strategies", *(word for change in changes for word in ("--set", change)))
    assert result.exit_code == 0
    assert "freeze-low: " in result.stdout
    assert "the generator of gan.family dcgan at 8 pixels has 0 that can be kept" in result.stdout


def test_domains_lists_the_built_in_ones_and_how_to_name_a_folder():
    lines = [line.split() for line in call("domains").stdout.splitlines()]
    counts = {line[0]: line[1:4] for line in lines}
    assert list(counts)[:6] == ["name", "letters", "numerals", "shapes", "textures", "digits"]
    assert "folder:PATH" in counts
    assert counts["digits"] == ["1,000", "797", "10"]
    assert counts["letters"] == ["4,000", "1,000", "26"]


@pytest.mark.parametrize(("name", "resolution", "rows"), [
    ("digits", 32, 8), ("letters", 16, 8), ("folder:photos", 32, 2)
])  # fmt: skip
def test_preview_writes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resolution: int, rows: int):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20)  # 16 of them to train on
    result = call("domains", "preview", name, "--resolution", str(resolution), "--out", "sub/grid.png")
    assert (result.exit_code, result.stdout) == (0, f"{name}: sub/grid.png\n")
    with Image.open(io.BytesIO(Path("sub/grid.png").read_bytes())) as picture:
        picture.load()
    assert picture.format == "PNG"
    assert picture.size == (8 * (resolution + 1) - 1, rows * (resolution + 1) - 1)
    assert np.asarray(picture).std() > 10
