"""Measured times in a JSON file: whole, damaged, of another format."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.costs.measured import Measured
from bench.costs.timings import as_data, read_timings
from tests.support import tiny
from trainers.common.errors import UserError


def written(folder: Path, data: Any) -> Path:
    file = folder / "times.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def test_times_are_read_as_they_were_written(tmp_path: Path):
    (trial, *_) = tiny.make().trials
    timings = [
        Measured(trial, "a card", True, 1.5, ((2, False, 0.5), (6, True, 1.25)), 0.25),
        Measured(trial, None, False, None, ()),
    ]
    assert read_timings(written(tmp_path, {"device": "a card", "timings": as_data(timings)})) == timings


@pytest.mark.parametrize(("data", "fault"), [
    ("", "no measured times"),
    ("[]", "no measured times"),
    ("{}", "no measured times"),
    ("[" * 100_000, "no measured times"),
    ('{"timings": {"format": 1}}', "no measured times"),
    ('{"timings": {"format": 1, "trials": [{"trial": {}}]}}', "no measured times"),
    ('{"timings": {"format": 2, "trials": []}}', "times of format 2"),
    ('{"timings": {"format": 1, "trials": []}}', "times of no trial"),
])  # fmt: skip
def test_another_file_is_refused_in_one_line(tmp_path: Path, data: str, fault: str):
    with pytest.raises(UserError, match=fault) as error:
        read_timings(written(tmp_path, data))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        read_timings(tmp_path / "none.json")
