"""`make test` ends as ruff, mypy and pytest do, and leaves none of them behind."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def make_test(folder: Path, mypy: str, pytest: str) -> "subprocess.CompletedProcess[str]":
    """Run `make test` where these programs are shell scripts."""
    (folder / "bin").mkdir()
    for name, script in {"ruff": "exit 0", "mypy": mypy, "pytest": pytest}.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    (folder / ".installed").touch()
    command = ["make", "--silent", "test", f"VENV={folder}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=tiny.PATIENCE, check=False,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(("mypy", "tests"), [(0, 0), (1, 0), (0, 1), (2, 5)])
def test_it_fails_if_either_fails_and_prints_what_mypy_says_last(tmp_path: Path, mypy: int, tests: int):
    done = make_test(tmp_path, f"echo types; exit {mypy}", f"echo tests; exit {tests}")
    assert (done.returncode == 0) == (mypy == tests == 0)
    assert done.stdout.split() == ["tests", "types"]


def test_an_interrupt_ends_mypy_too(tmp_path: Path):
    pid = tmp_path / "pid"
    interrupts = f"trap 'exit 2' INT; while ! [ -s {pid} ]; do :; done; kill -INT 0; exit 2"
    done = make_test(tmp_path, f"echo $$ >{pid}; exec tail -f /dev/null", interrupts)
    assert done.returncode != 0
    tiny.wait_for(lambda: int(pid.read_text()) not in tiny.processes("tail"))
