"""The benchmark of the experiments' fairness: its command prints the rows of every study and names those that miss."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.science.__main__ import STUDIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_prints_every_row_and_names_those_that_miss():
    command = [sys.executable, "-m", "tests.benchmarks.science", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["name"] for row in rows}) == len(rows) >= len(STUDIES)
    missed = [f"misses its goal: {row['name']}" for row in rows if not row["holds"]]
    assert (done.returncode, done.stderr.splitlines()) == (1 if missed else 0, missed)


def test_the_command_explains_itself_and_reports_a_mistake():
    command = [sys.executable, "-m", "tests.benchmarks.science"]
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout
    wrong = subprocess.run([*command, "--fast"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
