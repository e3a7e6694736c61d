"""What is printed: control characters of names never reach the terminal."""

import logging
import sys
from pathlib import Path

import pytest
from rich.table import Table

from bench.cli import console
from bench.store import open_store
from tests.support.command_line import call

#: Clears the screen, sets the window's title, goes back over the line, and turns the direction of writing.
HOSTILE = "a\x1b[2J\x1b]0;title\x07\rb\x9b1m\u202ec"
SHOWN = r"a\u001b[2J\u001b]0;title\u0007\u000db\u009b1m\u202ec"


def harmless(text: str) -> bool:
    return not set(text) & set("\x1b\x07\r\x9b\u202e\x08")


def test_control_characters_are_escaped_and_lines_and_letters_kept():
    assert console.printable(HOSTILE) == SHOWN
    assert console.printable("two lines\n\tGänseblümchen 菊 🌼 é") == "two lines\n\tGänseblümchen 菊 🌼 é"


def test_tables_texts_and_progress_are_escaped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    console.print_table([{"name": HOSTILE, "n": "1"}], left=("name",))
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    console.show(table)
    console.progress_console().print(HOSTILE)
    console.say(HOSTILE)
    console.say(HOSTILE, err=True)
    out, err = capsys.readouterr()
    assert (out.count(SHOWN), err.count(SHOWN)) == (5, 2)
    assert harmless(out)
    assert harmless(err)


def test_a_table_fits_the_terminal_and_loses_no_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    name, licence = "continue-" + "0123456789abcdef" * 3, "research, non-commercial use only, of the images of the set"
    row = {"name": name, "state": "missing", "licence": licence} | dict.fromkeys(("train", "reference"), "1,234,567")

    def printed(columns: str | None) -> list[str]:
        monkeypatch.setenv("COLUMNS", columns) if columns else monkeypatch.delenv("COLUMNS", raising=False)
        console.print_table([row], left=("name", "state", "licence"), cut="licence")
        return capsys.readouterr().out.splitlines()

    whole = printed(None)
    assert len(whole) == 2, "what is no terminal gets the whole width"
    assert name in whole[1]
    assert licence in whole[1]
    narrow = printed("80")
    assert max(map(len, narrow)) <= 80
    assert "".join(line.split()[0] for line in narrow[1:]) == name
    assert narrow[1].count("1,234,567") == 2
    assert "missing" in narrow[1]
    assert "…" in narrow[1]


def test_errors_and_logs_are_escaped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from bench.cli import _print_error

    _print_error(HOSTILE)
    handler = logging._StderrHandler(logging.WARNING)  # type: ignore[attr-defined]  # as logging.lastResort
    monkeypatch.setattr(logging, "lastResort", handler)
    console.escape_logs()
    record = logging.LogRecord("transfergan", logging.WARNING, "", 0, "%s is left out", (HOSTILE,), None)
    assert handler.handle(record)
    err = capsys.readouterr().err
    on_one_line = SHOWN.replace(r"\u000d", " ")
    assert err.splitlines() == [f"transfergan: {on_one_line}", f"{SHOWN} is left out"]


@pytest.mark.skipif(sys.platform == "win32", reason="file names there have no control characters")
def test_a_verb_escapes_the_names_of_files(tmp_path: Path):
    store = open_store(str(tmp_path), create=True)
    store.write_file("samples/\x1b[2J.png", b"no picture")
    result = call("store", "check", "--store", tmp_path)
    assert r"samples/\u001b[2J.png: not a complete image" in result.stdout
    assert harmless(result.stdout)
