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
        Measured(trial, "a processor", False, None, ((4, True, 2.0),)),
    ]
    assert read_timings(written(tmp_path, {"device": "a card", "timings": as_data(timings)})) == timings


@pytest.mark.parametrize(("data", "fault"), [
    ("", "the file: Invalid JSON"),
    ("[]", "the file: "),
    ("{}", "timings: Field required"),
    ("[" * 100_000, "the file: Invalid JSON"),
    ('{"timings": {"format": 1}}', "timings.trials: Field required"),
    ('{"timings": {"format": 2, "trials": []}}', "timings.format: Input should be 1"),
    ('{"timings": {"format": 1, "trials": []}}', "timings.trials: Tuple should have at least 1 item"),
    ('{"timings": {"format": 1, "trials": [{"trial": {}}]}}', "timings.trials.0.trial.kind: Field required"),
])  # fmt: skip
def test_another_file_is_refused_in_one_line(tmp_path: Path, data: str, fault: str):
    with pytest.raises(UserError, match=fault) as error:
        read_timings(written(tmp_path, data))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("key", "value"), [
    ("legs", [[8, True, float("nan")]]), ("legs", [[8, True, -1]]), ("legs", [[-1, True, 1]]), ("legs", []), ("device", 5),
    ("setup_seconds", "abc"), ("setup_seconds", -1), ("evaluation_share", 2), ("gpu", "x"), ("extra", 1),
])  # fmt: skip
def test_a_value_that_is_no_time_is_named(tmp_path: Path, key: str, value: Any):
    data = as_data([Measured(tiny.make().trials[0], "a card", True, 1.5, ((2, False, 0.5), (6, True, 1.25)), 0.25)])
    data["trials"][0][key] = value
    with pytest.raises(UserError, match=rf"timings.trials.0.{key}"):
        read_timings(written(tmp_path, {"timings": data}))


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        read_timings(tmp_path / "none.json")
