"""The benchmark of the experiments' fairness: all rows of its quick form hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.science.__main__ import STUDIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.endurance(only=True)
def test_every_row_holds_and_is_printed():
    command = [sys.executable, "-m", "tests.benchmarks.science", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["name"] for row in rows}) == len(rows) >= len(STUDIES)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert all(row["holds"] for row in rows)
    strategies = {row["name"].partition(":")[0] for row in rows if ":" in row["name"]}
    assert {"scale-shift", "lora", "l2-sp", "ewc"} <= strategies
