"""The command line as a whole: help with an example for every verb, panels, version, completion, and what it imports."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app
from tests.support.command_line import call, process, sweep_store
from tests.support.shapes import documented


def verbs(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command of every verb, those of groups included."""
    for name, verb in getattr(command, "commands", {}).items():
        yield (*path, name), verb
        yield from verbs(verb, *path, name)


VERBS = dict(verbs(typer.main.get_command(app)))


def test_these_are_the_verbs():
    assert {" ".join(words) for words in VERBS} == {
        "run", "tune", "confirm", "continue", "show", "init", "plan", "simulate", "status", "report", "recommend", "compare",
        "strategies", "distances", "evaluate", "measure", "replay", "generate", "export", "import", "domains",
        "domains preview", "domains show", "domains prepare", "embeddings", "embeddings fetch", "store", "store check",
        "store compact", "store list", "store merge", "store prune", "store remove", "store size", "submit", "logs", "cancel",
    }  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(words: tuple[str, ...]):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    output = " ".join(result.stdout.split())
    assert f"Usage: transfergan {' '.join(words)} " in output
    assert f"Example: transfergan {' '.join(words)}" in output


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_examples_options_parse(words: tuple[str, ...]):
    example = shlex.split(VERBS[words].epilog.removeprefix("Example: ").partition(" > ")[0])
    assert example[: len(words) + 1] == ["transfergan", *words]
    context = VERBS[words].make_context(words[-1], example[len(words) + 1 :])
    assert context.params is not None
    assert not context.args


def test_every_verb_with_json_has_a_documented_shape():
    with_json = {" ".join(words) for words, verb in VERBS.items() for option in verb.params if "--json" in option.opts}
    assert with_json == documented().keys()


def test_help_lists_every_verb_in_panels_and_is_shown_without_a_verb():
    for arguments in (["--help"], []):
        output = call(*arguments).output
        for verb, *_ in VERBS:
            assert f" {verb} " in output
        panels = re.findall(r"^╭─ (.*?) ─", output, re.MULTILINE)
        assert panels == ["Options", "Run", "Cluster", "Results", "Data and networks", "Store"]


def test_version_is_the_installed_one():
    assert call("--version").stdout == f"transfergan {version('transfergan')}\n"


#: Runs the command line, then prints on stderr which of some modules are loaded; typer shows that the check works.
DRIVER = """
import sys
from bench.cli import main
try:
    main()
finally:
    print("loaded:", *sorted({"pandas", "ray", "torch", "torchvision", "typer"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "expected"), [
    ("transfergan dom", ["domains"]), ("transfergan store ", ["list", "check", "compact", "merge", "size", "prune", "remove"]),
    ("transfergan run --max", ["--max-hours", "--max-cost"]),
])  # fmt: skip
def test_bash_completes_verbs_and_options_without_importing_pandas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
):
    monkeypatch.setenv("_TRANSFERGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    done = process(cwd=tmp_path, script=DRIVER)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, expected, "loaded: typer\n")


def test_the_completion_script_of_bash_calls_this_protocol(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # a shell need not have started the tests
    script = call("--show-completion", "bash").stdout
    assert "_TRANSFERGAN_COMPLETE=complete_bash" in script
    assert "complete -o default -F _transfergan_completion transfergan" in script


#: Runs several commands one after the other; prints after each its exit status, and which of some modules it was first to load.
DRIVER_OF_MANY = """
import sys
from bench.cli import main
before = set()
for command in sys.argv[1:]:
    sys.argv[1:] = command.split()
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    loaded = {"ray", "torch", "torchvision", "typer"} & set(sys.modules)
    print("ended:", status, *sorted(loaded - before), file=sys.stderr)
    before = loaded
"""

#: Exit statuses by command; only the first loads typer.
LIGHT = {
    "--help": "0 typer", "plan --store {store}": "0", "status --store {sweep}": "0", "report --store {store} --out p.html": "0",
    "store compact --store {sweep}": "0", "store check --store {sweep}": "0",
    "domains": "0", "domains preview digits --out d.png": "0", "run nosuch": "2",
    "generate --trial zz --out x --store {store}": "2",
}  # fmt: skip


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, quickstart: Path) -> dict[str, str]:
    """How each light command ended, run in one new process, which saves the others' start."""
    folder = tmp_path_factory.mktemp("light")
    sweep_store(folder / "sweep")
    commands = [command.format(store=quickstart, sweep=folder / "sweep") for command in LIGHT]
    done = process(*commands, cwd=folder, script=DRIVER_OF_MANY)
    lines = [line.removeprefix("ended: ") for line in done.stderr.splitlines() if line.startswith("ended: ")]
    assert len(lines) == len(LIGHT), done.stderr
    return dict(zip(LIGHT, lines, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("command", LIGHT)
def test_verbs_that_train_nothing_import_neither_torch_nor_ray(ends: dict[str, str], command: str):
    assert ends[command] == LIGHT[command]
