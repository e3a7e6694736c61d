"""Measured times of trials in a JSON file: of a machine whose store is elsewhere, or of one that has no store yet."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, StrictBool, ValidationError

from bench.costs.measured import Measured
from trainers.common.errors import UserError
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


class _Entry(BaseModel):
    """A trial's measured times in a file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    trial: TrialConfig
    device: str
    gpu: StrictBool
    setup_seconds: NonNegativeFloat | None
    legs: Annotated[tuple[tuple[NonNegativeInt, StrictBool, PositiveFloat], ...], Field(min_length=1)]
    evaluation_share: Annotated[float, Field(ge=0, le=1)] | None


class _Timings(BaseModel):
    format: Literal[1]
    trials: Annotated[tuple[_Entry, ...], Field(min_length=1)]


class _File(BaseModel):
    timings: _Timings


def beside(spec: str | Path) -> Path:
    """Return the path of the times that `transfergan init` measured for a sweep file, which are kept beside it.

    >>> beside("photos/flowers.yaml").as_posix()
    'photos/flowers.timings.json'
    """
    return Path(spec).with_suffix(".timings.json")


def write_timings(path: Path, timings: Iterable[Measured]) -> None:
    """Write measured times as a JSON file that `read_timings` reads."""
    path.write_text(json.dumps({"timings": as_data(timings)}))


def timings_for(spec: str, option: Path | None = None) -> list[Measured]:
    """Return the times in the file that `--timings` names, else those beside a sweep file; none if there are none.

    Raises:
        UserError: as `read_timings`.
    """
    if option is not None:
        return read_timings(option)
    path = beside(spec)
    is_file = Path(spec).suffix in (".yaml", ".yml") and path.exists()
    return read_timings(path, "delete it, and the store's own times are used") if is_file else []


_REMEDY = "name a file that `transfergan init` or `python -m tests.benchmarks.gpu` wrote"


def read_timings(path: Path, remedy: str = _REMEDY) -> list[Measured]:
    """Return the measured times in a JSON file under the key "timings"; `remedy` is what an error advises.

    Raises:
        UserError: the file cannot be read, has no times, or other values than `as_data` writes.
    """
    try:
        entries = _File.model_validate_json(path.read_bytes()).timings.trials
    except OSError as error:
        raise UserError(f"--timings {str(path)!r} cannot be read: {error.strerror}; {remedy}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(f"--timings {str(path)!r} has no measured times: {key}: {problem['msg']}; {remedy}") from error
    return [
        Measured(entry.trial, entry.device, entry.gpu, entry.setup_seconds, entry.legs, entry.evaluation_share)
        for entry in entries
    ]
