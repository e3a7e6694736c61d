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


def verbs(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command of every verb, those of groups included."""
    for name, verb in getattr(command, "commands", {}).items():
        yield (*path, name), verb
        yield from verbs(verb, *path, name)


VERBS = dict(verbs(typer.main.get_command(app)))


def test_these_are_the_verbs():
    assert {" ".join(words) for words in VERBS} == {
        "run", "tune", "confirm", "plan", "simulate", "status", "report", "recommend", "compare", "strategies", "distances",
        "evaluate", "replay", "generate", "import", "domains", "domains preview", "domains show", "domains prepare", "store",
        "store check", "store compact", "store merge", "submit", "logs", "cancel",
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
    example = shlex.split(VERBS[words].epilog.removeprefix("Example: "))
    assert example[: len(words) + 1] == ["transfergan", *words]
    context = VERBS[words].make_context(words[-1], example[len(words) + 1 :])
    assert context.params is not None
    assert not context.args


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
    ("transfergan dom", ["domains"]), ("transfergan store ", ["check", "compact", "merge"]),
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


def test_the_completion_script_of_bash_calls_this_protocol():
    script = call("--show-completion", "bash").stdout
    assert "_TRANSFERGAN_COMPLETE=complete_bash" in script
    assert "complete -o default -F _transfergan_completion transfergan" in script


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [
    "--help", "plan --store {store}", "status --store {sweep}", "report --store {store} --out p.html",
    "store compact --store {sweep}", "store check --store {sweep}",
    "domains", "domains preview digits --out d.png", "run nosuch", "generate --trial zz --out x --store {store}",
])  # fmt: skip
def test_verbs_that_train_nothing_import_neither_torch_nor_ray(tmp_path: Path, quickstart: Path, arguments: str):
    if "{sweep}" in arguments:
        sweep_store(tmp_path / "sweep")
    words = arguments.format(store=quickstart, sweep=tmp_path / "sweep").split()
    done = process(*words, cwd=tmp_path, script=DRIVER)
    assert done.returncode == (2 if words[0] == "generate" or "nosuch" in words else 0), done.stderr
    (loaded,) = (line for line in done.stderr.splitlines() if line.startswith("loaded: "))
    assert loaded.replace(" pandas", "") == "loaded: typer"
