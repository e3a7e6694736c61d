"""What of a store's content can be used: rows and plans of other programs or newer versions are left out, and are no error.

Files are checked as a whole elsewhere: parts of tables in `bench.store.parts`, checkpoints in `bench.store.trial_files`.
"""

import json
import math
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.store import columns
from bench.store.schema import KEYS, Table

#: How trials end, and what they are. Rows that say otherwise are of a newer version.
STATUSES, KINDS = ("done", "stopped", "diverged", "failed", "blocked"), ("pretrain", "adapt", "tune")

#: What rows lack that are left out, by table.
LACKING: dict[Table, str] = {
    "trials": "a key, or a status, a kind or a configuration that this version knows",
    "measurements": "a trial, step, metric, view or version",
    "distances": "a source, target, resolution, kind or embedding",
    "domains": "a domain, resolution, figure or embedding",
    "environments": "a key, or details in JSON",
}

#: Columns of a key that may be null: a distance between real images has no trial, and a number of images may be unknown.
_NULLABLE = {("distances", "trial"), ("distances", "source_samples"), ("domains", "samples")}

#: Levels of the deepest JSON that is read; what transfergan writes has a tenth.
_DEEPEST = 50

#: Columns with a JSON object, by table.
_JSON: dict[Table, str] = {"trials": "config", "environments": "details"}


def usable(rows: pa.Table, table: Table) -> columns.Mask:
    """Return which rows of a table can be used, bool (N,); the others lack what `LACKING` says."""
    mask = np.ones(len(rows), bool)
    for name in KEYS[table]:
        if (table, name) not in _NULLABLE:
            mask &= columns.present(rows[name])
    if table == "trials":
        for name, values in (("status", STATUSES), ("kind", (*KINDS, None))):
            if name in rows.column_names:
                mask &= columns.where(rows[name], values.__contains__)
    column = _JSON.get(table)
    if column in rows.column_names:
        mask &= columns.where(rows[column], lambda text: (text is None and table == "trials") or is_object(text))
    return mask


def left_out(count: int, table: Table) -> str:
    """Return one line for rows of a table that are left out."""
    rows = "1 row lacks" if count == 1 else f"{count:,} rows lack"
    return f"{rows} {LACKING[table]}"


def is_object(text: str | None) -> bool:
    """Return whether a text is a JSON object, and its parts that are sections of a trial's configuration are objects too."""
    try:
        value = parse_json(text or "")
    except ValueError:
        return False
    sections = ("domain", "gan", "training", "evaluation")
    return isinstance(value, dict) and all(isinstance(value.get(name, {}), dict) for name in sections)


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, also for too deep a nesting and for numbers that are not finite."""
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("its nesting is too deep") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for part in level if isinstance(part, dict | list) for child in _children(part)]
    if level:
        raise ValueError("its nesting is too deep")
    return value


def parse_plan(data: bytes) -> dict[str, Any]:
    """Return the plan in a sweep's file. Raises ValueError unless what is read of it has the types that it was written with."""
    planned = parse_json(data)
    _Plan.model_validate(planned)
    return dict(planned)


def _children(part: "dict[str, Any] | list[Any]") -> list[Any]:
    return list(part.values()) if isinstance(part, dict) else part


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _object(text: Any) -> Any:
    if isinstance(text, str) and text and not is_object(text):
        raise ValueError("is no JSON object")
    return text


_Natural = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    """A part of a plan; what it has beyond these keys is not read."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _PlannedTrial(_Part):
    key: str
    kind: str | None = None
    source: str | None = None
    target: str | None = None
    size: _Natural | None = None
    strategy: str | None = None
    conditional: bool | None = None
    seed: _Natural | None = None
    cell: str | None = None
    parent: str | None = None
    resolution: _Natural | None = None
    budget: _Natural | None = None
    config: Annotated[str | None, BeforeValidator(_object)] = None


class _Evaluation(_Part):
    embedding: str | None = None


class _Spec(_Part):
    domains: dict[str, str] = {}
    evaluation: _Evaluation = _Evaluation()


class _Cost(_Part):
    trials: int
    steps: int
    seconds: float
    cpus: float
    gpus: float


class _Setting(_Part):
    strategy: str
    conditional: bool
    with_options: str | None = None
    steps: int
    generator_lr: float
    critic_lr: float
    value: float
    own: float | None


class _Search(_Part):
    search: str
    target: str
    source: str | None
    size: int
    metric: str
    view: str | None = None
    tried: int
    cost: _Cost
    methods: list[_Setting]


class _Cell(_Part):
    cell: str
    methods: list[str]
    seeds: list[_Natural]


class _Plan(_Part):
    spec: _Spec
    view: str | None = None
    trials: list[_PlannedTrial]
    confirms: str | None = None
    cells: list[_Cell] = []
    tuning: _Search | None = None


def why_not_plan(error: ValueError) -> str:
    """Return in a few words what an error of `parse_plan` says."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return "it is no JSON"
