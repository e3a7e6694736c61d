"""The benchmark runs and its figures hang together; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.benchmark import measure

ROOT = Path(__file__).resolve().parents[1]


def test_every_mode_is_measured_at_the_size_asked_for():
    rows = measure((8, 4, 4, 1, 1), "cpu", rounds=2)
    assert [row["mode"] for row in rows] == ["plain", "float32"]
    for row in rows:
        assert (row["device"], row["resolution"], row["width"], row["batch"]) == ("cpu", 8, 4, 4)
        assert row["images_per_s"] == pytest.approx(4 * row["steps_per_s"])
        assert row["times_plain"] == pytest.approx(row["steps_per_s"] / rows[0]["steps_per_s"])
        assert row["peak_mib"] > 10
        json.dumps(row)


def test_the_command_tells_a_mistake():
    command = [sys.executable, "-m", "trainers.benchmark", "--rounds", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--rounds" in done.stderr
