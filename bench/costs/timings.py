"""Measured times of trials in a JSON file, to plan a sweep for a machine whose store is elsewhere."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.costs.measured import Measured
from trainers.common.errors import UserError, first_line
from trainers.config.trial import TrialConfig

#: Version of the entries.
FORMAT = 1


def as_data(timings: Iterable[Measured]) -> dict[str, Any]:
    """Return measured times as plain data, an entry of a JSON file."""
    trials = [
        {
            "trial": timing.trial.model_dump(mode="json"),
            "device": timing.device,
            "gpu": timing.gpu,
            "setup_seconds": timing.setup_seconds,
            "legs": timing.legs,
            "evaluation_share": timing.evaluation_share,
        }
        for timing in timings
    ]
    return {"format": FORMAT, "trials": trials}


def read_timings(path: Path) -> list[Measured]:
    """Return the measured times in a JSON file under the key "timings".

    Raises:
        UserError: the file cannot be read, has no times, or those of another format.
    """
    remedy = "name a file that `python -m tests.benchmarks.gpu` wrote"
    try:
        entry = json.loads(path.read_bytes())["timings"]
        if entry["format"] != FORMAT:
            present = f"{str(path)!r} has times of format {entry['format']}, and this transfergan reads format {FORMAT}"
            raise UserError(f"{present}; measure them again")
        timings = [_read(trial) for trial in entry["trials"]]
    except OSError as error:
        raise UserError(f"--timings {str(path)!r} cannot be read: {error.strerror}; {remedy}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"--timings {str(path)!r} has no measured times ({first_line(error)}); {remedy}") from error
    if not timings:
        raise UserError(f"--timings {str(path)!r} has the times of no trial; {remedy}")
    return timings


def _read(data: dict[str, Any]) -> Measured:
    legs = tuple((int(steps), bool(last), float(seconds)) for steps, last, seconds in data["legs"])
    return Measured(**{**data, "trial": TrialConfig.model_validate(data["trial"]), "legs": legs})
